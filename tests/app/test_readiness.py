"""Tests of when the consumer says that it is ready: in the group, to work or to stand by, and not before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer

from consumer.app import App
from consumer.settings import load
from consumer.simulator import Simulator
from tests.app.process import Bench, environment


if TYPE_CHECKING:
    from tests.broker.cluster import KafkaCluster


def started(bench: Bench, simulator: Simulator) -> App:
    """A consumer over these topics."""
    env = environment(bench, simulator.url)
    return App(load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}))


async def until_ready(app: App) -> None:
    """Return when it says that it is."""
    async with asyncio.timeout(30):
        while not app.ready().ok:
            await asyncio.sleep(0.05)


@pytest.mark.kafka
def test_only_a_member_of_the_group_is_ready(kafka: KafkaCluster) -> None:
    """While the group keeps a replica out, it is not ready and says so; it is ready when let in, to stand by, too."""
    bench = Bench.on(kafka)

    async def main() -> None:
        stranger = AIOKafkaConsumer(bench.events, bootstrap_servers=bench.bootstrap, group_id=bench.group)
        await stranger.start()
        async with Simulator() as simulator, asyncio.TaskGroup() as tasks:
            first, second, stop = started(bench, simulator), started(bench, simulator), asyncio.Event()
            tasks.create_task(first.run(stop))
            async with asyncio.timeout(30):
                while first.ready().reason != "joining the group":
                    await asyncio.sleep(0.05)
            # Long enough to be let in, if that could be.
            await asyncio.sleep(1)
            assert first.ready().reason == "joining the group"
            await stranger.stop()
            await until_ready(first)
            assert len(first.status()["lanes"]) == 4
            tasks.create_task(second.run(stop))
            await until_ready(second)
            assert second.status()["lanes"] == []
            stop.set()

    asyncio.run(main())
