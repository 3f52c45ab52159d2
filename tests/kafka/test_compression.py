"""Topics whose records are compressed, by whatever Kafka's producers can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiokafka.codec
import pytest
from confluent_kafka import Producer

from consumer.errors import StartError
from consumer.kafka.producers import new_producer
from consumer.metrics import Metrics
from tests.kafka.member import ended, joined, polling, settings, topic_of


if TYPE_CHECKING:
    from tests.broker.cluster import Broker


CODECS = ("gzip", "snappy", "lz4", "zstd")
TEXT = b"a message that is worth compressing, " * 20


def write(broker: Broker, topic: str, codec: str, partition: int) -> None:
    """Write ten records by Kafka's C library, which compresses by itself."""
    servers = ",".join(broker.bootstrap_servers)
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec, "linger.ms": 50, "log_level": 0})
    for number in range(10):
        producer.produce(topic, TEXT + b"%d" % number, partition=partition)
    producer.flush()


def test_compressed_records_are_read_as_they_were_written(broker: Broker) -> None:
    """Records of another client, one codec a partition, arrive byte for byte."""

    async def main() -> None:
        topic = topic_of(broker, "compressed")
        for partition, codec in enumerate(CODECS):
            await asyncio.to_thread(write, broker, topic, codec, partition)
        async with joined(settings(broker, topic)) as member:
            records = await member.read(40)
        wanted = [(partition, TEXT + b"%d" % number) for partition in range(4) for number in range(10)]
        assert sorted((record.partition.partition, record.value) for record in records) == wanted
        await ended()

    asyncio.run(main())


def test_a_codec_that_is_not_installed_holds_its_partitions_only(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition with records that cannot be unpacked is held and says what to install; the others go on."""
    monkeypatch.setattr(aiokafka.codec, "cramjam", None)

    async def main() -> None:
        topic = topic_of(broker, "compressed")
        await asyncio.to_thread(write, broker, topic, "gzip", 0)
        await asyncio.to_thread(write, broker, topic, "zstd", 1)
        metrics = Metrics()
        async with joined(settings(broker, topic), metrics=metrics) as member, polling(member) as records:
            async with asyncio.timeout(20):
                while len(records) < 10 or not member.source.held:
                    await asyncio.sleep(0.05)
            (why,) = member.source.held.values()
            assert why.startswith(f"{topic}/1 cannot be read from 0 on: ")
            assert "pip install 'moderation-consumer[formats]'" in why
            assert {record.partition.partition for record in records} == {0}
            assert metrics.readings("held_partitions") == {(topic,): 1}
        await ended()

    asyncio.run(main())


def test_what_is_written_can_be_compressed(broker: Broker) -> None:
    """Each codec of `output.compression` is taken by a broker, and read again."""

    async def main() -> None:
        topic = topic_of(broker, "compressed")
        for partition, codec in enumerate(CODECS):
            producer = new_producer({"bootstrap_servers": broker.bootstrap_servers}, limits={}, compression=codec)
            await producer.start()
            try:
                await producer.send_and_wait(topic, TEXT, partition=partition)
            finally:
                await producer.stop()
        async with joined(settings(broker, topic)) as member:
            assert [record.value for record in await member.read(4)] == [TEXT] * 4
        await ended()

    asyncio.run(main())


def test_a_codec_of_the_output_that_is_not_installed_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No producer is made; the message says what to install, or to take gzip."""
    monkeypatch.setattr(aiokafka.codec, "cramjam", None)
    with pytest.raises(StartError, match=r"output\.compression zstd needs a library that is not installed") as caught:
        new_producer({}, limits={}, compression="zstd")
    assert "moderation-consumer[formats]" in caught.value.remedy
