"""Writing records: batches for an idempotent producer behind the engine's `Sink`, on aiokafka."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
)

from consumer.errors import DeliveryRefused, StartError, Stuck
from consumer.kafka.connection import FORBIDDEN, client_options
from consumer.kafka.producers import (
    BATCH_BYTES,
    Partitioner,
    close_producer,
    discard_producer,
    is_refusal,
    new_producer,
    obey,
    too_large,
    topic_limits,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.quota.guard import Guard
    from consumer.record import OutRecord
    from consumer.settings.models import Kafka


__all__ = ["KafkaSink"]


_log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
# So long a record waits at most for others that go to the same partition, and so much of it for each that has not been
# acknowledged yet: where few are under way there is room for batches of one, and nobody to wait for.
LINGER_SECONDS = 0.005
LINGER_EACH_SECONDS = 0.00025
LEAST_LINGER_SECONDS = 0.001

# A dead letter's code for it.
TOO_LARGE = "too_large"


class _Delivery(asyncio.Future[None]):
    """A record on its way: it ends with its acknowledgement, and who cancels it takes the record back."""

    __slots__ = ("outlet", "record", "sink", "suspect")

    def __init__(self, record: OutRecord, outlet: _Outlet, sink: KafkaSink, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.record = record
        self.outlet = outlet
        self.sink = sink
        self.suspect = False  # whether a batch with it in was refused

    def cancel(self, msg: Any | None = None) -> bool:
        """Take the record back, unless it was sent to the broker already."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.sink.taken_back(self)
        return cancelled


