"""Where reading starts: partitions that came later, offsets that their log does not hold, and metadata of others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka.admin import AdminClient, NewPartitions

from consumer.kafka.source import KafkaSource
from consumer.metrics import Metrics
from consumer.record import Partition, Position
from tests.broker.cluster import unique
from tests.kafka.member import Member, administering, joined, polling, produce, settings, topic_of


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.settings.models import Kafka
    from tests.broker.cluster import Broker, KafkaCluster


def grow(kafka: KafkaCluster, topic: str, size: int) -> None:
    """Give a topic more partitions."""
    admin = AdminClient({"bootstrap.servers": ",".join(kafka.bootstrap_servers), "log_level": 0})
    admin.create_partitions([NewPartitions(topic, size)])[topic].result(10)


async def commit_as(kafka: Kafka, topic: str, offsets: Mapping[int, tuple[int, str]]) -> None:
    """Commit for the group while it has no members, as an operator's tools do."""
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415  # only here

    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, group_id=kafka.group_id, enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(topic, number) for number in offsets])
        await consumer.commit({TopicPartition(topic, number): OffsetAndMetadata(*at) for number, at in offsets.items()})


async def raw_metadata(kafka: KafkaCluster, group: str, topic: str) -> dict[int, str]:
    """What stands beside each offset, as it was committed."""
    async with administering(kafka) as admin:
        found = await admin.list_consumer_group_offsets(group)
        return {at.partition: offset.metadata for at, offset in found.items() if at.topic == topic}


@pytest.mark.kafka
def test_a_partition_added_while_running_is_read_from_its_start(kafka: KafkaCluster) -> None:
    """A partition new to a known topic is seen soon and misses nothing, although a new group would start at the end."""

    async def main() -> None:
        topic = unique("grown")
        kafka.create_topic(topic, partitions=2)
        await produce(kafka, topic, [(0, b"before"), (1, b"before")])
        shared = settings(kafka, topic, start="latest")
        async with joined(shared, metadata_max_age_seconds=0.5) as member:
            assert member.source.positions() == {member.at(0): 1, member.at(1): 1}
            assert await member.source.commit({each: Position(1, "a note") for each in member.partitions})
            async with polling(member):
                await asyncio.to_thread(grow, kafka, topic, 4)
                await produce(kafka, topic, [(2, b"at once"), (3, b"at once")])
                while len(await member.assignment()) < 4:
                    pass
            # Only one of the new partitions gets as far as an offset before the process ends.
            offsets = await member.open()
            assert offsets == {member.at(0): 1, member.at(1): 1, member.at(2): 0, member.at(3): 0}
            assert [record.value for record in await member.read(2)] == [b"at once"] * 2
            assert await member.source.commit({member.at(2): Position(1)})
            # What somebody else commits, in a transaction, gets the same count.
            assert member.source.stamped({member.at(3): Position(1, "x")}) == {member.at(3): Position(1, "p2;x")}
        assert await raw_metadata(kafka, shared.group_id, topic) == {0: "p2;a note", 1: "p2;a note", 2: "p2;"}
        async with joined(shared, metadata_max_age_seconds=0.5) as member:
            committed = await member.source.committed(member.partitions)
            assert committed == {
                member.at(0): Position(1, "a note"),
                member.at(1): Position(1, "a note"),
                member.at(2): Position(1),
                member.at(3): None,
            }
            assert (await member.source.seek(committed))[member.at(3)] == 0

    asyncio.run(main())


