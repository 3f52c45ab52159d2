"""What the tests of the Kafka folder share: settings for a broker, an owner of partitions, and records to read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from consumer.kafka.source import KafkaSource
from consumer.record import Partition, Position
from consumer.settings.models import Kafka
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping

    from consumer.record import Record
    from tests.broker.cluster import Broker


__all__ = ["Member", "administering", "ended", "joined", "polling", "produce", "settings", "topic_of"]


def settings(broker: Broker, *topics: str, **values: Any) -> Kafka:
    """Settings that notice a rebalance quickly; the group is a new one unless `group_id` says otherwise."""
    given = {"group_id": unique("group"), "start": "earliest", "heartbeat_interval_seconds": 0.5, **values}
    return Kafka(bootstrap_servers=broker.bootstrap_servers, topics=list(topics), session_timeout_seconds=6, **given)


def topic_of(broker: Broker, name: str) -> str:
    """A topic of four partitions for one test."""
    topic = unique(name)
    broker.create_topic(topic)
    return topic


async def produce(broker: Broker, topic: str, records: Iterable[tuple[int, bytes | None]], **more: Any) -> None:
    """Write (partition, value) pairs, and return when they are acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        sent = [await producer.send(topic, value=value, partition=partition, **more) for partition, value in records]
        await asyncio.gather(*sent)


@contextlib.asynccontextmanager
async def administering(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of its own, for what a source does not do."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def ended() -> None:
    """Return when no task but this one is left; a task that was cancelled may take a moment."""
    async with asyncio.timeout(2):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)


class Member:
    """A source and the owner of its partitions, which seeks when asked to and remembers what it was told."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.partitions: set[Partition] = set()
        self.told: list[str] = []
        self.on_revoked: Callable[[], Awaitable[None]] | None = None
        self._changed = asyncio.Event()

    def assigned(self, partitions: Collection[Partition]) -> None:
        self.partitions = set(partitions)
        self.told.append("assigned")
        self._changed.set()

    async def revoked(self, partitions: Collection[Partition]) -> None:
        if self.on_revoked is not None:
            await self.on_revoked()
        self.partitions -= set(partitions)
        self.told.append("revoked")

    async def assignment(self) -> set[Partition]:
        """The next assignment, awaited."""
        await self._changed.wait()
        self._changed.clear()
        return self.partitions

    async def open(self) -> Mapping[Partition, int]:
        """Seek to what is committed, or to the start, and return the offsets."""
        return await self.source.seek(await self.source.committed(self.partitions))

    async def read(self, count: int, ready: Collection[Partition] | None = None) -> list[Record]:
        """So many records, in the order they came."""
        records: list[Record] = []
        while len(records) < count:
            polled = await self.source.poll(self.partitions if ready is None else ready, 0.5)
            records += [record for each in polled.values() for record in each]
        return records

    def at(self, partition: int) -> Partition:
        """The partition with this number."""
        (found,) = [each for each in self.partitions if each.partition == partition]
        return found


@contextlib.asynccontextmanager
async def polling(member: Member) -> AsyncIterator[list[Record]]:
    """Poll beside the test, as the engine does; what came is in the list."""
    records: list[Record] = []

    async def poll() -> None:
        while True:
            polled = await member.source.poll(member.partitions, 0.2)
            records.extend(record for each in polled.values() for record in each)

    task = asyncio.create_task(poll())
    try:
        yield records
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


@contextlib.asynccontextmanager
async def joined(
    kafka: Kafka, *, seek: Mapping[int, int] | None = None, seconds: float = 30, **options: Any
) -> AsyncIterator[Member]:
    """A member with its first assignment, its positions set: to `seek` by partition number, else as committed."""
    source = KafkaSource(kafka, **{"limits": {"calls": 4}, **options})
    member = Member(source)
    async with asyncio.timeout(seconds):
        await source.start(member)
        try:
            await member.assignment()
            if seek is None:
                await member.open()
            else:
                await source.seek({member.at(number): Position(offset) for number, offset in seek.items()})
            yield member
        finally:
            await source.stop()
