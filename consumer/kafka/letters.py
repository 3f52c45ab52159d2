"""Reading the topic of dead letters, and writing what is in them to be moderated once more."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError, RecordListTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from consumer.errors import DeliveryRefused, StartError, Stuck
from consumer.kafka.connection import FORBIDDEN, close_within, connect, options_to_start, require_topics
from consumer.kafka.producers import close_producer, is_refusal, new_producer
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from consumer.engine.letters import Letter
    from consumer.kafka.replay_progress import ReplayProgress
    from consumer.settings.models import Kafka


__all__ = ["LetterReader", "Replayer"]


# What is held of each partition at a time; a larger letter comes alone.
PARTITION_FETCH_BYTES = 256 * 1024

FETCH_WAIT_SECONDS = 0.5
STOP_SECONDS = 2.0


class LetterReader:
    """Reads a topic of dead letters as far as it went when it was opened; what was not committed is not seen.

    It belongs to no group and moves no offsets.

    Args:
        kafka: The brokers.
        topic: The topic of dead letters.

    Attributes:
        topic: The topic of dead letters.
        admin: What asks the brokers while it is open.
    """

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._consumer: Any = None
        self.admin: Any = None
        self._partitions: Mapping[str, list[int]] = {}
        self.topic = topic

        self.begins: Mapping[int, int] = {}
        """The first offset that each partition still has."""

        self.ends: Mapping[int, int] = {}
        """The offset behind the last letter of each partition, as it was at the start."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StartError: the broker cannot be reached, refuses us, or there is no such topic.
        """
        try:
            await self._start()
        except KafkaError as error:
            await self._stop()
            raise StartError(
                f"{self.topic} cannot be read: {error!r}", "grant our user Read on it, or look at the brokers' logs"
            ) from error
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect, within a bounded time."""
        await self._stop()

    def partitions_of(self, topic: str) -> list[int]:
        """The partitions of any topic of the cluster at the start; none of one that is missing or hidden from us."""
        return self._partitions.get(topic, [])

    async def records(self, starts: Mapping[int, int] | None = None) -> AsyncGenerator[Record, None]:
        """All letters from `starts` on, or all there are: in the order of each partition, and by time among them.

        When cancelled it ends at once; the reader is then of no more use.

        Raises:
            Stuck: the brokers give nothing for as long as a request may take, or letters were deleted meanwhile.
        """
        starts = self.begins if starts is None else starts
        self._seek(starts)
        waiting: dict[int, deque[Record]] = {partition: deque() for partition in starts}
        while waiting:
            hungry = [partition for partition, records in waiting.items() if not records]
            if hungry:
                for partition, records in (await self._fetched(hungry)).items():
                    if records is None:
                        del waiting[partition]
                    else:
                        waiting[partition].extend(records)
                continue
            yield min(waiting.values(), key=lambda records: records[0].timestamp).popleft()

    async def read(self, partition: int, offset: int) -> Record | None:
        """The record at an offset; None where there is none, or none any more.

        When cancelled it ends at once; the reader is then of no more use.

        Raises:
            Stuck: the brokers give nothing for as long as a request may take.
        """
        if not self.begins.get(partition, 0) <= offset < self.ends.get(partition, 0):
            return None
        self._seek({partition: offset})
        while True:
            records = (await self._fetched([partition]))[partition]
            if records is None:
                return None
            if records:
                return records[0] if records[0].offset == offset else None

    async def _start(self) -> None:
        options = await options_to_start(self._kafka)
        self.admin = await connect(self._kafka, options)
        await require_topics(self.admin, [self.topic], setting="output.dead_letters", right="Read")
        self._consumer = AIOKafkaConsumer(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        )
        await self._consumer.start()
        self._partitions = {
            topic["topic"]: sorted(each["partition"] for each in topic["partitions"])
            for topic in await self.admin.describe_topics()
        }
        partitions = [TopicPartition(self.topic, each) for each in self.partitions_of(self.topic)]
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        self.begins = {each.partition: begins[each] for each in partitions}
        self.ends = {each.partition: ends[each] for each in partitions}
        self._seek(self.begins)

    def _seek(self, starts: Mapping[int, int]) -> None:
        """Read these partitions from there on, and no others; nothing may look for their positions in between."""
        self._consumer.assign([TopicPartition(self.topic, partition) for partition in starts])
        for partition, start in starts.items():
            self._consumer.seek(TopicPartition(self.topic, partition), start)

    async def _stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self.admin = self.admin, None
        if consumer is not None:
            await close_within(STOP_SECONDS, consumer.stop(), consumer._client)  # noqa: SLF001  # its connections
        if admin is not None:
            await close_within(STOP_SECONDS, admin.close(), admin._client)  # noqa: SLF001  # as above

    async def _fetched(self, partitions: list[int]) -> dict[int, list[Record] | None]:
        """The next letters of at least one of these partitions; None for one that has been read to its end."""
        asked = [TopicPartition(self.topic, each) for each in partitions]
        seconds = self._kafka.request_timeout_seconds
        reached: dict[int, int] = {}
        while True:
            # The consumer's own positions, since it also passes over transaction markers, which are no records.
            positions = {each.partition: await self._consumer.position(each) for each in asked}
            ended = [partition for partition, position in positions.items() if position >= self.ends[partition]]
            if ended:
                return dict.fromkeys(ended)
            if positions != reached:
                reached, deadline = positions, time.monotonic() + seconds
            try:
                batches = await self._consumer.getmany(*asked, timeout_ms=round(FETCH_WAIT_SECONDS * 1000))
            except OffsetOutOfRangeError as error:
                raise Stuck(
                    f"letters of {self.topic} were deleted while they were read; run it again, or have the topic keep "
                    "them for longer"
                ) from error
            except KafkaError as error:
                raise Stuck(f"{self.topic} cannot be read: {error!r}") from error
            if batches:
                return {
                    at.partition: [_record(each) for each in batch if each.offset < self.ends[at.partition]]
                    for at, batch in batches.items()
                }
            if time.monotonic() >= deadline:
                raise Stuck(
                    f"the brokers gave nothing of {self.topic} for {seconds:.0f} s; try again when they are well"
                )


