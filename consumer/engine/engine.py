"""The flow: records are polled into lanes, worked on in a sliding window, delivered, and committed from below."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from consumer.engine import offset_map
from consumer.engine.lane import Lane, LaneState
from consumer.engine.turns import Turns
from consumer.errors import DeliveryRefused, LaneClosed, NoteRefused
from consumer.record import Position


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from consumer.clock import Clock
    from consumer.engine.lane import Work
    from consumer.engine.ports import Sink, Source
    from consumer.engine.tally import Tally
    from consumer.engine.way import Outcome, Way
    from consumer.metrics import Metrics
    from consumer.record import Partition, Record


__all__ = ["Engine", "Limits"]


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the engine holds, and how long its steps may take. `fetch_bytes` is what one poll may bring a lane."""

    max_in_flight: int
    memory_budget_bytes: int
    commit_interval_seconds: float
    drain_seconds: float
    flush_seconds: float
    skip_null: bool
    fetch_bytes: int = 256 * 1024
    poll_seconds: float = 0.5
    idle_poll_seconds: float = 0.1


class Engine:
    """Runs lanes from assignment to revocation. It knows its source, its sinks and the way of an event, and no more.

    At least once: an offset is committed only when everything below it has been acknowledged by the broker.
    """

    def __init__(
        self,
        *,
        source: Source,
        verdicts: Sink,
        dead_letters: Sink,
        way: Way,
        limits: Limits,
        tally: Tally,
        metrics: Metrics,
        clock: Clock,
        paused: Callable[[], bool] = lambda: False,
        settled: Callable[[Sequence[Record]], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._verdicts = verdicts
        self._dead_letters = dead_letters
        self._way = way
        self._limits = limits
        self._tally = tally
        self._metrics = metrics
        self._clock = clock
        self._paused = paused
        self._settled = settled

        self.lanes: dict[Partition, Lane] = {}
        self.stopping = False
        self.turned_at = clock.monotonic()
        self._epoch = 0
        self._turns = Turns(dropped=self._let_go, stalled=self._stalled)
        self._workers: set[asyncio.Task[None]] = set()
        self._parked = 0
        self._note_bytes = offset_map.BUDGET_BYTES
        self._held = 0
        self._held_bytes = 0
        self._turn = 0
        self._room = asyncio.Event()
        self._takeovers: asyncio.Queue[list[Lane]] = asyncio.Queue()
        self._committing = asyncio.Lock()
        self._failed: asyncio.Future[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain, flush and commit within the limits.

        When cancelled it stops at once: what was in flight is judged again by whoever owns its partitions next.

        Raises:
            Exception: whatever a source or a sink cannot recover from; nothing unfinished was committed.
        """
        self._failed = asyncio.get_running_loop().create_future()
        stopped = asyncio.ensure_future(stop.wait())
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._source.start(self)
                self._note_bytes = offset_map.budget_bytes(self._source.metadata_limit)
                loops = [
                    tasks.create_task(self._poll_loop(), name="poll"),
                    tasks.create_task(self._takeover_loop(), name="takeover"),
                    tasks.create_task(self._commit_loop(), name="commit"),
                ]
                await asyncio.wait((stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
                if self._failed.done():
                    self._failed.result()
                self.stopping = True
                await self.revoked(list(self.lanes))
                for task in (*loops, *self._workers):
                    task.cancel()
        finally:
            stopped.cancel()
            self._failed.cancel()
            await self._source.stop()

    # What the source tells us

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions are ours: closed lanes now, opened when their positions are known."""
        self._epoch += 1
        lanes = [Lane(partition, self._epoch, self._parking) for partition in partitions]
        for lane in lanes:
            self.lanes[lane.partition] = lane
        self._metrics.counter("rebalances").labels("assigned").inc()
        self._metrics.gauge("lanes").set(len(self.lanes))
        self._takeovers.put_nowait(lanes)
        _log.info("assigned", partitions=[str(lane.partition) for lane in lanes], epoch=self._epoch)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions go to somebody else: start nothing more, finish what is on the wire, deliver, commit.

        All of them share one time limit; what is not finished by then is left to the next owner.
        """
        lanes = [self.lanes[partition] for partition in partitions if partition in self.lanes]
        if not lanes:
            return
        for lane in lanes:
            lane.state = LaneState.DRAINING
        self._give_up_waiting(lanes)
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                for lane in lanes:
                    await lane.emptied()
        except TimeoutError:
            left = sum(len(lane.works) for lane in lanes)
            _log.warning("drain_incomplete", unfinished=left, seconds=self._limits.drain_seconds)
        try:
            async with asyncio.timeout(self._limits.flush_seconds):
                await self._verdicts.flush()
                await self._dead_letters.flush()
                await self._commit(lanes)
        except TimeoutError:
            _log.warning("commit_incomplete", seconds=self._limits.flush_seconds)
        for lane in lanes:
            lane.state = LaneState.GONE
            for work in list(lane.works):
                self._release(work)
            if self.lanes.get(lane.partition) is lane:
                del self.lanes[lane.partition]
                self._forget_lag(lane.partition)
        self._metrics.counter("rebalances").labels("revoked").inc()
        self._metrics.gauge("lanes").set(len(self.lanes))
        _log.info("revoked", partitions=[str(lane.partition) for lane in lanes])

    # The loops

    async def _poll_loop(self) -> None:
        while not self.stopping:
            ready = self._ready()
            if not ready and self._open_lanes() and not self._paused():
                # Full: wait for room, but turn often enough for the membership's sake.
                self._room.clear()
                if not self._has_room():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._room.wait(), self._limits.poll_seconds)
                        continue
            patience = self._limits.poll_seconds if ready else self._limits.idle_poll_seconds
            polled = await self._source.poll(ready, patience)
            self.turned_at = self._clock.monotonic()
            for partition, records in polled.items():
                self._take_in(partition, records)
            self._start_workers()
            # A source that always has something must not starve what was started from it.
            await asyncio.sleep(0)

    async def _takeover_loop(self) -> None:
        while True:
            lanes = await self._takeovers.get()
            partitions = [lane.partition for lane in lanes]
            committed = await self._source.committed(partitions)
            lanes = [lane for lane in lanes if self.lanes.get(lane.partition) is lane]
            starts = await self._source.seek({lane.partition: committed.get(lane.partition) for lane in lanes})
            for lane in lanes:
                if lane.state is LaneState.CLOSED and lane.partition in starts:
                    self._open(lane, starts[lane.partition], committed.get(lane.partition))
            self._room.set()

    def _open(self, lane: Lane, start: int, committed: Position | None) -> None:
        known = None
        if committed is not None and committed.metadata and committed.offset == start:
            known = offset_map.decode(start, committed.metadata)
            self._metrics.counter("commit_notes").labels("read" if known is not None else "foreign").inc()
        done = None if committed is None else committed.offset
        lane.open(start, committed=done, known=known, budget_bytes=self._note_bytes)

    async def _commit_loop(self) -> None:
        while True:
            await self._clock.sleep(self._limits.commit_interval_seconds)
            await self._commit(list(self.lanes.values()))
            self._observe()

    # Taking in

    def _open_lanes(self) -> list[Lane]:
        return [lane for lane in self.lanes.values() if lane.state is LaneState.OPEN and not lane.stalled]

    def _has_room(self) -> bool:
        limits = self._limits
        return self._turns.startable < limits.max_in_flight and (
            self._held == 0 or self._held_bytes + limits.fetch_bytes <= limits.memory_budget_bytes
        )

    def _ready(self) -> list[Partition]:
        """The lanes that may bring more, in turn, and no more of them than the memory budget has room for."""
        paused = self._paused()
        # A pause ends when a record that waits finds out that it may: where none does, one lane has to bring some.
        if (paused and self._held) or not self._has_room():
            return []
        lanes = self._open_lanes()
        room = (
            1 if paused else max(1, (self._limits.memory_budget_bytes - self._held_bytes) // self._limits.fetch_bytes)
        )
        if len(lanes) > room:
            self._turn = (self._turn + room) % len(lanes)
            lanes = (lanes[self._turn :] + lanes[: self._turn])[:room]
        return [lane.partition for lane in lanes]

    def _take_in(self, partition: Partition, records: Sequence[Record]) -> None:
        lane = self.lanes.get(partition)
        if lane is None or lane.state is not LaneState.OPEN:
            return
        self._tally.read(partition.topic, len(records))
        self._held += len(records)
        self._held_bytes += self._turns.take_in(lane, records, self._clock.monotonic())

    def _start_workers(self) -> None:
        if self._tasks is None:
            return
        free = self._limits.max_in_flight - (len(self._workers) - self._parked)
        for _ in range(min(self._turns.startable, free)):
            worker = self._tasks.create_task(self._worker())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    # Working

    def _stalled(self, lane: Lane) -> None:
        self._metrics.counter("lane_stalls").labels(lane.partition.topic).inc()

    def _parking(self, change: int) -> None:
        """A record was parked, or its wait is over: the window has room for one more, or one less."""
        self._parked += change
        if change > 0 and not self.stopping:
            self._start_workers()

    async def _worker(self) -> None:
        """Work on one record after the other while any waits; then end. A worker per record in flight is the window."""
        work: Work | None = None
        try:
            while (work := self._turns.next()) is not None:
                if self._turns.startable < self._limits.max_in_flight:
                    self._room.set()
                if work.record.value is None and self._limits.skip_null:
                    self._tally.skipped(work.record.partition.topic)
                    self._finish(work)
                    continue
                work.task = asyncio.current_task()
                try:
                    outcome = await self._way.walk(work)
                except LaneClosed:
                    self._release(work)
                    continue
                work.task = None
                if work.lane.state is LaneState.GONE:
                    self._discard(outcome)
                    continue
                work.delivering = True
                await self._deliver(work, outcome)
        except asyncio.CancelledError:
            # Either this record was given up with its lane, or everything stops.
            if work is None or work.lane.state in (LaneState.OPEN, LaneState.CLOSED):
                raise
            self._release(work)

    async def _deliver(self, work: Work, outcome: Outcome) -> None:
        sink = self._verdicts if outcome.error is None else self._dead_letters
        try:
            delivered = await sink.send(outcome.out)
        except DeliveryRefused as error:
            await self._refused(work, outcome, error)
            return
        delivered.add_done_callback(partial(self._delivered, work, outcome))

    def _delivered(self, work: Work, outcome: Outcome, delivered: asyncio.Future[None]) -> None:
        if delivered.cancelled():
            self._release(work)
            return
        error = delivered.exception()
        if error is None:
            self._tally.acknowledged(outcome, self._clock.monotonic() - work.slot.since)
            self._finish(work)
        elif isinstance(error, DeliveryRefused) and self._tasks is not None:
            self._tasks.create_task(self._refused(work, outcome, error))
        else:
            self._fail(error)

    async def _refused(self, work: Work, outcome: Outcome, error: DeliveryRefused) -> None:
        """A verdict that the broker will never take becomes a dead letter; a dead letter has nowhere else to go."""
        if outcome.error is not None:
            self._fail(error)
            return
        await self._deliver(work, self._way.refuse(work, error, outcome.route))

    def _discard(self, outcome: Outcome) -> None:
        if outcome.verdict is not None:
            for service in outcome.verdict.judgement.services:
                self._metrics.counter("discarded_answers").labels(service).inc()

    # Letting go

    def _finish(self, work: Work) -> None:
        # An acknowledgement may come after its lane was given up, and all that was held for it with it.
        if work not in work.lane.works:
            return
        work.lane.finish(work)
        self._let_go(work.size_bytes)
        if work.lane.stalled and self._turns.resume(work.lane):
            self._start_workers()

    def _release(self, work: Work) -> None:
        if work in work.lane.works:
            work.lane.forget(work)
            self._let_go(work.size_bytes)

    def _let_go(self, size_bytes: int) -> None:
        self._held -= 1
        self._held_bytes -= size_bytes
        if not self._room.is_set() and self._has_room():
            self._room.set()

    def _give_up_waiting(self, lanes: Iterable[Lane]) -> None:
        """Forget the records of these lanes for which nothing was sent yet; leave those that are paid for."""
        for lane in lanes:
            self._turns.give_up(lane)
            for work in list(lane.works):
                if not work.paid_for and not work.delivering and work.task is not None:
                    work.task.cancel()

    async def _commit(self, lanes: Collection[Lane]) -> None:
        async with self._committing:
            positions = {
                lane.partition: position
                for lane in lanes
                if lane.state in (LaneState.OPEN, LaneState.DRAINING)
                and (position := Position(lane.tracker.position, lane.tracker.note()))
                != (lane.committed, lane.committed_note)
            }
            if not positions:
                return
            try:
                done = await self._source.commit(positions)
            except NoteRefused:
                positions = self._without_notes(positions)
                done = await self._source.commit(positions)
            self._metrics.counter("commits").labels("done" if done else "refused").inc()
            if not done:
                return
            settled: list[Record] = []
            for lane in lanes:
                if lane.partition in positions:
                    settled += lane.committed_to(*positions[lane.partition])
            if settled and self._settled is not None:
                await self._settled(settled)

    def _without_notes(self, positions: dict[Partition, Position]) -> dict[Partition, Position]:
        """The broker takes less than it said: the bare offsets now, and shorter notes from now on."""
        self._metrics.counter("commits").labels("note_refused").inc()
        self._note_bytes //= 2
        _log.warning("commit_note_refused", budget_bytes=self._note_bytes)
        for lane in self.lanes.values():
            lane.tracker.budget_bytes = self._note_bytes
        return {partition: Position(at.offset) for partition, at in positions.items()}

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _observe(self) -> None:
        gauge = self._metrics.gauge
        gauge("in_flight").set(self.in_flight)
        gauge("in_flight_bytes").set(self._held_bytes)
        gauge("oldest_unfinished_seconds").set(self.oldest_unfinished_seconds)
        unread = self._source.lag()
        for lane in self.lanes.values():
            lag = unread.get(lane.partition, 0) + len(lane.waiting) + lane.unfinished
            gauge("lag_records").labels(lane.partition.topic, str(lane.partition.partition)).set(lag)

    def _forget_lag(self, partition: Partition) -> None:
        with suppress(KeyError):  # a lane that went before its lag was first observed
            self._metrics.gauge("lag_records").remove(partition.topic, str(partition.partition))

    # What others may see

    @property
    def in_flight(self) -> int:
        """Records being worked on, or waiting for their acknowledgement; those parked are not among them."""
        return self._held - self._turns.waiting - self._parked

    @property
    def oldest_unfinished_seconds(self) -> float:
        """Age of the record that has been worked on the longest; 0 where there is none."""
        now = self._clock.monotonic()
        return max((now - oldest.since for lane in self.lanes.values() if (oldest := lane.tracker.oldest)), default=0.0)
