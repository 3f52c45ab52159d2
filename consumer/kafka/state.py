"""The state topic: a compacted topic that every process of a group reads from its beginning, behind `StateLog`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from consumer.errors import StartError, Stuck
from consumer.kafka.connection import FORBIDDEN, client_options, close_within, connect
from consumer.kafka.sink import KafkaSink
from consumer.kafka.state_topic import made, name_for
from consumer.moderation.tasks.records import is_note
from consumer.moderation.tasks.state import StateRecord
from consumer.record import OutRecord


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.settings.models import Kafka, State


__all__ = ["KafkaStateLog", "partition_of"]


_log = structlog.get_logger(__name__)

READ_MS: Final = 500
RETRY_SECONDS: Final = 0.5

# Bites that are applied without holding up the event loop for long.
PARTITION_FETCH_BYTES: Final = 256 * 1024
FETCH_BYTES: Final = 8 * 1024 * 1024

# A broker answers one request of a connection after the other: a question for the end waits for the fetch before it.
FETCH_WAIT_MS: Final = 100

# How long one question for the ends may take, how often it is asked for its own sake, and how long a client may stand
# still before such an end until it is replaced: some outages leave one behind that never goes on.
ASK_SECONDS: Final = 5.0
ASK_EVERY_SECONDS: Final = 30.0
STALL_SECONDS: Final = 10.0

# How often it is said that the brokers do not answer.
SAY_SECONDS: Final = 5.0

# For how long a topic that was just made may be unknown to some brokers.
MADE_SECONDS: Final = 10.0

_by_hash = DefaultPartitioner()


class KafkaStateLog:
    """The state topic of one group: written by an idempotent producer of its own, read without a group.

    Nothing of it is in a transaction, and it is read uncommitted, so that no transaction of others can hide its end.

    Args:
        kafka: The brokers, and the group whose state it is.
        state: The topic's name, and how it is made.
        stop_seconds: How long the last records may take to be acknowledged when it is stopped.
    """

    def __init__(self, kafka: Kafka, state: State, *, stop_seconds: float = 2.0) -> None:
        self.topic = state.topic or name_for(kafka.group_id)
        self._kafka = kafka
        self._state = state
        self._stop_seconds = stop_seconds
        self._sink = KafkaSink(
            kafka, {self.topic}, setting="state.topic", stop_seconds=stop_seconds, partitioner=partition_of
        )
        self._partitions: list[TopicPartition] = []
        self._consumer: Any = None
        self._positions: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._asked_at = 0.0
        self._moved_at = 0.0
        self._lost = False

    async def start(self) -> None:
        """Connect, and make the topic if it is not there. Wrong settings of one that is there are only logged.

        Raises:
            StartError: the brokers cannot be reached, refuse us, or do not let us make the topic.
        """
        try:
            admin = await connect(self._kafka)
            try:
                count = await made(admin, self.topic, self._kafka, self._state)
            finally:
                await close_within(self._stop_seconds, admin.close(), admin._client)  # noqa: SLF001  # its connections
            self._partitions = [TopicPartition(self.topic, number) for number in range(count)]
            await self._start_sink()
            try:
                await self._open()
            except (KafkaError, TimeoutError) as error:
                raise StartError(
                    f"the state topic {self.topic} cannot be read: {error!r}",
                    "grant our user Read on it, and look at the brokers' logs",
                ) from error
        except BaseException:
            await self.stop()
            raise

    async def append(self, key: bytes, value: bytes | None) -> asyncio.Future[None]:
        """Hand one record over; None deletes the key. The future ends when all in-sync replicas have acknowledged it.

        It waits while the partition's leader is away. When cancelled before it returns, the record is not written. The
        future fails with DeliveryRefused when the broker will never take this record, and with Stuck when none of ours.
        """
        record = OutRecord(self.topic, key, value)  # type: ignore[arg-type]  # only this topic has tombstones
        return await self._sink.send(record)

    async def read(self) -> Sequence[StateRecord]:
        """The next records, from the beginning of the topic on; none after half a second without any.

        It goes on through outages. When cancelled, what it had just read is not read again.

        Raises:
            Stuck: we may not read the topic.
        """
        try:
            if self._consumer is None:
                await self._open()
            await self._see_that_it_goes_on()
            batches = await self._consumer.getmany(timeout_ms=READ_MS)
        except FORBIDDEN as error:
            raise Stuck(f"we may not read the state topic {self.topic}: {error}") from error
        except (KafkaError, TimeoutError) as error:
            if not self._lost:
                _log.warning("state_not_read", topic=self.topic, error=repr(error))
            self._lost = True
            await self._close()
            await asyncio.sleep(RETRY_SECONDS)
            return []
        await self._note_positions(batches)
        return [self._taken(record) for records in batches.values() for record in records]

    def positions(self) -> Mapping[int, int]:
        """Up to where each partition was read: past what `read` has returned, and past what is no record."""
        return dict(self._positions)

    async def ends(self) -> Mapping[int, int]:
        """Where each partition ends, asked of the brokers now, for as long as they do not answer.

        Raises:
            Stuck: we may not ask.
        """
        said_at: float | None = None
        while True:
            try:
                return await self._ask()
            except FORBIDDEN as error:
                raise Stuck(f"we may not read the state topic {self.topic}: {error}") from error
            except (KafkaError, TimeoutError) as error:
                now = time.monotonic()
                if said_at is None or now - said_at >= SAY_SECONDS:
                    said_at = now
                    _log.warning("state_end_not_told", topic=self.topic, error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Disconnect, within `stop_seconds` and about two seconds more."""
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(self._sink.stop())
            stopping.create_task(self._close())

    async def _start_sink(self) -> None:
        """Start the producer, also while some brokers have not heard yet of a topic just made."""
        deadline = time.monotonic() + MADE_SECONDS
        while True:
            try:
                await self._sink.start()
            except StartError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _open(self) -> None:
        """Start a consumer where the last one was, or at the beginning."""
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await consumer.start()
            consumer.assign(self._partitions)
            if not self._positions:
                starts = await consumer.beginning_offsets(self._partitions)
                self._positions = {partition.partition: offset for partition, offset in starts.items()}
                self._next = dict(self._positions)
            for partition in self._partitions:
                consumer.seek(partition, self._positions[partition.partition])
        except BaseException:
            await self._end(consumer)
            raise
        # Only now: who asks for the ends meanwhile has to wait.
        self._consumer = consumer
        self._moved_at = time.monotonic()
        if self._lost:
            self._lost = False
            _log.info("state_read_again", topic=self.topic)

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await self._end(consumer)

    async def _end(self, consumer: Any) -> None:
        await close_within(self._stop_seconds, consumer.stop(), consumer._client)  # noqa: SLF001  # its connections

    async def _see_that_it_goes_on(self) -> None:
        """Raise TimeoutError when there is more to read, and nothing comes."""
        now = time.monotonic()
        if now - self._asked_at > ASK_EVERY_SECONDS:
            await self._ask()
        if not any(self._positions[number] < end for number, end in self._ends.items()):
            self._moved_at = now
        if now - self._moved_at > STALL_SECONDS:
            raise TimeoutError(f"nothing came for {STALL_SECONDS:.0f} s")

    async def _note_positions(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        before = dict(self._positions)
        for partition, records in batches.items():
            self._positions[partition.partition] = records[-1].offset + 1
        # The consumer's own is past what is no record, too. It waits where retention has just overtaken us.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(RETRY_SECONDS):
                for partition in self._partitions:
                    self._positions[partition.partition] = await self._consumer.position(partition)
        if self._positions != before:
            self._moved_at = time.monotonic()

    def _taken(self, record: Any) -> StateRecord:
        # The position is no measure of what is missing: it moves on past what is not there.
        expected = self._next[record.partition]
        self._next[record.partition] = record.offset + 1
        return StateRecord(record.key, record.value, record.timestamp / 1000, record.offset != expected)

    async def _ask(self) -> Mapping[int, int]:
        if self._consumer is None:
            raise TimeoutError("not connected")
        async with asyncio.timeout(ASK_SECONDS):
            ends = await self._consumer.end_offsets(self._partitions)
        self._asked_at = time.monotonic()
        self._ends = {partition.partition: end for partition, end in ends.items()}
        return self._ends


def partition_of(key: bytes, partitions: Sequence[int], available: Sequence[int]) -> int:
    """Where a record goes: notes into the first partition, whatever their number, all else by the hash of its key."""
    if is_note(key):
        return min(partitions)
    found: int = _by_hash(key, partitions, available)
    return found
