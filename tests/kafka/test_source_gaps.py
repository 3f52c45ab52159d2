"""Logs with gaps: transactions and their markers, compaction, and records without a value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from consumer.record import Position
from tests.broker.cluster import unique
from tests.kafka.member import administering, joined, produce, settings, topic_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.record import Record
    from tests.broker.cluster import KafkaCluster
    from tests.kafka.member import Member


async def caught_up(member: Member, end: int) -> None:
    """Return when nothing of the first partition is left to be handed out."""
    while member.source.positions().get(member.at(0)) != end:
        assert await member.source.poll(member.partitions, 0.1) == {}


@pytest.mark.kafka
def test_a_topic_written_by_transactions_is_read_to_its_very_end(kafka: KafkaCluster) -> None:
    """What was aborted never comes, markers are passed, and the group's lag ends at 0 although no record is there."""

    async def main() -> None:
        topic = topic_of(kafka, "transactions")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique("writer"))
        async with producer:
            for turn in range(3):
                await producer.begin_transaction()
                for number in range(2):
                    await producer.send_and_wait(topic, b"%d%d" % (turn, number), partition=0)
                await (producer.abort_transaction() if turn == 1 else producer.commit_transaction())
            async with joined(settings(kafka, topic)) as member:
                records = await member.read(4)
                assert [record.value for record in records] == [b"00", b"01", b"20", b"21"]
                await caught_up(member, 9)
                assert member.source.lag()[member.at(0)] == 0
                # Of an open transaction nothing is read, nor passed.
                await producer.begin_transaction()
                await producer.send_and_wait(topic, b"open", partition=0)
                assert await member.source.poll(member.partitions, 0.5) == {}
                assert member.source.positions()[member.at(0)] == 9
                await producer.abort_transaction()
                await caught_up(member, 11)
                assert await member.source.commit(
                    {each: Position(at) for each, at in member.source.positions().items()}
                )
                async with administering(kafka) as admin:
                    committed = await admin.list_consumer_group_offsets(member.source._kafka.group_id)
                assert {at.partition: offset.offset for at, offset in committed.items()} == {0: 11, 1: 0, 2: 0, 3: 0}

    asyncio.run(main())


@pytest.mark.kafka
def test_a_position_above_an_open_transaction_is_within_the_log(kafka: KafkaCluster) -> None:
    """An offset committed by who reads all records is not beyond the end because a transaction is open below it."""

    async def main() -> None:
        topic = topic_of(kafka, "open")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique("writer"))
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"open", partition=0)
            await produce(kafka, topic, [(0, b"behind it")])
            async with joined(settings(kafka, topic), seek={0: 2}) as member:
                assert not member.source.held
                await producer.commit_transaction()
                await caught_up(member, 3)

    asyncio.run(main())


@pytest.fixture
def quick_compaction(kafka: KafkaCluster) -> Iterator[None]:
    """Have the broker look for something to compact all the time, and not every 15 seconds."""
    admin = AdminClient({"bootstrap.servers": ",".join(kafka.bootstrap_servers), "log_level": 0})

    def look(operation: AlterConfigOpType) -> None:
        entry = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=operation)
        (done,) = admin.incremental_alter_configs(
            [ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])]
        ).values()
        done.result(10)

    look(AlterConfigOpType.SET)
    yield
    look(AlterConfigOpType.DELETE)


@pytest.mark.kafka
@pytest.mark.usefixtures("quick_compaction")
def test_compacted_topics_are_read_over_their_holes(kafka: KafkaCluster) -> None:
    """Where compaction has left holes, what is left comes once and in order, and the position ends at the log's end."""

    async def main() -> None:
        topic = unique("compacted")
        config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"}
        kafka.create_topic(topic, partitions=1, config=config)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
            for values in ([b"1"] * 5, [b"2"] * 4, [None, b"3"], [b"end"]):
                for key, value in enumerate(values):
                    await producer.send_and_wait(topic, value, key=b"%d" % key, partition=0)
                # The segment that is written to is not compacted; it is closed with the first record after its time.
                await asyncio.sleep(0.15)
        while True:
            async with joined(settings(kafka, topic)) as member:
                records: list[Record] = []
                while not records or records[-1].offset < 11:
                    records += await member.read(1)
                if len(records) == 6:
                    await caught_up(member, 12)
                    break
        assert [record.offset for record in records] == [4, 7, 8, 9, 10, 11]
        assert [record.value for record in records] == [b"1", b"2", b"2", None, b"3", b"end"]

    asyncio.run(main())


@pytest.mark.kafka
def test_records_without_a_value_come_as_such(kafka: KafkaCluster) -> None:
    """A tombstone is handed out with its key and without a value, in its place among the others."""

    async def main() -> None:
        topic = topic_of(kafka, "tombstones")
        await produce(kafka, topic, [(0, b"before"), (0, None), (0, b"after")], key=b"k")
        async with joined(settings(kafka, topic)) as member:
            records = await member.read(3)
            assert [(record.key, record.value) for record in records] == [
                (b"k", b"before"),
                (b"k", None),
                (b"k", b"after"),
            ]

    asyncio.run(main())
