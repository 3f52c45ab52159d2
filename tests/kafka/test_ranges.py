"""Reading parts of topics without a group, on the embedded broker and on a real Apache Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import RequestTimedOutError, TopicAuthorizationFailedError

from consumer.errors import StartError, Stuck
from consumer.kafka.list_offsets import list_offsets
from consumer.kafka.ranges import RangeReader
from consumer.record import Partition
from tests.broker.cluster import unique
from tests.kafka.member import produce, settings, topic_of


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker
    from consumer.kafka.ranges import Ranges
    from consumer.record import Record
    from consumer.settings.models import Kafka
    from tests.broker.cluster import Broker, KafkaCluster


__all__: list[str] = []


async def read(kafka: Kafka, part: Ranges | None = None) -> tuple[Ranges, list[Record]]:
    """All that there is, or a part of it, and what was read of that."""
    async with RangeReader(kafka) as reader:
        found = await reader.between()
        return found, [record async for record in reader.records(found if part is None else part)]


def test_all_topics_are_read_to_where_they_end(broker: Broker) -> None:
    """Every record of every topic comes once, in the order of its partition, with key, value and timestamp."""
    one, other = topic_of(broker, "ugc"), topic_of(broker, "ugc")

    async def main() -> None:
        await produce(broker, one, [(number % 3, b"%d" % number) for number in range(90)], key=b"k")
        await produce(broker, other, [(0, None), (0, b"x")], key=b"k")
        found, records = await read(settings(broker, one, other))
        assert found == {
            **{Partition(one, number): (0, 30) for number in range(3)},
            Partition(other, 0): (0, 2),
        }
        assert len(records) == 92
        for number in range(3):
            values = [record.value for record in records if record.partition == Partition(one, number)]
            assert values == [b"%d" % each for each in range(number, 90, 3)]
        assert [record.value for record in records if record.partition.topic == other] == [None, b"x"]
        assert all(record.timestamp > 0 for record in records)
        assert {record.key for record in records} == {b"k"}

    asyncio.run(main())


def test_a_part_is_read_and_no_more(broker: Broker) -> None:
    """Reading begins and ends at the offsets that were given, and parts can be read one after the other."""
    topic = topic_of(broker, "ugc")

    async def main() -> None:
        await produce(broker, topic, [(number % 2, b"%d" % (number // 2)) for number in range(400)])
        async with RangeReader(settings(broker, topic)) as reader:
            for start, stop in ((50, 60), (10, 11), (0, 200), (199, 200)):
                part = {Partition(topic, 0): (start, stop), Partition(topic, 1): (start, stop)}
                records = [record async for record in reader.records(part)]
                for number in (0, 1):
                    offsets = [one.offset for one in records if one.partition.partition == number]
                    assert offsets == list(range(start, stop))
            assert [record async for record in reader.records({})] == []

    asyncio.run(main())


def test_an_empty_topic_has_no_ranges(embedded: EmbeddedBroker) -> None:
    """Where nothing was written there is nothing to read."""
    assert asyncio.run(read(settings(embedded, topic_of(embedded, "ugc")))) == ({}, [])


@pytest.mark.kafka
def test_times_are_looked_up(kafka: KafkaCluster) -> None:
    """Only what was written from the one time on and before the other is in the ranges."""
    topic = topic_of(kafka, "ugc")

    async def main() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            for at in range(1_000_000, 1_000_100):
                await producer.send_and_wait(topic, b"x", partition=at % 2, timestamp_ms=at)
        async with RangeReader(settings(kafka, topic)) as reader:
            for since, until, stamps in (
                (1_000_010, 1_000_020, range(1_000_010, 1_000_020)),
                (None, 1_000_001, range(1_000_000, 1_000_001)),
                (1_000_098, None, range(1_000_098, 1_000_100)),
                (1_000_100, None, range(0)),
                (None, 5, range(0)),
            ):
                found = await reader.between(since, until)
                records = [record async for record in reader.records(found)]
                assert sorted(record.timestamp for record in records) == list(stamps)

    asyncio.run(main())


@pytest.mark.kafka
def test_markers_of_transactions_do_not_hold_it_up(kafka: KafkaCluster) -> None:
    """Records of transactions are read where they were committed, and a topic that ends with a marker has an end."""
    topic = topic_of(kafka, "ugc")

    async def main() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique("writer")
        ) as producer:
            for value, ends in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, value, partition=0)
                await ends()
        found, records = await read(settings(kafka, topic))
        assert [record.value for record in records] == [b"kept"]
        assert found == {Partition(topic, 0): (0, 4)}

    asyncio.run(main())


@pytest.mark.kafka
def test_a_topic_that_is_missing_is_named(kafka: KafkaCluster) -> None:
    """A topic that is not there is an error at the start that names it."""
    with pytest.raises(StartError, match="there-is-none"):
        asyncio.run(read(settings(kafka, "there-is-none")))


def test_no_broker_is_an_error_with_a_remedy() -> None:
    """A broker that cannot be reached is named, and nothing is left open."""

    class Nowhere:
        bootstrap_servers = ("127.0.0.1:1",)

    with pytest.raises(StartError, match=r"127\.0\.0\.1:1") as caught:
        asyncio.run(read(settings(Nowhere(), "ugc")))  # type: ignore[arg-type]  # it has all that is asked of it
    assert caught.value.remedy


def test_leaders_that_do_not_tell_are_asked_again_for_a_while(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a leader does not tell at once it tells later; what it never tells ends as an error that names it."""
    topic = topic_of(embedded, "ugc")
    asked: list[int] = []

    async def now_and_then(consumer: Any, partitions: Any, at: int, **more: Any) -> dict[Partition, int]:
        asked.append(at)
        return {} if silent or len(asked) % 2 else await list_offsets(consumer, partitions, at, **more)

    monkeypatch.setattr("consumer.kafka.ranges.list_offsets", now_and_then)
    monkeypatch.setattr("consumer.kafka.ranges._RETRY_SECONDS", 0.01)

    async def main() -> Ranges:
        await produce(embedded, topic, [(0, b"x")])
        async with RangeReader(settings(embedded, topic, request_timeout_seconds=1)) as reader:
            return await reader.between()

    silent = False
    assert asyncio.run(main()) == {Partition(topic, 0): (0, 1)}
    silent = True
    with pytest.raises(Stuck, match=f"the leader of {topic}/0"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "said"),
    [(TopicAuthorizationFailedError("ugc"), "cannot be read"), (RequestTimedOutError(), "cannot be read")],
)
def test_refusals_are_told(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """What the brokers refuse is an error in words, at the look-up as while reading."""
    topic = topic_of(embedded, "ugc")

    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    async def main() -> None:
        await produce(embedded, topic, [(0, b"x")])
        async with RangeReader(settings(embedded, topic)) as reader:
            found = await reader.between()
            monkeypatch.setattr(reader._consumer, "getmany", fail)
            with pytest.raises(Stuck, match=said):
                assert [record async for record in reader.records(found)]
            monkeypatch.setattr("consumer.kafka.ranges.list_offsets", fail)
            with pytest.raises(Stuck, match=said):
                await reader.between()

    asyncio.run(main())