class _Outlet:
    """What waits for one partition, and the batch that is on its way there: one at a time, which keeps their order."""

    __slots__ = ("on_way", "partition", "room", "topic", "waiting", "waiting_bytes")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[_Delivery] = deque()
        self.waiting_bytes = 0
        self.on_way: Sequence[_Delivery] = ()
        self.room = asyncio.Event()

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more record may wait; a record of any size may wait alone."""
        return not self.waiting or self.waiting_bytes + size_bytes <= BATCH_BYTES

    def take(self) -> _Delivery:
        """The record that waits in front."""
        delivery = self.waiting.popleft()
        self.waiting_bytes -= _size_bytes(delivery.record)
        return delivery

    def put_back(self, deliveries: Sequence[_Delivery]) -> None:
        """Have records wait again, before all others."""
        self.waiting.extendleft(reversed(deliveries))
        self.waiting_bytes += sum(_size_bytes(delivery.record) for delivery in deliveries)

    def fill(self, batch: Any) -> list[_Delivery]:
        """Put what waits into a batch, as far as it goes; a suspect goes alone, so that a refusal is its own."""
        taken: list[_Delivery] = []
        while self.waiting:
            delivery = self.waiting[0]
            if not delivery.done():
                if taken and (delivery.suspect or taken[0].suspect):
                    break
                record = delivery.record
                # No timestamp: the record has the time of now. With an event's own, one of the past would expire at
                # once, and one of the future would be refused, and with it all that comes after.
                added = batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
                if added is None:
                    break
                taken.append(delivery)
            self.take()
        batch.close()
        return taken


class KafkaSink:
    """Writes records to topics, acknowledged by all in-sync replicas; aiokafka's own tries make no duplicates.

    Records wait for a moment for others of their partition, and go as a batch: one at a time for each partition.

    A producer that had one batch refused is of no more use for that partition: the broker goes on waiting for the
    sequence number that it refused. So the sink then starts another producer and hands it, in order, all that was not
    acknowledged; records of refused batches go one by one, so that only the one at fault fails. A record whose
    acknowledgement was lost with the old producer is then written twice.

    Args:
        kafka: The brokers.
        topics: All topics that are written to; they have to exist.
        setting: The setting that names them, for the remedy when one does not exist.
        compression: How batches are compressed.
        stop_seconds: How long the last records may take to be acknowledged when it is stopped.
        guard: While it is shut, nothing is sent to the brokers: what was handed over waits.
        partitioner: Which partition a key goes to, of all there are and those that can be written to; by the hash of
            the key when not given.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Collection[str],
        *,
        setting: str = "output",
        compression: str = "none",
        stop_seconds: float = 2.0,
        guard: Guard | None = None,
        partitioner: Callable[[bytes, Sequence[int], Sequence[int]], int] | None = None,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._setting = setting
        self._compression = compression
        self._stop_seconds = stop_seconds
        self._guard = guard
        self._partitioner: Callable[[Any, Sequence[int], Sequence[int]], int] = partitioner or Partitioner()
        self._limits: dict[str, int] = {}
        self._options: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop
        self._producer: Any = None
        self._partitions: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
        self._outlets: dict[tuple[str, int], _Outlet] = {}
        self._unacknowledged: set[_Delivery] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._broken = False
        self._recalled = False
        self._failure: Stuck | None = None
        self._courier: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        self._loop = asyncio.get_running_loop()
        self._options = client_options(self._kafka)
        self._limits = await topic_limits(
            self._kafka, self._topics, setting=self._setting, close_seconds=self._stop_seconds
        )
        try:
            await self._start_producer()
            for topic in self._topics:
                await self._producer.partitions_for(topic)
            self._look_at_partitions()
        except KafkaError as error:
            await self.stop()
            raise StartError(f"the brokers refuse our producer: {error}", "look at the brokers' logs") from error
        except BaseException:
            await self.stop()
            raise
        self._courier = asyncio.create_task(self._carry(), name="courier")

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        """Hand one record over. The future ends when the broker has acknowledged it on all in-sync replicas.

        It waits while the record's partition has a full batch waiting. When cancelled before it returns, the record is
        not written. The future fails with DeliveryRefused when the broker will never take this record, and with Stuck
        when it takes none of ours. Cancelling it takes the record back, unless it was sent to the broker already.
        """
        all_partitions, available = self._partitions[record.topic]
        partition = self._partitioner(record.key, all_partitions, available)
        outlet = self._outlets.get((record.topic, partition))
        if outlet is None:
            outlet = self._outlets[record.topic, partition] = _Outlet(record.topic, partition)
        delivery = _Delivery(record, outlet, self, self._loop)
        if too_large(record, self._limits, compression=self._compression):
            limit = self._limits[record.topic]
            refused = DeliveryRefused(f"larger than the {limit} bytes that {record.topic} takes", code=TOO_LARGE)
            delivery.set_exception(refused)
            return delivery
        size_bytes = _size_bytes(record)
        while self._failure is None and not outlet.has_room(size_bytes):
            self._due.set()
            outlet.room.clear()
            await outlet.room.wait()
        if self._failure is not None:
            delivery.set_exception(self._failure)
            return delivery
        outlet.waiting.append(delivery)
        outlet.waiting_bytes += size_bytes
        self._unacknowledged.add(delivery)
        self._quiet.clear()
        if self._timer is None:
            self._wait_for_more()
        return delivery

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        self._due.set()
        await self._quiet.wait()

    async def stop(self) -> None:
        """Disconnect, within `stop_seconds` and about two seconds more; what is not acknowledged by then fails."""
        until = asyncio.get_running_loop().time() + self._stop_seconds
        courier, self._courier = self._courier, None
        if courier is not None:
            try:
                async with asyncio.timeout_at(until):
                    await self.flush()
            except TimeoutError:
                pass  # what could not be handed over fails below
            courier.cancel()
            await asyncio.wait({courier})
        if self._timer is not None:
            self._timer.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, max(0.0, until - asyncio.get_running_loop().time()))
        self._fail_all(Stuck("stopped before the broker acknowledged it"))

    def taken_back(self, delivery: _Delivery) -> None:
        """A record that its owner does not want written any more must not stay in the producer's hands."""
        if delivery not in self._unacknowledged:
            return
        self._forget(delivery)
        if delivery in delivery.outlet.on_way:
            self._recalled = True
            self._replace(self._producer, ProducerClosed("a record was taken back"))

    async def _start_producer(self) -> None:
        producer = self._producer = new_producer(
            self._options, limits=self._limits, compression=self._compression, linger_ms=0
        )
        await producer.start()
        if self._guard is not None:
            obey(producer, self._guard)

    def _look_at_partitions(self) -> None:
        """Take note of which partitions there are: a topic may have got more, and a leader may be away."""
        cluster = self._producer.client.cluster
        for topic in self._topics:
            there = cluster.partitions_for_topic(topic)
            if there:
                self._partitions[topic] = sorted(there), sorted(cluster.available_partitions_for_topic(topic) or ())

    # Batches

    def _wait_for_more(self) -> None:
        linger = LEAST_LINGER_SECONDS + LINGER_EACH_SECONDS * len(self._unacknowledged)
        self._timer = self._loop.call_later(min(linger, LINGER_SECONDS), self._lingered)

    def _lingered(self) -> None:
        self._timer = None
        self._due.set()

    async def _carry(self) -> None:
        """Hand over what waits, and start another producer where it is of no more use, until cancelled."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                if self._broken:
                    await self._restart()
                self._look_at_partitions()
                for outlet in list(self._outlets.values()):
                    if outlet.waiting and not outlet.on_way:
                        await self._hand_over(outlet)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait have to hear of it
            self._failure = Stuck(f"no producer could be started: {error!r}")
            self._fail_all(self._failure)

    async def _hand_over(self, outlet: _Outlet) -> None:
        producer = self._producer
        batch = producer.create_batch()
        deliveries = outlet.fill(batch)
        outlet.room.set()
        if not deliveries:
            return
        outlet.on_way = deliveries
        try:
            acknowledged = await producer.send_batch(batch, outlet.topic, partition=outlet.partition)
        except KafkaError as error:
            self._not_taken(outlet, deliveries, producer, error)
        else:
            acknowledged.add_done_callback(partial(self._settle, outlet, deliveries, producer))

    def _settle(
        self, outlet: _Outlet, deliveries: Sequence[_Delivery], producer: Any, acknowledged: asyncio.Future[Any]
    ) -> None:
        """What became of a batch: done, or a reason to start another producer."""
        error = ProducerClosed() if acknowledged.cancelled() else acknowledged.exception()
        if error is not None:
            self._not_taken(outlet, deliveries, producer, error)
            return
        outlet.on_way = ()
        for delivery in deliveries:
            self._end(delivery)
        if outlet.waiting and self._timer is None:
            self._wait_for_more()

    def _not_taken(self, outlet: _Outlet, deliveries: Sequence[_Delivery], producer: Any, error: BaseException) -> None:
        outlet.on_way = ()
        refused = is_refusal(error)
        if refused and deliveries[0].suspect:
            self._end(deliveries[0], _refusal(deliveries[0].record, error))
        else:
            outlet.put_back(deliveries)
            for delivery in deliveries:
                delivery.suspect = delivery.suspect or refused
        if not isinstance(error, KafkaTimeoutError):
            self._replace(producer, error)
        elif self._timer is None:
            self._wait_for_more()  # the brokers are away: wait for them, which is backpressure

    def _end(self, delivery: _Delivery, error: Exception | None = None) -> None:
        self._forget(delivery)
        if delivery.done():
            return
        if error is None:
            delivery.set_result(None)
        else:
            delivery.set_exception(error)
            delivery.exception()  # its owner may be gone already; then nobody needs to hear of it

    def _forget(self, delivery: _Delivery) -> None:
        self._unacknowledged.discard(delivery)
        if not self._unacknowledged:
            self._quiet.set()

    def _fail_all(self, error: Exception) -> None:
        for delivery in list(self._unacknowledged):
            self._end(delivery, error)
        for outlet in self._outlets.values():
            outlet.room.set()

    # Another producer

    def _replace(self, producer: Any, error: BaseException) -> None:
        """Have a producer replaced, unless that is done already."""
        if producer is not self._producer or self._broken:
            return
        self._broken = True
        self._due.set()
        _log.warning("producer_replaced", error=repr(error), unacknowledged=len(self._unacknowledged))

    async def _restart(self) -> None:
        """Close the producer, which lets its other batches end well, and start another, however long that takes."""
        while self._broken:
            if self._recalled:
                self._recalled = False
                await discard_producer(self._producer, self._stop_seconds)
            else:
                await close_producer(self._producer, self._stop_seconds)
            try:
                await self._start_producer()
            except KafkaError as error:
                _log.warning("producer_not_started", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._broken = False


def _size_bytes(record: OutRecord) -> int:
    """What a record is counted as while it waits."""
    return len(record.value or b"") + len(record.key or b"")


def _forbidden(record: OutRecord, error: KafkaError) -> Stuck:
    return Stuck(f"we may not write to {record.topic}: {error}; grant our user Write on the topic")


def _refusal(record: OutRecord, error: BaseException) -> Exception:
    """A record that was refused alone, by a fresh producer."""
    if isinstance(error, FORBIDDEN):
        return _forbidden(record, error)
    code = TOO_LARGE if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)) else None
    return DeliveryRefused(f"{record.topic} refuses it: {error!r}", code=code)
