"""The board of pending tasks: when each is asked for, and how its one result reaches all the events in it."""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from consumer.errors import CallError, TaskLost
from consumer.moderation.tasks.admission import Admission
from consumer.moderation.tasks.content import result_in, task_in
from consumer.moderation.tasks.schedule import PollTimes
from consumer.moderation.tasks.task import Callback


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.tasks.store import CallbackExchange, TaskStore
    from consumer.moderation.tasks.task import Place, Task
    from consumer.settings.models import Tasks


__all__ = ["Delivery", "Query", "TaskBoard"]


Delivery = Literal[
    "accepted",  # the task has its result now
    "repeated",  # it has had it from an earlier callback
    "finished",  # it ended before, by a poll or by being given up
    "no_result",  # the content is no result; polling goes on
    "forwarded",  # no such task is pending here: it is recorded for whoever has it
    "unknown",  # no such task is pending here, or the event named is not in it
]
How = Literal["poll", "callback", "given_up"]

# More than any quota lets through in the time of an answer; the rest waits here, in order, where it can be cancelled.
_MOST_QUERIES = 100
# Tasks that are over and forgotten, remembered only so that a late callback is answered as delivered.
_ENDED_IDS = 20_000
# Shorter waits than this are what rounding leaves of none.
_AT_ONCE_SECONDS = 1e-6
_log = structlog.get_logger(__name__)


class Query(Protocol):
    """How a result is asked for; `consumer.moderation.calling.client.ModerationClient` is one."""

    async def query(self, service: str, task_id: str) -> Answer | None:
        """The answer with code 200, or None while the task is still running.

        It waits for the quota's token first. When cancelled it abandons its request, which costs nothing.

        Raises:
            CallError: there was no answer to be had about the task; it may be asked for again soon.
            TaskLost: the service does not know the task any more.
        """
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    """One task. Times are monotonic. `places` are the events that may still come for its result."""

    service: str
    task_id: str
    submitted_at: float
    poll_at: float
    give_up_at: float
    places: set[Place] = field(default_factory=set)
    waiting: int = 0
    pending: bool = True
    failures: int = 0
    polls: int = 0
    query: asyncio.Task[float] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answer | None = None


