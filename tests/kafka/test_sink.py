"""Writing records, on the embedded broker and on a real Apache Kafka alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CorruptRecordException, ProducerClosed, UnknownError

from consumer.demo.broker import EmbeddedBroker
from consumer.errors import DeliveryRefused, Stuck
from consumer.kafka.sink import UNCLEAR_TRIES, KafkaSink
from consumer.record import OutRecord
from tests.broker.cluster import KafkaCluster, unique
from tests.broker.embedded import QuickBroker
from tests.kafka.ledger import published
from tests.kafka.member import ended, joined, settings


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.record import Record
    from tests.broker.cluster import Broker


@contextlib.asynccontextmanager
async def started(broker: Broker, *topics: str, compression: str = "none", **values: float) -> AsyncIterator[KafkaSink]:
    """A sink that writes to these topics."""
    sink = KafkaSink(settings(broker, *topics, **values), topics, compression=compression)
    await sink.start()
    try:
        yield sink
    finally:
        await sink.stop()


async def outcome(future: asyncio.Future[None]) -> BaseException | None:
    """What a future ended with."""
    await asyncio.wait({future})
    return future.exception()


async def everything(broker: Broker, topic: str, count: int) -> list[Record]:
    """All records of a topic, of which there have to be so many."""
    async with joined(settings(broker, topic)) as member:
        records = await member.read(count)
        assert await member.source.poll(member.partitions, 0.3) == {}
        return records


def test_record_comes_back_as_it_was_written(broker: Broker) -> None:
    """Key, value and headers are kept byte for byte, compressed or not; the broker's time is now; keys keep order."""

    async def main() -> None:
        topic = unique("round-trip")
        broker.create_topic(topic)
        sent = [
            OutRecord(topic, "键".encode(), b"\x00\xff", (("trace", b"\x01\x02"), ("empty", b""), ("trace", b"again"))),
            OutRecord(topic, None, b""),
            *(OutRecord(topic, b"key %d" % (n % 7), b"%d" % n) for n in range(500)),
        ]
        for compression in ("none", "gzip"):
            async with started(broker, topic, compression=compression) as sink:
                futures = [await sink.send(record) for record in sent]
                await sink.flush()
                assert all(future.done() and future.exception() is None for future in futures)
        records = await everything(broker, topic, 2 * len(sent))
        found = sorted((record.key or b"", record.value or b"", record.headers) for record in records)
        assert found == sorted(2 * [(record.key or b"", record.value, record.headers) for record in sent])
        assert all(abs(record.timestamp / 1000 - time.time()) < 60 for record in records)
        values = [int(record.value or b"") for record in records if record.key == b"key 3"]
        assert values == 2 * list(range(3, 500, 7))

    asyncio.run(main())


def test_cancelled_send_writes_nothing(broker: Broker) -> None:
    """A send that waits for room and is cancelled leaves no record behind, and those around it arrive."""

    async def main() -> None:
        topic = unique("cancelled")
        broker.create_topic(topic)
        async with started(broker, topic) as sink:
            await sink.send(OutRecord(topic, b"k", b"first" + b"." * 200_000))
            waiting = asyncio.create_task(sink.send(OutRecord(topic, b"k", b"never" + b"." * 200_000)))
            await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            await sink.send(OutRecord(topic, b"k", b"last"))
            await sink.flush()
        assert [(record.value or b"")[:5] for record in await everything(broker, topic, 2)] == [b"first", b"last"]

    asyncio.run(main())


@pytest.mark.kafka
def test_record_above_the_topics_limit_is_refused_alone(kafka: KafkaCluster) -> None:
    """A record that the topic is known not to take is refused at once; up to the limit all are taken."""

    async def main() -> None:
        topic = unique("limit")
        kafka.create_topic(topic, config={"max.message.bytes": "20000"})
        async with started(kafka, topic) as sink:
            futures = [await sink.send(OutRecord(topic, b"k", b"." * size)) for size in (19_800, 20_000, 19_800, 10)]
            outcomes = [await outcome(future) for future in futures]
            assert [type(each) for each in outcomes] == [type(None), DeliveryRefused, type(None), type(None)]
        assert len(await everything(kafka, topic, 3)) == 3

    asyncio.run(main())


