"""Reading the partitions of one assignment after the other: positions, pauses, and what was fetched ahead."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnsupportedCodecError,
)

from consumer.kafka.list_offsets import LATEST, list_offsets
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from consumer.kafka.membership import Membership


__all__ = ["Reader", "Watcher"]


# What a batch raises that is not what it should be, over and over: gzip's own errors are among them.
UNREADABLE: tuple[type[Exception], ...] = (
    CorruptRecordException,
    EOFError,
    OSError,
    UnsupportedCodecError,
    ValueError,
    zlib.error,
)
with contextlib.suppress(ImportError):
    import cramjam

    UNREADABLE += (cramjam.DecompressionError,)

# How often a batch may be fetched anew, in case it was damaged on the way.
ATTEMPTS = 3

# How long to wait after a failure before asking again.
RETRY_SECONDS = 0.2


class Watcher(Protocol):
    """Who is told how the reading gets on."""

    def asked(self, partition: Partition, position: int, seconds: float) -> None:
        """A partition was asked for records for so long, and is read up to this position now."""
        ...

    async def out_of_range(self, offsets: Mapping[Partition, int]) -> None:
        """These partitions' logs do not hold the offsets that are to be read next: move them, or hold them."""
        ...

    def unreadable(self, partition: Partition, position: int, error: Exception) -> None:
        """What comes next in a partition cannot be read, however often it is fetched: hold it."""
        ...

    async def failed(self, error: KafkaError) -> None:
        """The client cannot go on, or not now; it will be asked again."""
        ...


