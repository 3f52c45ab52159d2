"""A state log in memory, shared by the processes of a test: partitions, late acknowledgements, outages, compaction."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from consumer.errors import Stuck
from consumer.metrics import Metrics
from consumer.moderation.tasks.records import is_note
from consumer.moderation.tasks.state import StateRecord, StateTopic
from tests.virtual_time import LoopClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


__all__ = ["MemoryStateLog", "MemoryTopic", "Process"]


PARTITIONS = 3
READ_SECONDS = 5.0
LAG_SECONDS = 0.5
STOP_SECONDS = 2.0


class MemoryTopic:
    """The records, whoever writes and reads them. While it is `away` it takes and tells nothing.

    `ack_seconds` is how long a record takes to be in the log and acknowledged; `refusal` is what appends fail with.
    Where compaction took a record away, None stands in its place.
    """

    def __init__(self, *, ack_seconds: float = 0.005) -> None:
        self.partitions: list[list[StateRecord | None]] = [[] for _ in range(PARTITIONS)]
        self.ack_seconds = ack_seconds
        self.refusal: Exception | None = None
        self.here = asyncio.Event()
        self.here.set()
        self.grown = asyncio.Event()

    @property
    def away(self) -> bool:
        return not self.here.is_set()

    @away.setter
    def away(self, away: bool) -> None:
        if away:
            self.here.clear()
        else:
            self.here.set()

    def write(self, key: bytes | None, value: bytes | None) -> None:
        """Put a record in at once."""
        number = 0 if is_note(key) else zlib.crc32(key or b"") % PARTITIONS
        self.partitions[number].append(StateRecord(key, value, LoopClock().now()))
        self.grown.set()
        self.grown = asyncio.Event()

    @property
    def records(self) -> list[StateRecord]:
        """All records, in the order of each key."""
        return [record for partition in self.partitions for record in partition if record is not None]

    def compact(self) -> None:
        """Take away what later records have replaced."""
        for partition in self.partitions:
            seen: set[bytes | None] = set()
            for offset in reversed(range(len(partition))):
                record = partition[offset]
                if record is not None and record.key in seen:
                    partition[offset] = None
                elif record is not None:
                    seen.add(record.key)

    def expire(self, seconds: float) -> None:
        """Take away what is older than this, as retention does."""
        oldest = LoopClock().now() - seconds
        for partition in self.partitions:
            for offset, record in enumerate(partition):
                if record is not None and record.written_at < oldest:
                    partition[offset] = None

    def live(self) -> dict[bytes | None, bytes]:
        """What compaction would leave: the last value of each key that is not deleted."""
        last = {record.key: record.value for record in self.records}
        return {key: value for key, value in last.items() if value is not None}


class MemoryStateLog:
    """One process's view of a topic in memory; `lagging`, it reads nothing for a while."""

    def __init__(self, topic: MemoryTopic) -> None:
        self.topic = topic
        self.lagging = False
        self._positions = dict.fromkeys(range(PARTITIONS), 0)
        self._next = dict.fromkeys(range(PARTITIONS), 0)
        self._unacknowledged: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self.topic.here.wait()

    async def append(self, key: bytes, value: bytes | None) -> asyncio.Future[None]:
        await self.topic.here.wait()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._write(key, value, future))
        self._unacknowledged.add(task)
        task.add_done_callback(self._unacknowledged.discard)
        return future

    async def read(self) -> Sequence[StateRecord]:
        await self.topic.here.wait()
        if not self._unread():
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    await self.topic.grown.wait()
        if self.lagging:
            await asyncio.sleep(LAG_SECONDS)
            return []
        unread = self._unread()
        self._positions = {number: len(records) for number, records in enumerate(self.topic.partitions)}
        found = []
        for number, offset, record in unread:
            found.append(record._replace(gap=offset != self._next[number]))
            self._next[number] = offset + 1
        return found

    def positions(self) -> Mapping[int, int]:
        return dict(self._positions)

    async def ends(self) -> Mapping[int, int]:
        await self.topic.here.wait()
        return {number: len(records) for number, records in enumerate(self.topic.partitions)}

    async def stop(self) -> None:
        for seconds in (STOP_SECONDS, None):
            if self._unacknowledged:
                await asyncio.wait(self._unacknowledged, timeout=seconds)
            for task in self._unacknowledged:
                task.cancel()

    def _unread(self) -> list[tuple[int, int, StateRecord]]:
        return [
            (number, offset, record)
            for number, records in enumerate(self.topic.partitions)
            for offset, record in enumerate(records[self._positions[number] :], self._positions[number])
            if record is not None
        ]

    async def _write(self, key: bytes, value: bytes | None, future: asyncio.Future[None]) -> None:
        try:
            await asyncio.sleep(self.topic.ack_seconds)
            await self.topic.here.wait()
        except asyncio.CancelledError:
            _end(future, Stuck("stopped before it was acknowledged"))
            raise
        if self.topic.refusal is None:
            self.topic.write(key, value)
        _end(future, self.topic.refusal)


class Process:
    """One process of a group: its state, its log and its metrics. Times are virtual."""

    def __init__(self, topic: MemoryTopic) -> None:
        self.log = MemoryStateLog(topic)
        self.metrics = Metrics()
        self.state = StateTopic(self.log, clock=LoopClock(), metrics=self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[StateTopic]:
        """The state, started and caught up; ended as a process is that stops in order."""
        async with self.alive() as state:
            yield state
        await self.state.stop()

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[StateTopic]:
        """The state, started and caught up; ended as a process is that is killed."""
        await self.state.start()
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(self.state.run())
            await self.state.caught_up()
            yield self.state
            run.cancel()

    def counted(self, name: str, **labels: str) -> float:
        """A counter's value; 0 where nothing was counted."""
        return self.metrics.registry.get_sample_value(f"moderation_{name}_total", labels) or 0.0


def _end(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # its owner may be gone already; then nobody needs to hear of it
