"""Reading from a consumer group, on the embedded broker and on a real Apache Kafka alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from consumer.demo.broker import EmbeddedBroker
from consumer.errors import NoteRefused
from consumer.record import Partition, Position
from tests.kafka.member import ended, joined, produce, settings, topic_of


if TYPE_CHECKING:
    from tests.broker.cluster import Broker, KafkaCluster


def test_groups_without_offsets_start_where_the_settings_say(broker: Broker) -> None:
    """Earliest, latest, and a time each start where they should; a time after the last record is the end."""

    async def main() -> None:
        topic = topic_of(broker, "start")
        await produce(broker, topic, [(0, b"a"), (0, b"b")], timestamp_ms=1_700_000_000_000)
        await produce(broker, topic, [(0, b"c"), (1, b"d")], timestamp_ms=1_700_000_060_000)
        wanted: dict[object, tuple[int, int]] = {"earliest": (0, 0), "latest": (3, 1)}
        if not isinstance(broker, EmbeddedBroker):  # it does not look offsets up by time
            wanted[datetime.fromtimestamp(1_700_000_030, UTC)] = (2, 0)
            wanted[datetime.fromtimestamp(1_700_000_030, UTC).replace(tzinfo=None)] = (2, 0)
            wanted[datetime.fromtimestamp(1_700_000_090, UTC)] = (3, 1)

        async def starts(start: object) -> tuple[int, int]:
            async with joined(settings(broker, topic, start=start)) as member:
                offsets = await member.source.seek(dict.fromkeys(member.partitions))
                return offsets[member.at(0)], offsets[member.at(1)]

        found = await asyncio.gather(*map(starts, wanted))
        assert dict(zip(wanted, found, strict=True)) == wanted

    asyncio.run(main())


@pytest.mark.kafka
def test_the_limit_on_notes_is_the_brokers_own(kafka: KafkaCluster) -> None:
    """The broker's limit is read at start, a note of that length is taken, and a longer one is refused as such."""

    async def main() -> None:
        topic = topic_of(kafka, "notes")
        await produce(kafka, topic, [(0, b"a")])
        async with joined(settings(kafka, topic)) as member:
            first = member.at(0)
            await member.source.seek(dict.fromkeys(member.partitions))
            assert member.source.metadata_limit == 4096 - len("p999999;")
            longest = 4096 - len("p4;")
            assert await member.source.commit({first: Position(1, "x" * longest)})
            with pytest.raises(NoteRefused):
                await member.source.commit({first: Position(1, "x" * (longest + 1))})
            assert await member.source.commit({first: Position(1)})
            assert (await member.source.committed([first]))[first] == Position(1, "")

    asyncio.run(main())


def test_commits_come_back_with_their_note(broker: Broker) -> None:
    """Offset and note of a commit are what the group's next member finds, and where it goes on."""

    async def main() -> None:
        topic = topic_of(broker, "commit")
        kafka = settings(broker, topic)
        await produce(broker, topic, [(0, b"%d" % n) for n in range(6)])
        async with joined(kafka) as member:
            first, second = member.at(0), member.at(1)
            assert await member.source.committed([first, second]) == {first: None, second: None}
            assert await member.source.commit({first: Position(4, "a note: 世")})
            assert not await member.source.commit({first: Position(4), Partition(topic, 99): Position(1)})
            assert await member.source.commit({first: Position(5, "newer")})
            assert await member.source.commit({first: Position(2, "older")})
        async with joined(kafka) as member:
            found = await member.source.committed([first, second])
            assert found == {first: Position(5, "newer"), second: None}
            assert [record.value for record in await member.read(1)] == [b"5"]
            assert member.source.lag()[first] == 0

    asyncio.run(main())


def test_only_ready_partitions_bring_records(broker: Broker) -> None:
    """What is not ready stays where it is, and comes whole and in order once it is ready."""

    async def main() -> None:
        topic = topic_of(broker, "ready")
        await produce(broker, topic, [(number, b"%d" % n) for n in range(50) for number in (0, 1)])
        async with joined(settings(broker, topic)) as member:
            first, second = member.at(0), member.at(1)
            assert {record.partition for record in await member.read(50, [first])} == {first}
            assert await member.source.poll([first], 0.3) == {}
            records = await member.read(50, [second])
            assert [record.offset for record in records] == list(range(50))
            # A partition that is sought again is read again from there, prefetched or not.
            await produce(broker, topic, [(0, b"%d" % n) for n in range(50, 60)])
            await member.read(1, [first])
            assert await member.source.seek({first: Position(10)}) == {first: 10}
            assert member.source.lag()[first] == 50
            assert [record.offset for record in await member.read(50, [first])] == list(range(10, 60))

    asyncio.run(main())


