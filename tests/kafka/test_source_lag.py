"""How far behind a member is, also while it reads nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kafka.member import ended, joined, produce, settings, topic_of


if TYPE_CHECKING:
    from tests.broker.cluster import Broker


def test_the_lag_grows_while_nothing_is_read(broker: Broker) -> None:
    """In a hold, and behind what is still in memory, the lag follows what is written to the topic."""

    async def main() -> None:
        topic = topic_of(broker, "lag")
        await produce(broker, topic, [(0, b"%d" % n) for n in range(20)])
        async with joined(settings(broker, topic), pause_after_seconds=0.2, look_ahead_seconds=0.2) as member:
            first = member.at(0)
            await member.read(20)
            for _ in range(3):
                await member.source.poll([], 0.2)
            for written in (10, 25, 45):
                before = member.source.lag()[first]
                await produce(broker, topic, [(0, b"more") for _ in range(written - before)])
                async with asyncio.timeout(10):
                    while member.source.lag()[first] < written:
                        await member.source.poll([], 0.1)
                assert member.source.lag()[first] == written
            assert len(await member.read(45)) == 45
            assert member.source.lag()[first] == 0
        await ended()

    asyncio.run(main())