class Replayer:
    """Writes the originals of dead letters, and records how far it is.

    It is told of every letter in turn: `write`, or `passed` for one that is not replayed. Each letter that was written
    is committed at once, with those passed over before it.

    Args:
        kafka: The brokers.
        reader: Reads the letters; it stays open for longer than this.
        progress: Where it is recorded how far this is.
        compression: How what is written is compressed.
    """

    def __init__(
        self, kafka: Kafka, reader: LetterReader, progress: ReplayProgress, *, compression: str = "none"
    ) -> None:
        self._kafka = kafka
        self._reader = reader
        self._progress = progress
        self._compression = compression
        self._partitioner = DefaultPartitioner()
        self._producer: Any = None
        self._done: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StartError: the brokers refuse our producer.
        """
        try:
            await self._start_producer()
        except KafkaError as error:
            await self._stop_producer()
            raise StartError(f"the brokers refuse our producer: {error!r}", "look at the brokers' logs") from error
        except BaseException:
            await self._stop_producer()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect, within a bounded time."""
        await self._stop_producer()

    def passed(self, letter: Record) -> None:
        """Say that a letter is passed over; it is recorded with the next `write` or `commit`."""
        self._done[letter.partition.partition] = letter.offset + 1

    async def write(self, letter: Letter, to: str | None = None) -> None:
        """Write the original of a letter, and record that; when this returns, both are acknowledged.

        It goes to the topic and partition that it came from, or to the topic `to`, spread by its key. When cancelled,
        it may have been written without being recorded.

        Raises:
            DeliveryRefused: the broker will never take it; the letter counts as passed over.
            Stuck: nothing more can be written, or another replay of the group has begun.
        """
        await self._progress.require_ours(letter.record.partition.partition)
        topic = to or letter.origin.topic
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=letter.record.key, value=letter.value, headers=list(letter.replayed_headers))
        try:
            acknowledged = await self._producer.send_batch(batch, topic, partition=self._partition(letter, topic))
            await acknowledged
        except FORBIDDEN as error:
            raise Stuck(f"we may not write to {topic}: grant our user Write on it, then run it again") from error
        except KafkaError as error:
            if not is_refusal(error):
                raise Stuck(
                    f"{topic} did not acknowledge the original of {letter.place} ({error!r}); run it again when the "
                    "brokers are well: it goes on with this letter, which may then be written twice"
                ) from error
            await self._replace_producer()
            self.passed(letter.record)
            raise _refusal(topic, error) from error
        self.passed(letter.record)
        await self.commit()

    async def commit(self) -> None:
        """Record how far the replay is.

        Raises:
            Stuck: it is not known to be recorded.
        """
        if self._done:
            await self._progress.commit(self._done)
            self._done.clear()

    def _partition(self, letter: Letter, topic: str) -> int:
        """Where the original goes: where it was, since only its producer knows how that spreads keys."""
        partitions = self._reader.partitions_of(topic)
        if topic == letter.origin.topic and letter.origin.partition in partitions:
            return letter.origin.partition
        return int(self._partitioner(letter.record.key, partitions, partitions))

    async def _start_producer(self) -> None:
        self._producer = new_producer(
            await options_to_start(self._kafka), limits={}, compression=self._compression, linger_ms=0
        )
        await self._producer.start()

    async def _replace_producer(self) -> None:
        """A producer that had a batch refused is of no more use for that partition."""
        await self._stop_producer()
        try:
            await self._start_producer()
        except KafkaError as error:
            raise Stuck(f"no other producer can be started: {error!r}; try again when the brokers are well") from error

    async def _stop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, STOP_SECONDS)


def _refusal(topic: str, error: KafkaError) -> DeliveryRefused:
    if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
        return DeliveryRefused(f"larger than {topic} takes: raise its max.message.bytes", code="too_large")
    return DeliveryRefused(f"{topic} refuses it: {error!r}")


def _record(raw: Any) -> Record:
    return Record(Partition(raw.topic, raw.partition), raw.offset, raw.timestamp, raw.key, raw.value, raw.headers)