@pytest.mark.kafka
def test_record_that_the_broker_refuses_does_not_stop_its_partition(kafka: KafkaCluster) -> None:
    """Of a batch that the broker refuses only the record at fault fails; its neighbours and all after it arrive."""

    async def main() -> None:
        topic, other = unique("poison"), unique("other")
        kafka.create_topic(topic, partitions=2)
        kafka.create_topic(other)
        async with started(kafka, topic, other) as sink:
            await (await sink.send(OutRecord(topic, b"k", b"0")))
            # The limit sinks after the start, so that only the broker knows of it.
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
            await admin.start()
            lower = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "20000"})
            await admin.alter_configs([lower])
            await admin.close()
            expected: dict[bytes, list[bytes]] = {b"k": [b"0"], b"l": [], b"m": []}
            futures: list[asyncio.Future[None]] = []
            refused: list[asyncio.Future[None]] = []
            for n in range(1, 300):
                key = (b"k", b"l", b"m")[n % 3]
                if n % 100 == 50:
                    refused.append(await sink.send(OutRecord(topic, key, b"." * 30_000)))
                else:
                    expected[key].append(b"%d" % n)
                    futures.append(await sink.send(OutRecord(topic, key, b"%d" % n)))
                futures.append(await sink.send(OutRecord(other, key, b"%d" % n)))
                if n % 20 == 0:
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(30):
                await sink.flush()
            errors = [await outcome(future) for future in refused]
            assert [isinstance(error, DeliveryRefused) and error.reason for error in errors] == 3 * ["too_large"]
            assert {await outcome(future) for future in futures} == {None}
            await (await sink.send(OutRecord(topic, b"k", b"last")))
        records = await everything(kafka, topic, 298)
        expected[b"k"].append(b"last")
        assert {key: [r.value for r in records if r.key == key] for key in expected} == expected

    asyncio.run(main())


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_outage_of_the_broker_delays_and_loses_nothing() -> None:
    """What is handed over in an outage that outlasts all time-outs arrives after it, in order, and so does the rest."""

    async def main(cluster: KafkaCluster) -> None:
        topic = unique("outage")
        cluster.create_topic(topic)
        records = [OutRecord(topic, b"k", b"%d" % n + 10_000 * b".") for n in range(101)]
        async with started(cluster, topic, request_timeout_seconds=1) as sink:
            await (await sink.send(records[0]))
            cluster.kill(1)
            futures: list[asyncio.Future[None]] = []

            async def write() -> None:
                for record in records[1:100]:
                    futures.append(await sink.send(record))  # noqa: PERF401  # so many of them are written by now

            writing = asyncio.create_task(write())
            await asyncio.sleep(2.5)
            assert not writing.done()
            assert len(futures) > 10
            assert not any(future.done() for future in futures)
            await asyncio.to_thread(cluster.restart, 1)
            await writing
            await sink.flush()
            assert {await outcome(future) for future in futures} == {None}
            await (await sink.send(records[100]))
        await ended()
        # A record whose acknowledgement was lost may be there twice.
        assert list(dict.fromkeys(await published(cluster, topic))) == [record.value for record in records]

    with KafkaCluster() as cluster:
        asyncio.run(main(cluster))


def test_flush_returns_after_who_waits_for_records_has_heard(broker: Broker) -> None:
    """What is acknowledged when a flush returns has been told already, so that a commit behind it has it, too."""

    async def main() -> None:
        topic = unique("flushed")
        broker.create_topic(topic)
        async with started(broker, topic) as sink:
            for _ in range(5):
                told: list[asyncio.Future[None]] = []
                for n in range(3):
                    (await sink.send(OutRecord(topic, b"k", b"%d" % n))).add_done_callback(told.append)
                await sink.flush()
                assert len(told) == 3

    asyncio.run(main())


