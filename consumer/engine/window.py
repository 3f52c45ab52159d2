"""The sliding window: records that wait, those being worked on, and what is held in memory for them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from consumer.engine.lane import LaneState
from consumer.engine.order import Order
from consumer.engine.turns import Turns
from consumer.errors import LaneClosed


if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable, Sequence

    from consumer.clock import Clock
    from consumer.engine.care import Care
    from consumer.engine.delivering import Delivering
    from consumer.engine.lane import Lane, Work
    from consumer.engine.letter_limit import LetterLimit
    from consumer.engine.limits import Limits
    from consumer.engine.tally import Tally
    from consumer.engine.way import Outcome, Way
    from consumer.metrics import Metrics
    from consumer.record import Record


__all__ = ["Window"]


_log = structlog.get_logger(__name__)


class Window:
    """Works on so many records at a time as the limits say, and hears how their ways end.

    `failure` ends with an exception when something is broken that no record can be blamed for.
    """

    def __init__(
        self,
        *,
        way: Way,
        limits: Limits,
        tally: Tally,
        metrics: Metrics,
        clock: Clock,
        letter_limit: LetterLimit | None,
    ) -> None:
        self._way = way
        self._limits = limits
        self._tally = tally
        self._metrics = metrics
        self._clock = clock
        self._letter_limit = letter_limit
        self._turns = Turns(limits.max_in_flight, dropped=self._let_go, stalled=self._stalled)
        self._order = Order(limits.ordering)
        self._workers: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._parked = 0
        self._tasks: asyncio.TaskGroup
        self._delivering: Delivering
        self.care: Care
        self.held = 0
        self.held_bytes = 0
        self.letters_held: str | None = None
        self.closed = True
        self.room = asyncio.Event()
        self.failure: asyncio.Future[None]

    def open(self, tasks: asyncio.TaskGroup, delivering: Delivering, care: Care) -> None:
        """Begin: workers run in `tasks`, and what they have done leaves by `delivering`."""
        self._tasks = tasks
        self._delivering = delivering
        self.care = care
        self.failure = asyncio.get_running_loop().create_future()
        self.closed = False

    def close(self) -> None:
        """Start nothing more; workers that are left are cancelled, and what runs beside them."""
        self.closed = True
        self.failure.cancel()
        for task in (*self._workers, *self._beside):
            task.cancel()

    # Taking in

    def follow(self, lane: Lane) -> None:
        """This lane is ours: hear when records of it are parked, and keep room for those of great weight."""
        # Seen at zero: to Prometheus, a counter that begins at one has not grown.
        self._metrics.counter("lane_stalls").labels(lane.partition.topic)
        lane.parking = partial(self._parking, lane)
        self._turns.follow(lane)

    def has_room(self, lane: Lane | None = None) -> bool:
        """Whether more records may be read, of this lane or of any."""
        limits = self._limits
        return self._turns.has_room(lane) and (
            self.held == 0 or self.held_bytes + limits.fetch_bytes <= limits.memory_budget_bytes
        )

    def take_in(self, lane: Lane, records: Sequence[Record]) -> None:
        """Have records of a lane wait for their turn."""
        self._tally.read(lane.partition.topic, len(records))
        self.held += len(records)
        self.held_bytes += self._turns.take_in(lane, records, self._clock.monotonic())

    def start_workers(self) -> None:
        """As many as there are records to start, and room for; none once dead letters are held."""
        if self.closed or self.letters_held is not None:
            return
        if self.care.taken:
            free = 1 - max(len(self._workers) - self._parked, self.in_flight)
        else:
            free = self._limits.max_in_flight - (len(self._workers) - self._parked)
        for _ in range(min(self._turns.startable, free)):
            worker = self._begin(self._worker())
            if worker is None:
                return
            self._workers.add(worker)

    @property
    def in_flight(self) -> int:
        """Records being worked on, or waiting for their acknowledgement; those parked are not among them."""
        return self.held - self._turns.waiting - self._parked

    # Working

    async def _worker(self) -> None:
        """Work on one record after the other while any waits; then end. A worker per record in flight is the window."""
        work: Work | None = None
        worker = asyncio.current_task()
        try:
            while (work := self._next()) is not None:
                try:
                    await self._work_on(work, worker)
                finally:
                    self._turns.takes_room(work.lane, -1)
        except asyncio.CancelledError:
            # Either this record was given up with its lane, or everything stops.
            if work is None or work.lane.state is LaneState.OPEN:
                raise
            self.released(work)
        finally:
            # A callback for this would take a quarter of a kilobyte for each record in flight.
            self._workers.discard(worker)

    def _next(self) -> Work | None:
        if self.letters_held is not None or (self.care.taken and self.in_flight > 0):
            return None
        work = self._turns.next()
        if not self.room.is_set() and self._turns.has_room():
            self.room.set()
        return work

    async def _work_on(self, work: Work, worker: asyncio.Task[None] | None) -> None:
        if work.record.value is None and self._limits.skip_null:
            self._tally.skipped(work.record.partition.topic)
            self.finished(work)
            return
        self._order.enter(work)
        work.task = worker
        try:
            if work.condemned:
                outcome = self._way.condemn(work)
            else:
                if self.care.taken:
                    await self.care.tries(work)
                outcome = await self._way.walk(work)
                if self._letter_limit is None:
                    pass
                elif outcome.error is None:
                    self._letter_limit.passed()
                elif self._letter_limit.failed():
                    self._hold(work, self._letter_limit.why)
                    await asyncio.Event().wait()
        except LaneClosed:
            self.released(work)
            return
        await self._leave(work, outcome)

    def _hold(self, work: Work, why: str) -> None:
        """Keep a dead letter back, for ever: there are too many of them to be the records' fault."""
        if self.letters_held is None:
            self.letters_held = why
            self._metrics.gauge("holding").labels("dead_letters").set(1)
            _log.error("holding", reason="dead_letters", why=why)
        work.withheld = True

    async def _leave(self, work: Work, outcome: Outcome) -> None:
        """Hand an outcome over when it is its turn, and those that waited behind it."""
        work.task = None
        if work not in work.lane.works:
            self._tally.discarded(outcome)
            return
        work.outcome = outcome
        if not self._order.may_leave(work):
            return
        leaving: Work | None = work
        while leaving is not None:
            done = leaving.outcome
            if done is not None and done.verdict is None and done.error is None:
                self._skip(leaving, done)
            else:
                await self._delivering.deliver(leaving)
            if leaving.lane.state is LaneState.GONE:
                return
            leaving = self._order.left(leaving)

    def _skip(self, work: Work, outcome: Outcome) -> None:
        """A record had nothing to judge: it is done without anything being written."""
        if outcome.trace is not None:
            outcome.trace.delivered()
        self._tally.skipped(work.record.partition.topic)
        self.finished(work)

    def _stalled(self, lane: Lane) -> None:
        self._metrics.counter("lane_stalls").labels(lane.partition.topic).inc()

    def _parking(self, lane: Lane, change: int) -> None:
        """A record was parked, or its wait is over: the window has room for one more, or one less."""
        self._parked += change
        self._turns.takes_room(lane, -change)
        if change > 0:
            self.resume(lane)
            self.start_workers()

    # Ends

    def finished(self, work: Work) -> None:
        """All is done for a record."""
        # An acknowledgement may come after its lane was given up, and all that was held for it with it.
        if work not in work.lane.works:
            return
        limit = self._letter_limit
        if (
            limit is not None
            and limit.refused_in_a_row
            and work.outcome is not None
            and work.outcome.verdict is not None
        ):
            limit.taken()
        work.lane.finish(work)
        self._let_go(work.size_bytes)
        self.resume(work.lane)
        if self.care.taken:
            self.start_workers()

    def released(self, work: Work) -> None:
        """A record was given up, and with it those that may not leave before it."""
        self._release(work)
        for behind in self._order.give_up(work):
            if behind.task is not None:
                behind.task.cancel()
            self._release(behind)

    def lost(self, lanes: Collection[Lane]) -> None:
        """Another process has these lanes already: nothing of them may be written any more."""
        self.give_up_waiting(lanes)
        self.drop(lanes)

    def failed(self, error: BaseException) -> None:
        """Something is broken that no record can be blamed for."""
        if not self.failure.done():
            self.failure.set_exception(error)

    def withheld(self, work: Work, left: Sequence[Work] = ()) -> Collection[Work]:
        """See `Ends.withheld`."""
        if self._letter_limit is None or not self._letter_limit.refused():
            return ()
        self._hold(work, self._letter_limit.why)
        kept = self._order.take_back(work, left)
        for one in kept:
            one.delivering = False
        return kept

    def start_soon(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside the flow, until it ends or all is closed."""
        task = self._begin(work)
        if task is not None:
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """A task in the group, or None where it takes none any more, since one of its tasks has failed."""
        try:
            return self._tasks.create_task(work)
        except RuntimeError:
            work.close()
            self.closed = True
            return None

    # Letting go

    def give_up_waiting(self, lanes: Iterable[Lane]) -> None:
        """Forget the records of these lanes for which nothing was sent yet; leave those that are paid for.

        What stands before a record that is paid for, in its order, is left as well: without it that one cannot leave.
        """
        for lane in lanes:
            self._turns.give_up(lane)
            self._order.lead(lane)
            for work in list(lane.works):
                wanted = (work.paid_for and not work.withheld) or work.delivering or work.leads
                if wanted:
                    continue
                if work.task is not None:
                    work.task.cancel()
                elif work.withheld:
                    self.released(work)

    def drop(self, lanes: Collection[Lane]) -> None:
        """These lanes are gone, with all that is unfinished in them."""
        for lane in lanes:
            lane.state = LaneState.GONE
            for work in list(lane.works):
                self._release(work)
        self._order.close(set(lanes))
        self._turns.forget(lanes)

    def _release(self, work: Work) -> None:
        if work not in work.lane.works:
            return
        if work.outcome is not None:
            self._tally.discarded(work.outcome)
        work.lane.forget(work)
        self._let_go(work.size_bytes)

    def resume(self, lane: Lane) -> None:
        """Have a lane that could not go on do so, if it can now."""
        if lane.stalled and self._turns.resume(lane):
            self.start_workers()
            self.room.set()

    def _let_go(self, size_bytes: int) -> None:
        self.held -= 1
        self.held_bytes -= size_bytes
        if not self.room.is_set() and self.has_room():
            self.room.set()