@pytest.mark.kafka
def test_what_others_wrote_beside_offsets_does_no_harm(kafka: KafkaCluster) -> None:
    """Foreign notes come back whole; where none has a stamp of ours, what has no offset is read from its start."""

    async def main() -> None:
        topic = topic_of(kafka, "foreign")
        await produce(kafka, topic, [(number, b"x") for number in range(4) for _ in range(3)])
        shared = settings(kafka, topic, start="latest")
        await commit_as(shared, topic, {0: (1, "p;theirs"), 1: (2, "")})
        async with joined(shared) as member:
            committed = await member.source.committed(member.partitions)
            assert committed[member.at(0)] == Position(1, "p;theirs")
            assert committed[member.at(1)] == Position(2)
            starts = await member.source.seek(committed)
            assert [starts[member.at(number)] for number in range(4)] == [1, 2, 0, 0]
        # With a stamp a partition below its count starts as in a new group: it has been idle ever since.
        await commit_as(shared, topic, {0: (1, "p3;"), 1: (2, "p0;damaged")})
        async with joined(shared) as member:
            starts = await member.open()
            assert [starts[member.at(number)] for number in range(4)] == [1, 2, 3, 0]

    asyncio.run(main())


@pytest.mark.kafka
def test_members_that_share_a_topic_agree_on_what_is_new(kafka: KafkaCluster) -> None:
    """A member that owns only a new partition finds the count beside the offsets of the others' partitions."""

    async def main() -> None:
        topic = unique("shared")
        kafka.create_topic(topic, partitions=1)
        await produce(kafka, topic, [(0, b"old")])
        shared = settings(kafka, topic, start="latest", scale="share")
        async with joined(shared, metadata_max_age_seconds=0.5) as first:
            assert await first.source.commit({first.at(0): Position(1)})
            await asyncio.to_thread(grow, kafka, topic, 2)
            await produce(kafka, topic, [(1, b"new")])
            async with polling(first), joined(shared, metadata_max_age_seconds=0.5) as second:
                while len(first.partitions) != 1 or len(second.partitions) != 1:
                    await asyncio.sleep(0.05)
                for member in (first, second):
                    offsets = await member.open()
                    assert offsets == {each: 1 - each.partition for each in member.partitions}

    asyncio.run(main())


def test_a_position_beyond_the_end_is_held(broker: Broker) -> None:
    """A partition whose log ends before its offset is neither skipped nor begun anew; it is told, and others go on."""

    async def main() -> None:
        topic = topic_of(broker, "above")
        metrics = Metrics()
        await produce(broker, topic, [(0, b"only"), (1, b"others")])
        async with joined(settings(broker, topic), seek={}, metrics=metrics) as member:
            first, second = member.at(0), member.at(1)
            found = await member.source.seek({first: Position(5000), second: Position(0)})
            assert found == {second: 0}, "found at takeover, when nothing is fetched yet"
            assert "ends at 1" in member.source.held[first]
            assert "from 5000" in member.source.held[first]
            assert "set its offset" in member.source.held[first]
            assert [record.partition for record in await member.read(1)] == [second]
            assert await member.source.poll([first], 0.3) == {}
            assert first not in member.source.positions()
            assert metrics.gauge("held_partitions").labels(topic).value == 1
        assert metrics.gauge("held_partitions").labels(topic).value == 0

    asyncio.run(main())


@pytest.mark.kafka
def test_a_log_that_became_shorter_under_way_is_held(kafka: KafkaCluster) -> None:
    """When a log ends before what is to be read next, its partition is held, and the process and the others go on."""

    async def main() -> None:
        topic = topic_of(kafka, "shorter")
        await produce(kafka, topic, [(0, b"first")])
        async with joined(settings(kafka, topic)) as member:
            first = member.at(0)
            async with polling(member) as records:
                while not records:
                    await asyncio.sleep(0.05)
                # As after an election in which records were lost.
                member.source._reader.move(first, 7)
                while first not in member.source.held:
                    await asyncio.sleep(0.05)
                await produce(kafka, topic, [(0, b"never read"), (1, b"goes on")])
                while len(records) < 2:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.3)
            assert [record.value for record in records] == [b"first", b"goes on"]
            assert "ends at 1" in member.source.held[first]
            assert member.told == ["assigned"]

    asyncio.run(main())