@pytest.mark.parametrize("code", [CorruptRecordException.errno, UnknownError.errno])
def test_an_answer_without_a_reason_is_no_refusal(code: int) -> None:
    """A broker that answers with an unknown error, or got changed bytes, is tried again, and all records arrive."""

    async def main(broker: QuickBroker) -> None:
        topic = unique("unclear")
        broker.create_topic(topic)
        async with started(broker, topic) as sink, asyncio.timeout(20):
            await (await sink.send(OutRecord(topic, b"k", b"0")))
            broker.answer_writes(code, code)
            futures = [await sink.send(OutRecord(topic, b"k", b"%d" % n)) for n in range(1, 4)]
            assert [await outcome(future) for future in futures] == 3 * [None]
        assert [record.value for record in await everything(broker, topic, 4)] == [b"0", b"1", b"2", b"3"]

    with QuickBroker() as broker:
        asyncio.run(main(broker))


def test_a_record_that_is_refused_without_a_reason_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that alone is answered with an unknown error again and again is refused; its neighbours arrive."""
    monkeypatch.setattr("consumer.kafka.sink.RETRY_SECONDS", 0.05)

    async def main(broker: QuickBroker) -> None:
        topic = unique("hopeless")
        broker.create_topic(topic)
        async with started(broker, topic) as sink, asyncio.timeout(20):
            await (await sink.send(OutRecord(topic, b"k", b"0")))
            broker.answer_writes(*(2 + UNCLEAR_TRIES) * [UnknownError.errno])
            futures = [await sink.send(OutRecord(topic, b"k", b"%d" % n)) for n in range(1, 3)]
            first, second = [await outcome(future) for future in futures]
            assert isinstance(first, DeliveryRefused)
            assert second is None
        assert [record.value for record in await everything(broker, topic, 2)] == [b"0", b"2"]

    with QuickBroker() as broker:
        asyncio.run(main(broker))


def test_producer_that_cannot_be_replaced_is_told(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a broken producer cannot be replaced for a reason nobody foresaw, those who write hear of it."""

    async def broken(*_: object, **__: object) -> None:
        raise ProducerClosed

    async def refused(*_: object) -> None:
        raise OSError("too many open files")

    async def main() -> None:
        topic = unique("irreplaceable")
        broker.create_topic(topic)
        async with started(broker, topic) as sink, asyncio.timeout(30):
            monkeypatch.setattr(AIOKafkaProducer, "send_batch", broken)
            monkeypatch.setattr(AIOKafkaProducer, "start", refused)
            for _ in range(2):
                assert isinstance(await outcome(await sink.send(OutRecord(topic, None, b"x"))), Stuck)

    asyncio.run(main())


@pytest.mark.parametrize("gone", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_stop_is_bounded_when_the_broker_is_gone(gone: str, request: pytest.FixtureRequest) -> None:
    """What cannot be acknowledged fails when the sink is stopped, in time, and no task is left behind."""

    async def main(broker: Broker) -> None:
        topic = unique("gone")
        broker.create_topic(topic)
        sink = KafkaSink(settings(broker, topic), [topic], stop_seconds=0.5)
        await sink.start()
        await (await sink.send(OutRecord(topic, b"k", b"arrived")))
        if isinstance(broker, EmbeddedBroker):
            broker.stop()
        else:
            request.getfixturevalue("kafka").pause(1)
        future = await sink.send(OutRecord(topic, b"k", b"lost"))
        began = time.monotonic()
        await sink.stop()
        assert time.monotonic() - began < 4
        assert isinstance(future.exception(), Stuck)
        await sink.flush()
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