def test_hold_keeps_the_membership_and_loses_nothing(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is ready for longer than a member may be idle, the group stays as it is and no record leaks."""
    monkeypatch.setattr("consumer.kafka.membership.MAX_POLL_INTERVAL_MS", 1500)

    async def main() -> None:
        topic = topic_of(broker, "hold")
        await produce(broker, topic, [(0, b"%d" % n) for n in range(20)])
        async with joined(settings(broker, topic), pause_after_seconds=0.3) as member:
            await member.read(20)
            await produce(broker, topic, [(0, b"%d" % n) for n in range(20, 40)])
            until = time.monotonic() + 3.5
            while time.monotonic() < until:
                assert await member.source.poll([], 0.2) == {}
            assert member.source.lag()[member.at(0)] == 20, "nothing was fetched to be kept in memory"
            assert [record.offset for record in await member.read(20)] == list(range(20, 40))
            assert await member.source.commit({member.at(0): Position(40)})
            assert member.told == ["assigned"]

    asyncio.run(main())


def test_cancelled_polls_do_no_harm(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls may be cancelled at any moment: each record still comes once, and a member that goes silent is noticed."""
    monkeypatch.setattr("consumer.kafka.membership.MAX_POLL_INTERVAL_MS", 1000)

    async def main() -> None:
        topic = topic_of(broker, "cancel")
        async with joined(settings(broker, topic)) as member:
            producing = asyncio.create_task(produce(broker, topic, [(n % 4, b"%d" % n) for n in range(400)]))
            records = []
            for turn in range(100):
                polling = asyncio.create_task(member.source.poll(member.partitions, 0.5))
                done, _ = await asyncio.wait({polling}, timeout=0.002 * (turn % 5))
                if not done:
                    polling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    records += [record for each in (await polling).values() for record in each]
            await producing
            records += await member.read(400 - len(records))
            assert sorted(int(record.value or b"") for record in records) == list(range(400))
            # The net under a poll loop that hangs: it would be gone if aiokafka still counted a cancelled call.
            assert await member.source.poll(member.partitions, 0.1) == {}
            while member.told == ["assigned"]:
                await asyncio.sleep(0.1)

    asyncio.run(main())


def test_large_record_is_read_beside_busy_partitions(broker: Broker) -> None:
    """A record larger than what is fetched at once of a partition still comes, whatever the others bring."""

    async def main() -> None:
        topic = topic_of(broker, "large")
        large = b"x" * 900_000
        await produce(broker, topic, [(number, b"y" * 30_000) for number in (0, 1, 3) for _ in range(30)])
        await produce(broker, topic, [(2, b"before"), (2, large), (2, b"after")])
        async with joined(settings(broker, topic)) as member:
            records = await member.read(93)
            mine = [record.value for record in records if record.partition.partition == 2]
            assert mine == [b"before", large, b"after"]

    asyncio.run(main())


@pytest.mark.parametrize("gone", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_stop_is_bounded_when_the_broker_is_gone(gone: str, request: pytest.FixtureRequest) -> None:
    """Leaving takes no longer than it may although nobody answers, and leaves no task behind; a commit gives up too."""

    async def main(broker: Broker) -> None:
        topic = topic_of(broker, "gone")
        async with joined(settings(broker, topic), commit_seconds=0.5, leave_seconds=1.0) as member:
            await produce(broker, topic, [(0, b"one")])
            await member.read(1)
            if isinstance(broker, EmbeddedBroker):
                broker.stop()
            else:
                request.getfixturevalue("kafka").pause(1)
            began = time.monotonic()
            assert not await member.source.commit({member.at(0): Position(1)})
            assert await member.source.poll(member.partitions, 0.2) == {}
            await member.source.stop()
            assert time.monotonic() - began < 5
        await ended()

    if gone == "embedded":
        with EmbeddedBroker() as broker:
            asyncio.run(main(broker))
        return
    kafka = request.getfixturevalue("kafka")
    try:
        asyncio.run(main(kafka))
    finally:
        kafka.resume(1)
