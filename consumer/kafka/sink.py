"""Writing records: batches for an idempotent producer behind the engine's `Sink`, on aiokafka."""

from __future__ import annotations

import asyncio
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
from consumer.kafka.outlets import Delivery, Outlets
from consumer.kafka.producers import (
    Partitioner,
    close_producer,
    discard_producer,
    is_refusal,
    is_unclear,
    new_producer,
    obey,
    too_large,
    topic_limits,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.kafka.outlets import Outlet
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

# So long the metadata of a broker may lag behind what others know; then a partition that it lacks is gone.
GONE_SECONDS = 10.0
# So often a record is tried alone, RETRY_SECONDS apart, before a refusal without a reason counts as its own.
UNCLEAR_TRIES = 5

# A dead letter's code for it.
TOO_LARGE = "too_large"


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
        self._outlets = Outlets(topics, partitioner or Partitioner())
        self._limits: dict[str, int] = {}
        self._options: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop
        self._producer: Any = None
        self._unacknowledged: set[Delivery] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._asked_at = self._started_at = float("-inf")
        self._broken = False
        self._in_haste = False
        self._recalled = False
        self._closing: asyncio.Timeout | None = None
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
            self._outlets.look(self._producer.client.cluster)
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
        outlet = self._outlets.of(record)
        delivery = Delivery(record, outlet, self, self._loop)
        if too_large(record, self._limits, compression=self._compression):
            limit = self._limits[record.topic]
            refused = DeliveryRefused(f"larger than the {limit} bytes that {record.topic} takes", code=TOO_LARGE)
            delivery.set_exception(refused)
            return delivery
        while self._failure is None and not outlet.has_room(delivery.size_bytes):
            self._due.set()
            outlet.room.clear()
            await outlet.room.wait()
            # Its partition may be another one by now.
            outlet = delivery.outlet = self._outlets.of(record)
        if self._failure is not None:
            delivery.set_exception(self._failure)
            return delivery
        outlet.put(delivery)
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
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, max(0.0, until - asyncio.get_running_loop().time()))
        self._fail_all(Stuck("stopped before the broker acknowledged it"))

    def taken_back(self, delivery: Delivery) -> None:
        """A record that its owner does not want written any more must not stay in the producer's hands."""
        if delivery not in self._unacknowledged:
            return
        self._forget(delivery)
        if delivery in delivery.outlet.on_way:
            if self._closing is not None and not self._recalled:
                self._closing.reschedule(self._loop.time())
            self._recalled = True
            self._replace(self._producer, ProducerClosed("a record was taken back"))

    async def _start_producer(self) -> None:
        producer = self._producer = new_producer(
            self._options, limits=self._limits, compression=self._compression, linger_ms=0
        )
        self._started_at = self._loop.time()
        await producer.start()
        if self._guard is not None:
            obey(producer, self._guard)
        # Of all topics at once, so that none that is missing has the others wait.
        await producer.client.set_topics(self._topics)

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
                self._outlets.look(self._producer.client.cluster)
                for outlet in self._outlets.all():
                    if not outlet.waiting or outlet.on_way:
                        continue
                    if self._outlets.is_there(outlet):
                        outlet.away_since = None
                        await self._hand_over(outlet)
                    else:
                        self._look_for(outlet)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait have to hear of it
            self._failure = error if isinstance(error, Stuck) else Stuck(f"writing has failed: {error!r}")
            self._fail_all(self._failure)

    def _look_for(self, outlet: Outlet) -> None:
        """The brokers know nothing of a partition: it or its topic is gone, or one of them has not heard of it yet."""
        now = self._loop.time()
        if outlet.away_since is None:
            outlet.away_since = now
            _log.warning("partition_away", topic=outlet.topic, partition=outlet.partition, waiting=len(outlet.waiting))
        elif self._outlets.is_topic_there(outlet) and now - outlet.away_since >= GONE_SECONDS:
            _log.warning("partition_gone", topic=outlet.topic, partition=outlet.partition, moved=len(outlet.waiting))
            self._outlets.move(outlet)
            self._due.set()
            return
        if now - self._asked_at >= RETRY_SECONDS:
            self._asked_at = now
            self._producer.client.force_metadata_update()
        if self._later is None:
            self._later = self._loop.call_later(RETRY_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._later = None
        self._due.set()

    async def _hand_over(self, outlet: Outlet) -> None:
        producer = self._producer
        batch = producer.create_batch()
        deliveries = outlet.fill(batch)
        outlet.room.set()
        if not deliveries:
            return
        outlet.on_way = deliveries
        try:
            acknowledged = await producer.send_batch(batch, outlet.topic, partition=outlet.partition)
        except (KafkaError, AssertionError) as error:
            # The last is aiokafka's own: it asserts that the partition is still there.
            self._not_taken(outlet, deliveries, producer, error)
        else:
            acknowledged.add_done_callback(partial(self._settle, outlet, deliveries, producer))

    def _settle(
        self, outlet: Outlet, deliveries: Sequence[Delivery], producer: Any, acknowledged: asyncio.Future[Any]
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

    def _not_taken(self, outlet: Outlet, deliveries: Sequence[Delivery], producer: Any, error: BaseException) -> None:
        outlet.on_way = ()
        refused, first = is_refusal(error), deliveries[0]
        if refused and first.suspect and (first.in_vain >= UNCLEAR_TRIES or not is_unclear(error)):
            self._end(first, _refusal(first.record, error))
        else:
            if refused and first.suspect:
                first.in_vain += 1
            outlet.put_back(deliveries)
            for delivery in deliveries:
                delivery.suspect = delivery.suspect or refused
        if not isinstance(error, KafkaTimeoutError):
            self._replace(producer, error)
        elif self._timer is None:
            self._wait_for_more()  # the brokers are away: wait for them, which is backpressure

    def _end(self, delivery: Delivery, error: Exception | None = None) -> None:
        if delivery.done():
            pass
        elif error is None:
            delivery.set_result(None)
        else:
            delivery.set_exception(error)
            delivery.exception()  # its owner may be gone already; then nobody needs to hear of it
        # At last, so that who waits for a flush comes after those who wait for their records.
        self._forget(delivery)

    def _forget(self, delivery: Delivery) -> None:
        self._unacknowledged.discard(delivery)
        if not self._unacknowledged:
            self._quiet.set()

    def _fail_all(self, error: Exception) -> None:
        for delivery in list(self._unacknowledged):
            self._end(delivery, error)
        for outlet in self._outlets.all():
            outlet.room.set()

    # Another producer

    def _replace(self, producer: Any, error: BaseException) -> None:
        """Have a producer replaced, unless that is done already."""
        if producer is not self._producer or self._broken:
            return
        self._broken = True
        self._in_haste = is_refusal(error) and not is_unclear(error)
        self._due.set()
        _log.warning("producer_replaced", error=repr(error), unacknowledged=len(self._unacknowledged))

    async def _restart(self) -> None:
        """Close the producer and start another, however long that takes; without haste where it may happen again soon.

        Raises:
            Stuck: something is wrong that time does not mend.
        """
        while self._broken:
            await self._let_go()
            if not self._in_haste:
                await asyncio.sleep(max(0.0, self._started_at + RETRY_SECONDS - self._loop.time()))
            try:
                await self._start_producer()
            except KafkaError as error:
                _log.warning("producer_not_started", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                raise Stuck(f"no producer could be started: {error!r}") from error
            else:
                self._broken = self._recalled = False

    async def _let_go(self) -> None:
        """Close the producer, which lets its other batches end well, unless one of their records is taken back."""
        if not self._recalled:
            try:
                async with asyncio.timeout(None) as self._closing:
                    await close_producer(self._producer, self._stop_seconds)
            except TimeoutError:
                pass  # one was meanwhile
            finally:
                self._closing = None
        if self._recalled:
            self._recalled = False
            await discard_producer(self._producer, self._stop_seconds)


def _forbidden(record: OutRecord, error: KafkaError) -> Stuck:
    return Stuck(f"we may not write to {record.topic}: {error}; grant our user Write on the topic")


def _refusal(record: OutRecord, error: BaseException) -> Exception:
    """A record that was refused alone, by a fresh producer."""
    if isinstance(error, FORBIDDEN):
        return _forbidden(record, error)
    code = TOO_LARGE if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)) else None
    return DeliveryRefused(f"{record.topic} refuses it: {error!r}", code=code)