class Reader:
    """Asks a consumer for the records that are wanted, and for no others.

    Args:
        watcher: Is told how it gets on.
        pause_after_seconds: For how long a partition may not be wanted before it is paused. Pausing throws away what
            was prefetched, so it is not for short stalls.
    """

    def __init__(self, watcher: Watcher, *, pause_after_seconds: float) -> None:
        self._watcher = watcher
        self._pause_after_seconds = pause_after_seconds
        self.assigned: set[Partition] = set()
        self.failing_since: float | None = None
        """Since when every poll has failed, on the monotonic clock; None where the last one has not."""
        self._consumer: Any = None
        self._sought: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._buffers: dict[Partition, list[Record]] = {}
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._wanted_at: dict[Partition, float] = {}
        self._suspects: list[Partition] = []
        self._failures: Counter[Partition] = Counter()
        self._fetching: asyncio.Task[None] | None = None

    # The assignment

    def attach(self, membership: Membership) -> None:
        """Read through this membership from now on; nothing is assigned to it yet."""
        self._consumer = membership.consumer

    def assign(self, partitions: Collection[Partition]) -> None:
        """These are ours now; nothing of them is read until its position is set."""
        self.clear()
        self.assigned = set(partitions)
        # A pause ends with its assignment.
        self._pause(self.assigned)

    def close(self) -> None:
        """Read nothing more, and drop what was fetched ahead; the partitions are still ours."""
        self._sought.clear()
        self._buffers.clear()
        self._suspects.clear()
        self._failures.clear()

    def clear(self) -> None:
        """Nothing is ours."""
        self.close()
        self.assigned = set()
        self._paused.clear()
        self._positions.clear()
        self._ends.clear()
        self._wanted_at.clear()

    async def detach(self) -> None:
        """The membership is over: read nothing until there is another one."""
        self.clear()
        self.failing_since = None
        self._consumer = None
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            # Harmless only here: the count that it spoils ends with the membership.
            fetching.cancel()
            await asyncio.wait({fetching})
            if not fetching.cancelled():
                fetching.exception()  # it was about a client that is no more

    # Positions

    def move(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""
        self._consumer.seek(TopicPartition(*partition), offset)
        self._buffers.pop(partition, None)
        self._positions[partition] = offset
        self._wanted_at[partition] = time.monotonic()
        self._sought.add(partition)

    def hold(self, partition: Partition) -> None:
        """Read nothing more of this partition."""
        self._sought.discard(partition)
        self._buffers.pop(partition, None)
        self._pause({partition})

    def positions(self) -> dict[Partition, int]:
        """Up to where all was taken: past the last record, and past what is no record."""
        return {each: self._positions[each] for each in self._sought if each not in self._buffers}

    def lag(self) -> dict[Partition, int]:
        """How many records each partition holds beyond the position read so far, where that is known."""
        lags = {}
        for partition in self._sought:
            fetched, asked = self._consumer.highwater(TopicPartition(*partition)), self._ends.get(partition)
            if fetched is not None or asked is not None:
                lags[partition] = max(0, max(fetched or 0, asked or 0) - self._positions[partition])
        return lags

    async def look_ahead(self) -> None:
        """Ask how far the partitions reach; without it, `lag` stands still while nothing is fetched of them.

        When cancelled nothing has happened.
        """
        consumer = self._consumer
        if consumer is None or not self._sought:
            return
        # Whoever fetches next is told the same.
        with contextlib.suppress(KafkaError):
            ends = await list_offsets(consumer, self._sought, LATEST)
            if consumer is self._consumer:
                self._ends.update((partition, end) for partition, end in ends.items() if partition in self._sought)

    # Reading

    def take(self, ready: Collection[Partition]) -> dict[Partition, Sequence[Record]]:
        """What was fetched of these partitions."""
        return {partition: self._buffers.pop(partition) for partition in ready if partition in self._buffers}

    async def wait(self, ready: Collection[Partition], seconds: float) -> None:
        """Ask for records of these partitions, for no longer than this. Cancelling it does no harm.

        With no partition in `ready` it only keeps the membership.
        """
        if self._fetching is None:
            asked = self._choose([partition for partition in ready if partition in self._sought])
            if asked is None:
                await asyncio.sleep(seconds)
                return
            self._fetching = asyncio.create_task(self._fetch(asked, seconds))
        # Waited for, never cancelled: aiokafka counts a getmany that does not return normally as one that runs for
        # ever, and then no longer notices a member that has ceased to poll.
        await asyncio.wait({self._fetching}, timeout=seconds)
        if self._fetching is not None and self._fetching.done():
            fetched, self._fetching = self._fetching, None
            fetched.result()

    def _choose(self, ready: list[Partition]) -> list[Partition] | None:
        """Whom to ask; None where nobody is to be asked now. What has not been wanted for long is paused."""
        if self._consumer is None:
            return None
        now = time.monotonic()
        self._wanted_at.update(dict.fromkeys(ready, now))
        self._resume(self._paused.intersection(ready))
        unwanted = {
            partition
            for partition in self._sought - self._paused
            if now - self._wanted_at[partition] >= self._pause_after_seconds
        }
        self._pause(unwanted)
        while self._suspects:
            suspect = self._suspects.pop()
            if suspect in ready:
                return [suspect]
        if ready:
            # Asking for what is paused brings nothing; it makes the client drop what it has prefetched.
            return [*ready, *unwanted]
        # With all of them paused, asking keeps the membership and brings nothing. To ask for none is to ask for all.
        return list(self._sought or self.assigned) if self.assigned == self._paused else None

    async def _fetch(self, asked: Sequence[Partition], seconds: float) -> None:
        """Ask for records once, and keep what came for partitions whose position is set."""
        consumer = self._consumer
        began = time.monotonic()
        try:
            batches = await consumer.getmany(
                *(TopicPartition(*each) for each in asked), timeout_ms=round(seconds * 1000)
            )
        except Exception as error:  # noqa: BLE001  # sorted out below, where no error is swallowed
            if consumer is self._consumer:
                self._ended(consumer)
                await self._sort_out(error, asked)
            return
        # Nothing may be awaited up to here: these records fit the positions of this very moment.
        if consumer is not self._consumer:
            return
        self.failing_since = None
        for at, records in batches.items():
            partition = Partition(*at)
            if partition in self._sought:
                self._buffers.setdefault(partition, []).extend(_record(partition, each) for each in records)
        # It waits for as long as a rebalance takes; that is no time in which anything could have come.
        took = min(seconds, time.monotonic() - began)
        for partition in asked:
            if partition in self._sought and partition not in self._paused:
                # The consumer's own, since it also passes over transaction markers, which are no records. It is known:
                # this does not wait.
                position = await consumer.position(TopicPartition(*partition))
                if position != self._positions[partition]:
                    self._positions[partition] = position
                    self._failures.pop(partition, None)
                self._watcher.asked(partition, position, took)

    async def _sort_out(self, error: Exception, asked: Sequence[Partition]) -> None:
        """Find out what a failure to read means, and see that nothing is lost by it."""
        if isinstance(error, NoOffsetForPartitionError):
            # Of a partition whose position is not set yet.
            await asyncio.sleep(RETRY_SECONDS)
            return
        if isinstance(error, OffsetOutOfRangeError):
            offsets = {Partition(*at): offset for at, offset in error.args[0].items()}
            await self._watcher.out_of_range(
                {each: offset for each, offset in offsets.items() if self._positions.get(each) == offset}
            )
            return
        # The client may have advanced over records of other partitions, and dropped them: we have not had them.
        for partition in self._sought.intersection(asked):
            self._consumer.seek(TopicPartition(*partition), self._positions[partition])
        if isinstance(error, UNREADABLE):
            self._suspect(error, asked)
        elif isinstance(error, KafkaError):
            self.failing_since = self.failing_since or time.monotonic()
            await self._watcher.failed(error)
        else:
            raise error
        await asyncio.sleep(RETRY_SECONDS)

    def _suspect(self, error: Exception, asked: Sequence[Partition]) -> None:
        """Ask for each partition alone until it is known whose records cannot be read; then give that one up."""
        if len(asked) > 1:
            self._suspects = list(asked)
            return
        (partition,) = asked
        self._failures[partition] += 1
        if self._failures[partition] < ATTEMPTS:
            self._suspects.append(partition)
        elif partition in self._sought:
            self._watcher.unreadable(partition, self._positions[partition], error)

    def _pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))
        self._paused.update(partitions)

    def _resume(self, partitions: Collection[Partition]) -> None:
        self._consumer.resume(*(TopicPartition(*partition) for partition in partitions))
        self._paused.difference_update(partitions)

    @staticmethod
    def _ended(consumer: Any) -> None:
        """Have aiokafka know that the getmany that has just raised does not run any more."""
        state = consumer._subscription  # noqa: SLF001  # its context manager forgets it
        state._fetch_count = 0  # noqa: SLF001  # there never is another one
        state._last_fetch_ended = time.monotonic()  # noqa: SLF001  # as above


def _record(partition: Partition, raw: Any) -> Record:
    return Record(partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers)
