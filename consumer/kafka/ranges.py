"""Reading parts of topics without joining a group: between offsets, or between times."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from consumer.errors import StartError, Stuck
from consumer.kafka.connection import close_within, connect, options_to_start, require_topics
from consumer.kafka.list_offsets import EARLIEST, LATEST, list_offsets
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from consumer.settings.models import Kafka


__all__ = ["RangeReader", "Ranges"]


Ranges = dict[Partition, tuple[int, int]]
"""Of each partition, the offset to begin at and the one to end before."""

_FETCH_BYTES = 1_048_576
_FETCH_WAIT_MS = 500
_RETRY_SECONDS = 0.2
_STOP_SECONDS = 2.0


class RangeReader:
    """Reads what is committed of some topics. It belongs to no group, and commits and moves nothing.

    Args:
        kafka: The brokers, and the topics.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._consumer: Any = None
        self._partitions: Sequence[Partition] = ()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StartError: the brokers cannot be reached, refuse us, or a topic is missing.
        """
        topics = self._kafka.topics
        try:
            options = await options_to_start(self._kafka)
            admin = await connect(self._kafka, options)
            try:
                await require_topics(admin, topics, setting="kafka.topics", right="Read")
                self._partitions = [
                    Partition(topic["topic"], each["partition"])
                    for topic in await admin.describe_topics(list(topics))
                    for each in topic["partitions"]
                ]
            finally:
                await close_within(_STOP_SECONDS, admin.close(), admin._client)  # noqa: SLF001  # its connections
            self._consumer = AIOKafkaConsumer(
                **options,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_partition_fetch_bytes=_FETCH_BYTES,
            )
            await self._consumer.start()
            # It looks for the leaders of what it is to read, and of nothing else.
            self._consumer.assign([TopicPartition(*partition) for partition in self._partitions])
        except KafkaError as error:
            await self._stop()
            raise StartError(
                f"{', '.join(topics)} cannot be read: {error!r}",
                "grant our user Read on the topics, or look at the brokers' logs",
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

    async def between(self, since: int | None = None, until: int | None = None) -> Ranges:
        """Where the records of a time lie in each partition that has any.

        Args:
            since: From when on, in milliseconds since the epoch; from the first one there is when None.
            until: Before when; up to the last one that there is now when None.

        Raises:
            Stuck: the brokers do not tell for as long as a request may take.
        """
        ends = await self._offsets(LATEST)
        begins = await self._offsets(EARLIEST)
        starts = begins if since is None else await self._offsets(since)
        stops = ends if until is None else await self._offsets(until)
        ranges = {}
        for partition in self._partitions:
            start, stop = (ends[partition] if one[partition] < 0 else one[partition] for one in (starts, stops))
            if max(start, begins[partition]) < min(stop, ends[partition]):
                ranges[partition] = max(start, begins[partition]), min(stop, ends[partition])
        return ranges

    async def records(self, ranges: Ranges) -> AsyncGenerator[Record, None]:
        """All records of these parts, in the order of each partition.

        When cancelled it ends at once; the reader is then of no more use.

        Raises:
            Stuck: the brokers give nothing for as long as a request may take, or records were deleted meanwhile.
        """
        if not ranges:
            return
        left = {TopicPartition(*partition): stop for partition, (_, stop) in ranges.items()}
        self._consumer.assign(list(left))
        for partition, (start, _) in ranges.items():
            self._consumer.seek(TopicPartition(*partition), start)
        reached: Mapping[TopicPartition, int] = {}
        while True:
            # The consumer's own positions, since it also passes over transaction markers, which are no records.
            positions = {at: await self._consumer.position(at) for at in left}
            for at, position in positions.items():
                if position >= left[at]:
                    del left[at]
            if not left:
                break
            if positions != reached:
                reached, deadline = positions, time.monotonic() + self._kafka.request_timeout_seconds
            if time.monotonic() >= deadline:
                raise Stuck("the brokers give nothing; try again when they are well")
            for at, batch in (await self._fetched(list(left))).items():
                for raw in batch:
                    if raw.offset < left[at]:
                        partition = Partition(raw.topic, raw.partition)
                        yield Record(partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers)

    async def _fetched(self, left: Sequence[TopicPartition]) -> Mapping[TopicPartition, Sequence[Any]]:
        try:
            found: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                *left, timeout_ms=_FETCH_WAIT_MS
            )
        except OffsetOutOfRangeError as error:
            raise Stuck("records were deleted before they could be read; begin later, with --from") from error
        except KafkaError as error:
            raise Stuck(f"{', '.join(self._kafka.topics)} cannot be read: {error!r}") from error
        return found

    async def _offsets(self, at: int) -> dict[Partition, int]:
        """The offsets of a place, of all partitions."""
        found: dict[Partition, int] = {}
        deadline = time.monotonic() + self._kafka.request_timeout_seconds
        while missing := [partition for partition in self._partitions if partition not in found]:
            try:
                found |= await list_offsets(self._consumer, missing, at, committed_only=True)
            except KafkaError as error:
                raise Stuck(f"{', '.join(self._kafka.topics)} cannot be read: {error!r}") from error
            if len(found) < len(self._partitions):
                if time.monotonic() >= deadline:
                    raise Stuck(f"the leader of {missing[0]} does not tell what it has; try again when it is well")
                await asyncio.sleep(_RETRY_SECONDS)
        return found

    async def _stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_within(_STOP_SECONDS, consumer.stop(), consumer._client)  # noqa: SLF001  # its connections
