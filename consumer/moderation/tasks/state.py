"""The state of a group: tasks, callbacks and notes in a log that all its processes read; its seam is a Kafka topic."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from consumer.errors import DeliveryRefused, ModerationConsumerError, Stuck
from consumer.moderation.tasks.records import (
    CallbackKey,
    Note,
    NoteKey,
    Tombstone,
    Unreadable,
    decode,
    encode_callback,
    encode_key,
    encode_note,
    encode_task,
)
from consumer.moderation.tasks.remembered import Remembered
from consumer.moderation.tasks.task import Callback


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.tasks.task import Place, Task


__all__ = ["StateLog", "StateRecord", "StateTopic"]


_log = structlog.get_logger(__name__)

_WRITTEN: Final = ("task", "callback", "note", "tombstone")
# A sender of callbacks does not wait long; what could not be recorded by then it sends again.
_FORWARD_SECONDS: Final = 5.0
# How often it is said what a takeover waits for.
_SAY_SECONDS: Final = 5.0
_DROP_OLD_SECONDS: Final = 600.0
# The topic keeps records for two days. A note is written again before, by one of the processes, or by a few.
_RENEW_SECONDS: Final = 16 * 3600.0
_RENEW_SPREAD_SECONDS: Final = 4 * 3600.0


class StateRecord(NamedTuple):
    """One record of the log; `written_at` is in seconds since the epoch, and None as value deletes the key.

    `gap` says that something is missing between the record before it in its partition and this one: records that later
    ones have replaced, or what is no record.
    """

    key: bytes | None
    value: bytes | None
    written_at: float
    gap: bool = False


class StateLog(Protocol):
    """A log of keys and values, in partitions by key: a compacted Kafka topic, or one in memory.

    All keys of which `is_note` is true are in one partition, so that their records have one order.
    """

    async def start(self) -> None:
        """Connect, and make the log if it is not there.

        Raises:
            StartError: the log cannot be reached or made; the remedy says how a person makes it.
        """
        ...

    async def append(self, key: bytes, value: bytes | None) -> asyncio.Future[None]:
        """Hand one record over; None deletes the key. The future ends when all in-sync replicas have acknowledged it.

        It waits while the log is away. When cancelled before it returns, the record is not written. The future fails
        with DeliveryRefused when this record will never be taken, and with Stuck when none of ours is.
        """
        ...

    async def read(self) -> Sequence[StateRecord]:
        """The next records, from the beginning of the log on, in the order of each key; none after a short while.

        When cancelled, nothing is lost of what the next call returns.

        Raises:
            Stuck: we may not read it.
        """
        ...

    def positions(self) -> Mapping[int, int]:
        """Up to where each partition was read: past what `read` has returned, and past what is no record."""
        ...

    async def ends(self) -> Mapping[int, int]:
        """Where each partition ends at the moment of this call or later, records of open transactions included.

        It asks for as long as the log is away.

        Raises:
            Stuck: we may not ask.
        """
        ...

    async def stop(self) -> None:
        """Disconnect, within a bounded time, when what was handed over is acknowledged or that time is over."""
        ...


class StateTopic:
    """Remembers tasks beyond the life of a process, and passes callbacks to the process that works on their task.

    It is a `TaskStore`, a `CallbackExchange`, and keeps `consumer.quota.notes.Notes`. Each process of a group reads the
    whole log all the time, also one that stands by, and so has it at hand when it takes over. What it writes itself
    counts when it is acknowledged; notes count when they are read.

    Args:
        log: where the records are; all processes of one group, and no other, share one.
        stop_seconds: how long the last tombstones may take when it is stopped.
    """

    def __init__(self, log: StateLog, *, clock: Clock, metrics: Metrics, stop_seconds: float = 2.0) -> None:
        self._state_log = log
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._skipped = metrics.counter("state_records_skipped")
        self._failed = metrics.counter("state_writes_failed")
        for what in _WRITTEN:
            # Seen at zero: to Prometheus, a counter that begins at one has not grown.
            self._failed.labels(what)
        self._view = Remembered()
        self._receive: Callable[[Callback], bool] = lambda _: False
        self._applied: Mapping[int, int] = {}
        self._moved = asyncio.Event()
        # What is to be written soon, in no hurry: mostly tombstones.
        self._due: dict[bytes, bytes | None] = {}
        self._to_write = asyncio.Event()
        self._dropped_at = clock.now()
        self._followers: dict[str, Callable[[tuple[str, ...], bytes | None], str | None]] = {}
        self._gaps = 0
        self._renew_seconds = _RENEW_SECONDS + random.random() * _RENEW_SPREAD_SECONDS

    async def start(self) -> None:
        """Connect, and make the log if it is not there.

        Raises:
            StartError: the log cannot be reached or made; the remedy says how a person makes it.
        """
        await self._state_log.start()

    async def run(self) -> None:
        """Read the log, and delete from it what was forgotten, until cancelled.

        Raises:
            Stuck: we may not read it.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tail())
            tasks.create_task(self._write_all())

    async def caught_up(self) -> None:
        """Return when everything that was in the log at the time of the call has been read. `run` has to be running.

        It waits for as long as it takes, and says in the log what for. A cancelled wait changes nothing.

        Raises:
            Stuck: we may not ask how long the log is.
        """
        began = said = self._clock.monotonic()
        ends = await self._state_log.ends()
        while left := sum(max(0, end - self._applied.get(partition, 0)) for partition, end in ends.items()):
            moved = self._moved
            with suppress(TimeoutError):
                async with asyncio.timeout(_SAY_SECONDS):
                    await moved.wait()
            now = self._clock.monotonic()
            if now - said >= _SAY_SECONDS:
                said = now
                _log.warning("waiting_for_state", records_left=left, seconds=round(now - began, 1))
        _log.info("state_read", seconds=round(self._clock.monotonic() - began, 3), remembered=len(self._view))

    async def stop(self) -> None:
        """Write the last tombstones and disconnect, within a bounded time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stop_seconds):
                await self._write_due()
        await self._state_log.stop()

    # What a store of tasks does

    async def remember(self, tasks: Sequence[Task]) -> None:
        """Return when all in-sync replicas have these. It waits for as long as the log is away.

        When cancelled, some of them may be recorded.

        Raises:
            Stuck: the log does not take them.
        """
        futures = []
        for task in tasks:
            key, value = encode_task(task)
            self._due.pop(key, None)
            futures.append(await self._state_log.append(key, value))
        try:
            await asyncio.gather(*futures)
        except ModerationConsumerError as error:
            self._failed.labels("task").inc()
            raise Stuck(f"a task that was submitted cannot be recorded in the state topic: {error}") from error
        now = self._clock.now()
        for task in tasks:
            self._view.apply(task, now, now)

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """What is remembered of the record at this place; None where it is nothing, another record's, or too old."""
        return self._view.find(place, fingerprint, self._clock.now())

    async def forget(self, places: Collection[Place]) -> None:
        """Have all that is kept for these places deleted, soon. What is left in the log is never asked for again."""
        now = self._clock.now()
        for place in places:
            for key in self._view.keys(place):
                self._view.apply(Tombstone(key), now, now)
                self._write_soon(encode_key(key), None)

    # What an exchange of callbacks does

    async def forward(self, callback: Callback) -> bool:
        """Record a callback for the process that works on its task; False when it could not be, and may come again.

        When cancelled, it may be recorded.
        """
        if self._view.has(callback):
            return True
        try:
            async with asyncio.timeout(_FORWARD_SECONDS):
                await (await self._state_log.append(*encode_callback(callback)))
        except (DeliveryRefused, Stuck, TimeoutError) as error:
            self._failed.labels("callback").inc()
            _log.warning("callback_not_forwarded", task_id=callback.task_id, error=str(error) or type(error).__name__)
            return False
        return True

    def forwarded(self, task_id: str) -> Sequence[Callback]:
        """The callbacks that any process has recorded for this task."""
        return self._view.callbacks(task_id)

    def listen(self, receive: Callable[[Callback], bool]) -> None:
        """Have each callback that is recorded from now on handed over; true says that its task is over here."""
        self._receive = receive

    # Notes: `consumer.quota.notes.Notes` says what is promised of them

    @property
    def gaps(self) -> int:
        """How often something was missing in what was read."""
        return self._gaps

    def follow(self, kind: str, hear: Callable[[tuple[str, ...], bytes | None], str | None]) -> None:
        """Have all notes of a kind handed over: what is known at once, then each when it is read, also our own."""
        self._followers[kind] = hear
        for note in self._view.notes(kind):
            self._hand_over(note.key, note.value)

    async def put(self, key: tuple[str, ...], value: bytes) -> None:
        """Return when all in-sync replicas have this note. It waits for as long as they are away.

        When cancelled, it may be written.

        Raises:
            Stuck: the log does not take it.
        """
        record = encode_note(Note(NoteKey(key), value))
        self._due.pop(record[0], None)
        future = await self._state_log.append(*record)
        try:
            # A record that is taken back costs all that are on their way a new producer.
            await asyncio.shield(future)
        except ModerationConsumerError as error:
            self._failed.labels("note").inc()
            raise Stuck(f"a note cannot be recorded in the state topic: {error}") from error

    def delete(self, key: tuple[str, ...]) -> None:
        """Have a note deleted, soon."""
        self._write_soon(encode_key(NoteKey(key)), None)

    # Reading

    async def _tail(self) -> None:
        while True:
            records = await self._state_log.read()
            for record in records:
                self._gaps += record.gap
                try:
                    self._apply(decode(record.key, record.value), record.written_at)
                except Unreadable as unreadable:
                    self._skipped.labels(unreadable.reason).inc()
            self._applied = self._state_log.positions()
            self._moved.set()
            self._moved = asyncio.Event()
            now = self._clock.now()
            if now - self._dropped_at >= _DROP_OLD_SECONDS:
                self._dropped_at = now
                self._view.drop_old(now)
                for note in self._view.old_notes(now - self._renew_seconds):
                    self._write_soon(*encode_note(note))

    def _apply(self, item: Task | Callback | Note | Tombstone, written_at: float) -> None:
        self._view.apply(item, written_at, self._clock.now())
        if isinstance(item, Note):
            self._hand_over(item.key, item.value)
        elif isinstance(item, Tombstone) and isinstance(item.key, NoteKey):
            self._hand_over(item.key, None)
        if not isinstance(item, Callback) or not self._view.has(item):
            return
        over = self._receive(item)
        # It came after its events were done with: nobody will forget it any more.
        if over and not self._view.knows(item.task_id):
            key = CallbackKey(item.place, item.task_id)
            self._view.apply(Tombstone(key), written_at, written_at)
            self._write_soon(encode_key(key), None)

    def _hand_over(self, key: NoteKey, value: bytes | None) -> None:
        hear = self._followers.get(key.parts[0])
        reason = None if hear is None else hear(key.parts, value)
        if reason is not None:
            self._skipped.labels(reason).inc()

    # Deleting, and writing old notes again

    def _write_soon(self, key: bytes, value: bytes | None) -> None:
        self._due[key] = value
        self._to_write.set()

    async def _write_all(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            await self._write_due()

    async def _write_due(self) -> None:
        """Write what is due. A tombstone that fails leaves a record behind, and a note is due again later."""
        while self._due:
            key, value = next(iter(self._due.items()))
            future = await self._state_log.append(key, value)
            if self._due.get(key) is value:
                self._due.pop(key, None)
            future.add_done_callback(partial(self._written, "tombstone" if value is None else "note"))

    def _written(self, what: str, future: asyncio.Future[None]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._failed.labels(what).inc()