@pytest.mark.kafka
def test_a_topic_made_anew_is_read_from_its_start(kafka: KafkaCluster) -> None:
    """A topic that is deleted and made again under way misses nothing, although a new group would start at the end."""

    async def main() -> None:
        topic, other = unique("anew"), topic_of(kafka, "stays")
        kafka.create_topic(topic, partitions=1)
        await produce(kafka, topic, [(0, b"old")])
        mine = Partition(topic, 0)
        async with joined(settings(kafka, topic, other, start="latest"), metadata_max_age_seconds=0.5) as member:
            assert await member.source.commit({mine: Position(1)})
            async with polling(member):
                async with administering(kafka) as admin:
                    await admin.delete_topics([topic])
                while mine in await member.assignment():
                    pass
                await asyncio.to_thread(kafka.create_topic, topic, 1)
                await produce(kafka, topic, [(0, b"new")])
                while mine not in await member.assignment():
                    pass
            assert (await member.open())[mine] == 0
            assert [record.value for record in await member.read(1)] == [b"new"]

    asyncio.run(main())


@pytest.mark.kafka
def test_expired_records_are_counted_and_passed(kafka: KafkaCluster) -> None:
    """Where retention was faster than we, reading goes on at the log's start, at takeover and under way alike."""

    async def main() -> None:
        topic = topic_of(kafka, "below")
        metrics = Metrics()
        await produce(kafka, topic, [(0, b"%d" % n) for n in range(50)])

        async def delete_before(offset: int) -> None:
            async with administering(kafka) as admin:
                await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})

        await delete_before(20)
        async with joined(settings(kafka, topic), seek={}, metrics=metrics) as member:
            first = member.at(0)
            assert await member.source.seek({first: Position(10)}) == {first: 20}
            assert metrics.totals("records_expired") == {(topic,): 10}
            await delete_before(40)
            assert [record.offset for record in await member.read(10, [first])] == list(range(40, 50))
            assert metrics.totals("records_expired") == {(topic,): 30}
            assert not member.source.held

    asyncio.run(main())


@pytest.mark.kafka
def test_damaged_records_hold_their_partition_only(kafka: KafkaCluster) -> None:
    """A batch that is damaged on the broker's disk is not skipped: its partition is held, and no other record lost."""

    async def main() -> None:
        topic = topic_of(kafka, "damaged")
        await produce(kafka, topic, [(0, b"x" * 100)])
        await produce(kafka, topic, [(number, b"%d" % n) for n in range(50) for number in (1, 2, 3)])
        assert kafka._directory is not None
        (log,) = (kafka._directory / "1.data" / f"{topic}-0").glob("*.log")
        with log.open("r+b") as file:
            file.seek(-20, 2)
            file.write(b"damaged")
        async with joined(settings(kafka, topic)) as member:
            first = member.at(0)
            async with polling(member) as records:
                while first not in member.source.held or len(records) < 150:
                    await asyncio.sleep(0.05)
            assert "from 0 on" in member.source.held[first]
            found = sorted((record.partition.partition, record.offset) for record in records)
            assert found == [(number, offset) for number in (1, 2, 3) for offset in range(50)]
            assert first not in member.source.positions()
            assert await member.source.commit(
                {each: Position(offset) for each, offset in member.source.positions().items()}
            )

    asyncio.run(main())


@pytest.mark.kafka
def test_offsets_are_waited_for_as_long_as_the_brokers_are_away(kafka: KafkaCluster) -> None:
    """Takeover waits for brokers that are silent, can be cancelled meanwhile, and ends when they answer."""

    async def main() -> None:
        topic = topic_of(kafka, "away")
        kafka_settings = settings(kafka, topic, request_timeout_seconds=1)
        source = KafkaSource(kafka_settings)
        member = Member(source)
        async with asyncio.timeout(30):
            await source.start(member)
            await member.assignment()
            kafka.pause(1)
            try:
                cancelled = asyncio.create_task(member.open())
                waiting = asyncio.create_task(member.open())
                await asyncio.sleep(2.5)
                cancelled.cancel()
                await asyncio.wait({cancelled}, timeout=0.1)
                assert cancelled.cancelled()
                assert not waiting.done()
            finally:
                kafka.resume(1)
            assert set((await waiting).values()) == {0}
            await source.stop()

    asyncio.run(main())