class TaskBoard:
    """Holds the submitted tasks until their results are there, by callback or by polling, whichever comes first.

    A task that nobody waits for any more, because its events went to another process, rests: it is not polled and takes
    no room, and goes on where it was when an event comes back to it.

    Without an `exchange` no other process can have a task of this one. `queries_per_second` says how many results may
    be asked for at present; without it there is no such limit.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        query: Query,
        settings: Tasks,
        callbacks: bool,
        clock: Clock,
        metrics: Metrics,
        exchange: CallbackExchange | None = None,
        queries_per_second: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._query = query
        self._times = PollTimes.of(settings, callbacks=callbacks)
        self._max_pending = settings.max_pending
        self._clock = clock
        self._gauge = metrics.gauge("tasks_pending")
        self._seconds = metrics.histogram("task_seconds")
        self._given_up = metrics.counter("tasks_given_up")
        self._polls = metrics.counter("task_polls")
        self._entries: dict[str, _Entry] = {}
        self._at: dict[Place, set[str]] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._ended: OrderedDict[str, How] = OrderedDict()
        self._turns: list[tuple[float, str]] = []
        self._pending_tasks = 0
        self._pending_events = 0
        self._querying = 0
        self._admission = Admission(queries_per_second, clock=clock)
        self._door = asyncio.Lock()
        self._at_the_door = 0
        self._turn_changed = asyncio.Event()
        self._room_changed = asyncio.Event()
        if exchange is not None:
            exchange.listen(self._hear)

    @property
    def pending_events(self) -> int:
        """Events whose tasks have no result yet."""
        return self._pending_events

    async def add(self, tasks: Sequence[Task]) -> None:
        """Record what was just submitted, then count it as pending. It never waits for room.

        When cancelled, some of it may be recorded, and is found again by `find`.
        """
        tasks = [replace(task, next_poll_at=task.submitted_at + self._times.first_seconds) for task in tasks]
        await self._store.remember(tasks)
        for task in tasks:
            self._take_up(task, max(0.0, task.next_poll_at - self._clock.now()))

    async def result(self, task: Task) -> Answer | None:
        """Wait for a task's result; None when it was given up: past its deadline, or unknown to the service.

        All events of a task have the same result. When cancelled, the task stays as it is, for others and for later.
        """
        entry = self._entries.get(task.task_id)
        if entry is None or task.place not in entry.places:
            wait = self._times.found_again(task.next_poll_at, self._clock.now())
            entry = self._take_up(task, wait)
        if entry.over.is_set():
            return entry.answer
        self._wake(entry)
        entry.waiting += 1
        try:
            await entry.over.wait()
        finally:
            entry.waiting -= 1
            if not entry.waiting and not entry.over.is_set():
                self._set_aside(entry)
        return entry.answer

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """What is remembered of the record at this place; None where it is nothing, or another record's."""
        return self._store.find(place, fingerprint)

    async def forget(self, places: Collection[Place]) -> None:
        """These events have their verdicts, acknowledged and committed: their tasks are of no use to them any more."""
        for place in places:
            self._leave(place)
        await self._store.forget(places)

    async def deliver(self, task_id: str, content: bytes, place: Place) -> Delivery:
        """Take in a callback whose checksum was verified, for the event at `place`, or pass it on to who can.

        Content that does not name its task itself counts only if the event is known to be in this task, and no other.
        When cancelled, it may have been passed on.
        """
        callback = Callback(place, task_id, content)
        # A task that rests here may be waited for elsewhere: only what is recorded is sure to get there.
        outcome = self._take_in(callback, resting=self._exchange is None)
        if outcome == "unknown" and self._exchange is not None and await self._exchange.forward(callback):
            return "forwarded"
        return outcome

    @property
    def at_the_door(self) -> int:
        """How many wait for room."""
        return self._at_the_door

    async def room(self) -> None:
        """Wait until fewer than `max_pending` events are pending, and results can be asked for in time.

        To be awaited before a task is submitted: so tasks are not submitted faster than the quota lets us ask for them.
        Whoever is between this and `add` is not counted yet, so the limit may be passed by as many. Whoever comes first
        is let in first; when cancelled, the next one goes on.
        """
        self._at_the_door += 1
        try:
            async with self._door:
                while (wait := self._wait_for_room_seconds()) is None or wait > _AT_ONCE_SECONDS:
                    self._room_changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._room_changed.wait()
                self._admission.took(self._late_seconds())
        finally:
            self._at_the_door -= 1

    async def run(self) -> None:
        """Poll until cancelled; queries on the wire are then abandoned, which costs nothing.

        Raises:
            Exception: what `query` raises beyond its promise.
        """
        async with asyncio.TaskGroup() as queries:
            while True:
                self._turn_changed.clear()
                self._ask_who_is_due(queries)
                self._room_changed.set()
                await self._until_next_turn()

    # Polling

    def _ask_who_is_due(self, queries: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        while (entry := self._next()) is not None and entry.poll_at <= now:
            if now >= entry.give_up_at:
                self._give_up(entry, "deadline")
            elif self._querying < _MOST_QUERIES:
                self._querying += 1
                entry.query = queries.create_task(self._ask(entry))
                entry.query.add_done_callback(partial(self._asked, entry))
            else:
                return

    def _next(self) -> _Entry | None:
        """Who is to be asked for next, now or later."""
        while self._turns:
            at, task_id = self._turns[0]
            entry = self._entries.get(task_id)
            if entry is not None and entry.pending and entry.query is None and entry.poll_at == at:
                return entry
            heapq.heappop(self._turns)
        return None

    def _wait_for_room_seconds(self) -> float | None:
        """How long to wait for room at least; None where nobody knows."""
        late_seconds = self._late_seconds()
        if self._pending_events >= self._max_pending or late_seconds > self._times.interval_seconds:
            return None
        return self._admission.wait_seconds(late_seconds)

    def _late_seconds(self) -> float:
        """How long the next poll has been due; negative where it is not yet."""
        entry = self._next()
        return float("-inf") if entry is None else self._clock.monotonic() - entry.poll_at

    async def _until_next_turn(self) -> None:
        entry = self._next() if self._querying < _MOST_QUERIES else None
        seconds = None if entry is None else entry.poll_at - self._clock.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._turn_changed.wait()

    async def _ask(self, entry: _Entry) -> float:
        """Poll one task, and return how long to wait before its next turn, if it needs one."""
        try:
            async with asyncio.timeout(entry.give_up_at - self._clock.monotonic()) as patience:
                answer = await self._query.query(entry.service, entry.task_id)
        except CallError:
            self._polls.labels("failed").inc()
            entry.failures += 1
            return self._times.repeat(entry.failures)
        except TaskLost:
            self._polls.labels("lost").inc()
            self._give_up(entry, "lost")
        except TimeoutError:
            if not patience.expired():
                raise
            self._give_up(entry, "deadline")
        else:
            self._polls.labels("running" if answer is None else "result").inc()
            entry.failures = 0
            entry.polls += 1
            if answer is not None:
                self._end(entry, "poll", answer)
        return self._times.interval_seconds

    def _asked(self, entry: _Entry, query: asyncio.Task[float]) -> None:
        """A poll has ended, also one that was cancelled before it began."""
        self._querying -= 1
        entry.query = None
        if not entry.over.is_set():
            ended = not query.cancelled() and query.exception() is None
            wait = query.result() if ended else self._times.interval_seconds
            entry.poll_at = min(self._clock.monotonic() + wait, entry.give_up_at)
            self._take_turn(entry)
        self._turn_changed.set()

    def _take_turn(self, entry: _Entry) -> None:
        if entry.pending and entry.query is None:
            heapq.heappush(self._turns, (entry.poll_at, entry.task_id))
            self._turn_changed.set()

    # Entries

    def _take_up(self, task: Task, wait: float) -> _Entry:
        """The entry of this event's task, made if there is none; its first poll is in `wait` seconds."""
        entry = self._entries.get(task.task_id)
        if entry is None:
            now = self._clock.monotonic()
            patience = self._times.patience(task.submitted_at, self._clock.now(), wait)
            entry = _Entry(task.service, task.task_id, task.submitted_at, now + wait, now + patience)
            self._entries[task.task_id] = entry
            self._ended.pop(task.task_id, None)
            self._count(entry, +1)
            self._take_turn(entry)
        if task.place not in entry.places:
            self._at.setdefault(task.place, set()).add(task.task_id)
            entry.places.add(task.place)
            self._pending_events += entry.pending
        if self._exchange is not None:
            # Its callback may have come before it was recorded, or while another process had it.
            for callback in self._exchange.forwarded(task.task_id):
                self._take_in(callback, resting=True)
        return entry

    def _take_in(self, callback: Callback, *, resting: bool) -> Delivery:
        """Give a callback's result to its task, if that is here and has none yet; to one that rests only if asked."""
        task_id, content = callback.task_id, callback.content
        entry, how = self._entries.get(task_id), self._ended.get(task_id)
        if how is not None or (entry is not None and entry.over.is_set()):
            return "repeated" if how == "callback" else "finished"
        answer = result_in(content)
        if answer is None:
            return "no_result"
        if entry is None or not (task_in(content) == task_id or self._at.get(callback.place) == {task_id}):
            return "unknown"
        if not (entry.pending or resting):
            return "unknown"
        self._end(entry, "callback", answer)
        return "accepted"

    def _hear(self, callback: Callback) -> bool:
        """A callback was recorded, here or by another process; true when its task is over, however that came."""
        if callback.task_id in self._entries:
            self._take_in(callback, resting=True)
        return callback.task_id in self._ended

    def _leave(self, place: Place) -> None:
        """Take an event off its tasks; a task goes off the board with its last event."""
        for task_id in self._at.pop(place, ()):
            entry = self._entries[task_id]
            entry.places.discard(place)
            self._pending_events -= entry.pending
            self._room_changed.set()
            if not entry.places and not entry.waiting:
                self._drop(entry)

    def _wake(self, entry: _Entry) -> None:
        """Somebody waits for it: if it rests, it goes on."""
        if entry.pending:
            return
        del self._idle[entry.task_id]
        entry.pending = True
        self._count(entry, +1)
        next_turn = max(entry.poll_at, self._clock.monotonic())
        entry.give_up_at = max(entry.give_up_at, next_turn + self._times.interval_seconds)
        self._take_turn(entry)

    def _give_up(self, entry: _Entry, reason: str) -> None:
        if not entry.over.is_set():
            _log.warning("task given up", service=entry.service, task_id=entry.task_id, reason=reason)
            self._given_up.labels(reason).inc()
            self._end(entry, "given_up", None)

    def _end(self, entry: _Entry, how: How, answer: Answer | None) -> None:
        """The one moment at which a task gets its result, or none; what comes later finds it so."""
        entry.answer = answer
        entry.over.set()
        self._admission.ended(entry.polls)
        if how != "given_up":
            self._seconds.labels(how).observe(max(0.0, self._clock.now() - entry.submitted_at))
        self._ended[entry.task_id] = how
        if len(self._ended) > _ENDED_IDS:
            self._ended.popitem(last=False)
        if entry.query is not None and entry.query is not asyncio.current_task():
            entry.query.cancel()
        self._set_aside(entry)
        self._turn_changed.set()

    def _set_aside(self, entry: _Entry) -> None:
        """It takes no room any more, and is kept for events that may come, as long as there are not too many such."""
        if entry.pending:
            self._count(entry, -1)
            entry.pending = False
        self._idle[entry.task_id] = None
        if len(self._idle) > self._max_pending:
            self._drop(self._entries[next(iter(self._idle))])

    def _drop(self, entry: _Entry) -> None:
        if entry.pending:
            self._count(entry, -1)
            entry.pending = False
        self._idle.pop(entry.task_id, None)
        del self._entries[entry.task_id]
        for place in entry.places:
            self._at[place].discard(entry.task_id)
            if not self._at[place]:
                del self._at[place]
        if entry.query is not None and entry.query is not asyncio.current_task():
            entry.query.cancel()

    def _count(self, entry: _Entry, sign: Literal[1, -1]) -> None:
        self._pending_tasks += sign
        self._pending_events += sign * len(entry.places)
        self._gauge.set(self._pending_tasks)
        self._room_changed.set()
