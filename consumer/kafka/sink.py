"""Writing records: an idempotent producer behind the engine's `Sink`, on aiokafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
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
    close_producer,
    discard_producer,
    hand_over,
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

# A dead letter's code for it.
TOO_LARGE = "too_large"


@dataclass(slots=True, eq=False)
class _Unacknowledged:
    """A record on its way: the producer that has it in hand, if any, and whether a batch with it in was refused."""

    record: OutRecord
    future: asyncio.Future[None]
    producer: Any = None
    suspect: bool = False


class KafkaSink:
    """Writes records to topics, acknowledged by all in-sync replicas; aiokafka's own tries make no duplicates.

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
        self._more: dict[str, Any] = {} if partitioner is None else {"partitioner": partitioner}
        self._limits: dict[str, int] = {}
        self._options: dict[str, Any] = {}
        self._producer: Any = None
        self._unacknowledged: dict[_Unacknowledged, None] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._usable = asyncio.Event()
        self._broken = False
        self._recalled = False
        self._failure: Stuck | None = None
        self._replacing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        self._options = client_options(self._kafka)
        self._limits = await topic_limits(
            self._kafka, self._topics, setting=self._setting, close_seconds=self._stop_seconds
        )
        try:
            await self._start_producer()
        except KafkaError as error:
            await self.stop()
            raise StartError(f"the brokers refuse our producer: {error}", "look at the brokers' logs") from error
        except BaseException:
            await self.stop()
            raise
        self._usable.set()

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        """Hand one record over. The future ends when the broker has acknowledged it on all in-sync replicas.

        It waits while the record's partition has a full batch waiting. When cancelled before it returns, the record is
        not written. The future fails with DeliveryRefused when the broker will never take this record, and with Stuck
        when it takes none of ours. Cancelling it takes the record back, unless it was sent to the broker already.
        """
        entry = _Unacknowledged(record, asyncio.get_running_loop().create_future())
        if too_large(record, self._limits, compression=self._compression):
            entry.future.set_exception(
                DeliveryRefused(
                    f"larger than the {self._limits[record.topic]} bytes that {record.topic} takes",
                    code=TOO_LARGE,
                )
            )
            return entry.future
        while True:
            if not self._usable.is_set():
                await self._usable.wait()
            if self._failure is not None:
                entry.future.set_exception(self._failure)
                return entry.future
            producer = self._producer
            try:
                acknowledged = await hand_over(producer, record)
            except KafkaTimeoutError:
                continue  # the partition's leader is away: wait for it, which is backpressure
            except FORBIDDEN as error:
                entry.future.set_exception(_forbidden(record, error))
                return entry.future
            except KafkaError as error:
                self._replace(producer, error)
                continue
            self._unacknowledged[entry] = None
            self._quiet.clear()
            entry.future.add_done_callback(partial(self._take_back, entry))
            self._follow(entry, producer, acknowledged)
            return entry.future

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        await self._quiet.wait()

    async def stop(self) -> None:
        """Disconnect, within `stop_seconds` and about two seconds more; what is not acknowledged by then fails."""
        self._usable.clear()
        replacing, self._replacing = self._replacing, None
        if replacing is not None:
            replacing.cancel()
            await asyncio.wait({replacing})
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, self._stop_seconds)
        self._fail_all(Stuck("stopped before the broker acknowledged it"))

    async def _start_producer(self) -> None:
        self._producer = new_producer(self._options, limits=self._limits, compression=self._compression, **self._more)
        await self._producer.start()
        if self._guard is not None:
            obey(self._producer, self._guard)

    def _take_back(self, entry: _Unacknowledged, future: asyncio.Future[None]) -> None:
        """A record that its owner does not want written any more must not stay in the producer's hands."""
        if not future.cancelled() or entry not in self._unacknowledged:
            return
        self._end(entry)
        if entry.producer is not None:
            self._recalled = True
            self._replace(entry.producer, ProducerClosed("a record was taken back"))

    def _follow(self, entry: _Unacknowledged, producer: Any, acknowledged: asyncio.Future[Any]) -> None:
        entry.producer = producer
        acknowledged.add_done_callback(partial(self._settle, entry, producer))

    def _settle(self, entry: _Unacknowledged, producer: Any, acknowledged: asyncio.Future[Any]) -> None:
        """What became of a record: done, or a reason to start another producer."""
        error = ProducerClosed() if acknowledged.cancelled() else acknowledged.exception()
        if error is None:
            self._end(entry)
        elif entry in self._unacknowledged and entry.producer is producer:
            entry.producer = None
            entry.suspect = entry.suspect or is_refusal(error)
            self._replace(producer, error)

    def _end(self, entry: _Unacknowledged, error: Exception | None = None) -> None:
        self._unacknowledged.pop(entry, None)
        if not self._unacknowledged:
            self._quiet.set()
        if entry.future.done():
            return
        if error is None:
            entry.future.set_result(None)
        else:
            entry.future.set_exception(error)
            entry.future.exception()  # its owner may be gone already; then nobody needs to hear of it

    def _fail_all(self, error: Exception) -> None:
        for entry in list(self._unacknowledged):
            self._end(entry, error)

    def _replace(self, producer: Any, error: BaseException) -> None:
        """Have a producer replaced, unless that is done already."""
        if producer is not self._producer or self._broken:
            return
        self._broken = True
        self._usable.clear()
        _log.warning("producer_replaced", error=repr(error), unacknowledged=len(self._unacknowledged))
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        """Start another producer, send again what was not acknowledged, and only then let new records pass."""
        try:
            while True:
                if self._broken:
                    await self._restart()
                stranded = (entry for entry in self._unacknowledged if entry.producer is not self._producer)
                entry = next(stranded, None)
                if entry is None:
                    break
                await self._send_again(entry)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait have to hear of it
            self._failure = Stuck(f"no producer could be started: {error!r}")
            self._fail_all(self._failure)
        self._usable.set()

    async def _send_again(self, entry: _Unacknowledged) -> None:
        """Send a record once more; a suspect alone, so that a refusal is its own."""
        producer = self._producer
        if entry.suspect:
            await producer.flush()
            if self._broken:
                return
        try:
            acknowledged = await hand_over(producer, entry.record)
            if not entry.suspect:
                self._follow(entry, producer, acknowledged)
                return
            await acknowledged
        except KafkaTimeoutError:
            return
        except KafkaError as error:
            self._broken = True
            if is_refusal(error):
                self._end(entry, _refusal(entry.record, error))
        else:
            self._end(entry)

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


def _forbidden(record: OutRecord, error: KafkaError) -> Stuck:
    return Stuck(f"we may not write to {record.topic}: {error}; grant our user Write on the topic")


def _refusal(record: OutRecord, error: KafkaError) -> Exception:
    """A record that was refused alone, by a fresh producer."""
    if isinstance(error, FORBIDDEN):
        return _forbidden(record, error)
    code = TOO_LARGE if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)) else None
    return DeliveryRefused(f"{record.topic} refuses it: {error!r}", code=code)
