"""Producers of the memory Kafka behind the engine's `Sink` and `Unit`: idempotent, and transactional."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consumer.errors import DeliveryRefused, Fenced, TransactionFailed, TransactionRefused
from tests.simulation.logs import Raw
from tests.simulation.network import Disconnected, Refused


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consumer.record import OutRecord, Partition, Position
    from tests.simulation.kafka import Batch, MemoryKafka
    from tests.simulation.network import Node

    _Handed = tuple[str, Raw, asyncio.Future[None]]


__all__ = ["Producer", "SimSink", "SimUnit"]


RETRY_SECONDS = 0.1
_FENCED = frozenset({"INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING"})
# Tries of one batch before the client gives its producer up, and starts anew with what is not acknowledged.
_TRIES = 5
# How long a transaction is worked on before it counts as failed: longer than a session, as in the real one.
_TRANSACTION_SECONDS = 4.0
_CONNECT_SECONDS = (0.002, 0.05)


class Producer:
    """An idempotent producer: one request at a time, tried again with the same sequence numbers until acknowledged.

    When a batch was tried too often it starts another producer id, as the real sinks do, and then a record whose
    acknowledgement was lost is written twice.
    """

    def __init__(self, kafka: MemoryKafka, client: str, node: Node = "log") -> None:
        self._client = client
        self._node = node
        self._kafka = kafka
        self._producer = -1
        self._sequences: dict[Partition, int] = {}
        self._waiting: list[_Handed] = []
        self._sending: list[_Handed] = []
        self._more = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send what is handed over."""
        self._task = asyncio.create_task(self._run())

    def send(self, topic: str, raw: Raw) -> asyncio.Future[None]:
        """Hand one record over; the future ends when it is acknowledged."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((topic, raw, future))
        self._quiet.clear()
        self._more.set()
        return future

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        await self._quiet.wait()

    async def stop(self) -> None:
        """Disconnect; what is not acknowledged yet fails."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for _, _, future in (*self._sending, *self._waiting):
            future.cancel()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            self._sending, self._waiting = self._waiting, []
            while self._sending:
                await self._send()
            if not self._waiting:
                self._quiet.set()

    async def _send(self) -> None:
        """Send what is to be sent until it is acknowledged, or what the broker will never take has failed."""
        kafka = self._kafka
        if self._producer < 0:
            self._sequences.clear()
            try:
                self._producer, _ = await self._request(kafka.transactions.new_producer)
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            return
        for handed in [one for one in self._sending if _size(one[1]) > kafka.largest_record_bytes]:
            self._sending.remove(handed)
            handed[2].set_exception(DeliveryRefused(f"{handed[0]} refuses it", code="too_large"))
        if not self._sending:
            return
        batches = _batches(kafka, self._sending, self._sequences)
        for _ in range(_TRIES):
            try:
                await self._request(kafka.write, batches, self._producer, 0)
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        else:
            self._producer = -1
            return
        _advance(self._sequences, batches)
        sent, self._sending = self._sending, []
        for _, _, future in sent:
            if not future.done():
                future.set_result(None)

    def _request(self, serve: Callable[..., None], *args: Any) -> asyncio.Future[Any]:
        return self._kafka.network.request(self._client, self._node, serve, *args)


class SimSink:
    """An idempotent producer behind the engine's `Sink`."""

    def __init__(self, kafka: MemoryKafka, client: str) -> None:
        self._producer = Producer(kafka, client)

    async def start(self) -> None:
        """Connect."""
        self._producer.start()

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        """Hand one record over; the future ends when it is acknowledged."""
        return self._producer.send(record.topic, Raw(record.key, record.value, record.headers))

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        await self._producer.flush()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()


class SimUnit:
    """A transactional producer. `group_id` is the group whose offsets its transactions commit."""

    def __init__(
        self, kafka: MemoryKafka, client: str, transactional_id: str, group_id: str, *, timeout_seconds: float = 6.0
    ) -> None:
        self.client = client
        self.transactional_id = transactional_id
        self._kafka = kafka
        self._group_id = group_id
        self._timeout_seconds = timeout_seconds
        self._producer = -1
        self._epoch = -1
        self._sequences: dict[Partition, int] = {}

    async def fence(self) -> None:
        """Take the unit over, however long the brokers are away."""
        self._producer = -1
        # A new producer connects, asks for metadata and looks its coordinator up before it asks for the unit.
        await asyncio.sleep(self._kafka.network.chance.uniform(*_CONNECT_SECONDS))
        while True:
            try:
                self._producer, self._epoch = await self._kafka.network.request(
                    self.client,
                    "transactions",
                    self._kafka.transactions.init,
                    self.transactional_id,
                    self._timeout_seconds,
                )
            except (Disconnected, Refused):
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._sequences.clear()
                return

    async def transact(self, records: Sequence[OutRecord], positions: Mapping[Partition, Position]) -> None:
        """Write records and commit positions in one transaction."""
        if self._producer < 0:
            raise TransactionFailed("not fenced")
        producer, self._producer = self._producer, -1
        kafka, transactions = self._kafka, self._kafka.transactions
        named = (self.transactional_id, producer, self._epoch)
        handed = [(record.topic, Raw(record.key, record.value, record.headers)) for record in records]
        batches = _batches(kafka, handed, self._sequences)
        try:
            async with asyncio.timeout(_TRANSACTION_SECONDS):
                if batches:
                    await self._insist("transactions", transactions.add, *named, list(batches))
                    await self._insist("log", kafka.write, batches, producer, self._epoch, transactional=True)
                    _advance(self._sequences, batches)
                if positions:
                    await self._insist("transactions", transactions.add, *named, [self._group_id])
                    await self._insist(
                        "group", kafka.commit_in_transaction, self._group_id, producer, self._epoch, dict(positions)
                    )
                await self._insist("transactions", transactions.end, *named, commit=True)
        except TimeoutError:
            raise TransactionFailed("the brokers did not answer in time") from None
        except Refused as refused:
            if refused.code in _FENCED:
                raise Fenced(refused.code) from None
            if refused.code in {"MESSAGE_TOO_LARGE", "OFFSET_METADATA_TOO_LARGE"}:
                raise TransactionRefused(refused.code) from None
            raise TransactionFailed(refused.code) from None
        self._producer = producer

    async def stop(self) -> None:
        """Disconnect; an open transaction is left to the next owner."""
        self._producer = -1

    async def _insist(self, node: Node, serve: Callable[..., None], *args: Any, **more: Any) -> Any:
        """Ask until there is an answer: these requests may be repeated."""
        while True:
            try:
                return await self._kafka.network.request(self.client, node, serve, *args, **more)
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            except Refused as refused:
                if refused.code != "CONCURRENT_TRANSACTIONS":
                    raise
                await asyncio.sleep(RETRY_SECONDS / 5)


def _size(raw: Raw) -> int:
    return len(raw.value or b"") + len(raw.key or b"")


def _batches(
    kafka: MemoryKafka, handed: Iterable[tuple[str, Raw] | _Handed], sequences: Mapping[Partition, int]
) -> dict[Partition, Batch]:
    """The records by partition, with each partition's next sequence number."""
    by_partition: dict[Partition, list[Raw]] = {}
    for topic, raw, *_ in handed:
        by_partition.setdefault(kafka.partition_of(topic, raw.key), []).append(raw)
    return {partition: (sequences.get(partition, 0), raws) for partition, raws in by_partition.items()}


def _advance(sequences: dict[Partition, int], batches: Mapping[Partition, Batch]) -> None:
    for partition, (sequence, raws) in batches.items():
        sequences[partition] = sequence + len(raws)
