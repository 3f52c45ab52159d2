"""The same ports on three Kafkas: the one in memory, the embedded one, and a real one; what a test may do with each."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition

from consumer.kafka.producers import discard_producer
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.unit import KafkaUnit
from consumer.record import Partition
from tests.broker.cluster import unique
from tests.kafka.member import settings
from tests.simulation.kafka import MemoryKafka
from tests.simulation.logs import Raw
from tests.simulation.loop import run
from tests.simulation.network import Disconnected, Network
from tests.simulation.source import SimSource
from tests.simulation.writers import SimSink, SimUnit


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from consumer.engine.ports import Sink, Source, Unit
    from consumer.record import Position
    from tests.broker.cluster import Broker


__all__ = ["KafkaWorld", "MemoryWorld", "World"]


T = TypeVar("T")
Scale = Literal["failover", "share"]


class World(Protocol):
    """A Kafka, and what a test does to it beside the ports that it is about."""

    session_seconds: float

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a test's coroutine to its end, in this world's time."""
        ...

    async def topic(self) -> str:
        """A new topic of four partitions."""
        ...

    async def produce(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Write records, one after the other."""
        ...

    async def transaction(
        self,
        name: str,
        topic: str,
        *values: bytes,
        group: str = "",
        offsets: Mapping[Partition, Position] | None = None,
        end: Literal["commit", "abort", "open"],
    ) -> None:
        """Write a transaction as another client would; its records go to partition 0. It may be left open."""
        ...

    async def read(self, topic: str, *, committed: bool = True) -> list[bytes]:
        """All that can be read of a topic now, partition by partition."""
        ...

    def source(self, topic: str, group: str, scale: Scale = "failover") -> Source:
        """A member of a group."""
        ...

    def silence(self, source: Source) -> None:
        """The group hears nothing more of this member, as if it were frozen; what the test has it send is sent."""
        ...

    def sink(self, topic: str) -> Sink:
        """A producer."""
        ...

    def unit(self, name: str, group: str, topic: str) -> Unit:
        """A transactional producer that commits a group's offsets."""
        ...


class MemoryWorld:
    """The simulation's Kafka, in virtual time."""

    session_seconds = 2.0

    def __init__(self) -> None:
        self._kafka: MemoryKafka
        self._clients = itertools.count()
        self._topics = itertools.count()

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run in virtual time."""

        async def there(loop: Any) -> T:
            self._kafka = MemoryKafka(Network(loop, random.Random(1)), largest_record_bytes=1_000_000)
            return await main()

        return run(there)

    async def topic(self) -> str:
        """A new topic of four partitions."""
        name = f"topic{next(self._topics)}"
        self._kafka.create(name, 4)
        return name

    async def produce(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Write records."""
        self._kafka.produce(Partition(topic, partition), *(Raw(None, value) for value in values))

    async def transaction(
        self,
        name: str,
        topic: str,
        *values: bytes,
        group: str = "",
        offsets: Mapping[Partition, Position] | None = None,
        end: Literal["commit", "abort", "open"],
    ) -> None:
        """A transaction, request by request."""
        kafka, partition = self._kafka, Partition(topic, 0)
        coordinator = kafka.transactions
        producer, epoch = await self._ask("transactions", coordinator.init, name, 60.0)
        named = (name, producer, epoch)
        await self._ask("transactions", coordinator.add, *named, [partition])
        batch = {partition: (0, [Raw(None, value) for value in values])}
        await self._ask("log", kafka.write, batch, producer, epoch, transactional=True)
        if offsets is not None:
            await self._ask("transactions", coordinator.add, *named, [group])
            await self._ask("group", kafka.commit_in_transaction, group, producer, epoch, offsets)
        if end != "open":
            await self._ask("transactions", coordinator.end, *named, commit=end == "commit")

    async def read(self, topic: str, *, committed: bool = True) -> list[bytes]:
        """All that can be read now."""
        return [entry.raw.value or b"" for _, entry in self._kafka.read(topic, committed=committed) if entry.raw]

    def source(self, topic: str, group: str, scale: Scale = "failover") -> SimSource:
        """A member of a group."""
        return SimSource(self._kafka, self._client(), group_id=group, topics=[topic], scale=scale)

    def silence(self, source: Source) -> None:
        """End the tasks that talk to the group."""
        assert isinstance(source, SimSource)
        for task in source._tasks:
            task.cancel()

    def sink(self, topic: str) -> SimSink:
        """A producer."""
        return SimSink(self._kafka, self._client())

    def unit(self, name: str, group: str, topic: str) -> SimUnit:
        """A transactional producer."""
        return SimUnit(self._kafka, self._client(), name, group)

    def _client(self) -> str:
        return f"client{next(self._clients)}"

    async def _ask(self, node: Any, serve: Callable[..., None], *args: Any, **more: Any) -> Any:
        try:
            return await self._kafka.network.request("outside", node, serve, *args, **more)
        except Disconnected as error:
            raise AssertionError("nothing is lost here") from error


class KafkaWorld:
    """A broker that speaks Kafka's protocol, and the program's own clients."""

    session_seconds = 6.0

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._left_open: list[AIOKafkaProducer] = []

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run in real time."""

        async def there() -> T:
            try:
                async with asyncio.timeout(50):
                    return await main()
            finally:
                for producer in self._left_open:
                    await discard_producer(producer, 1.0)

        return asyncio.run(there())

    async def topic(self) -> str:
        """A new topic of four partitions."""
        name = unique("behaviour")
        await asyncio.to_thread(self._broker.create_topic, name)
        return name

    async def produce(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Write records."""
        async with AIOKafkaProducer(bootstrap_servers=self._broker.bootstrap_servers, acks="all") as producer:
            for value in values:
                await producer.send_and_wait(topic, value=value, partition=partition)

    async def transaction(
        self,
        name: str,
        topic: str,
        *values: bytes,
        group: str = "",
        offsets: Mapping[Partition, Position] | None = None,
        end: Literal["commit", "abort", "open"],
    ) -> None:
        """A transaction by another client."""
        producer = AIOKafkaProducer(bootstrap_servers=self._broker.bootstrap_servers, transactional_id=name)
        await producer.start()
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value=value, partition=0)
        if offsets is not None:
            named = {TopicPartition(*partition): OffsetAndMetadata(*at) for partition, at in offsets.items()}
            await producer.send_offsets_to_transaction(named, group)
        if end == "open":
            self._left_open.append(producer)
            return
        await (producer.commit_transaction() if end == "commit" else producer.abort_transaction())
        await producer.stop()

    async def read(self, topic: str, *, committed: bool = True) -> list[bytes]:
        """All that can be read now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker.bootstrap_servers,
            isolation_level="read_committed" if committed else "read_uncommitted",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            partitions = [
                TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            if not partitions:
                partitions = [TopicPartition(topic, number) for number in range(4)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            values: dict[TopicPartition, list[bytes]] = {partition: [] for partition in partitions}
            while any([await consumer.position(each) < ends[each] for each in partitions]):
                for each, records in (await consumer.getmany(timeout_ms=200)).items():
                    values[each] += [record.value for record in records]
        finally:
            await consumer.stop()
        return [value for each in partitions for value in values[each]]

    def source(self, topic: str, group: str, scale: Scale = "failover") -> KafkaSource:
        """A member of a group."""
        return KafkaSource(settings(self._broker, topic, group_id=group, scale=scale), limits={"calls": 4})

    def silence(self, source: Source) -> None:
        """End aiokafka's tasks that talk to the group."""
        assert isinstance(source, KafkaSource)
        coordinator = source._keeper.membership.consumer._coordinator  # type: ignore[union-attr]  # it has joined
        for task in (coordinator._heartbeat_task, coordinator._coordination_task):
            task.cancel()

    def sink(self, topic: str) -> KafkaSink:
        """A producer."""
        return KafkaSink(settings(self._broker, topic), [topic])

    def unit(self, name: str, group: str, topic: str) -> KafkaUnit:
        """A transactional producer."""
        return KafkaUnit(
            settings(self._broker, topic, group_id=group),
            name,
            [topic],
            stop_seconds=0.5,
            stamp=lambda positions: positions,
        )
