"""The flow: records are polled into lanes, worked on in a sliding window, delivered, and committed from below."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from consumer.engine import notes, offset_map
from consumer.engine.at_least_once import AtLeastOnce
from consumer.engine.care import Care
from consumer.engine.delivering import Settling
from consumer.engine.exactly_once import ExactlyOnce
from consumer.engine.lane import Lane, LaneState
from consumer.engine.limits import AtLeast
from consumer.engine.window import Window
from consumer.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from consumer.clock import Clock
    from consumer.engine.delivering import Delivering
    from consumer.engine.letter_limit import LetterLimit
    from consumer.engine.limits import Exactly, Limits
    from consumer.engine.ports import Proofs, Source
    from consumer.engine.tally import Tally
    from consumer.engine.way import Way
    from consumer.metrics import Metrics
    from consumer.record import Partition, Position, Record


__all__ = ["Engine"]


_log = structlog.get_logger(__name__)

# A commit that notes where lanes start is tried again after so long, until it is done or the lanes are gone.
_RETRY_SECONDS = 0.2
# So long is waited for records of some lanes while others are full.
_LEFT_OUT_POLL_SECONDS = 0.05
# So long is waited at a time while lanes are about to open.
_OPENING_POLL_SECONDS = 0.02
# So often the brokers are waited for from an answer to the end of its commit.
_TRIPS_TO_A_COMMIT = 3
# So many records may have been done since the last commit when the process died, and are not known to be harmless.
_SINCE_A_COMMIT = 1000


class Engine:
    """Runs lanes from assignment to revocation. It knows its source, the way of an event and how outcomes leave.

    Args:
        source: Where records come from, and who says which partitions are ours.
        guarantee: How outcomes and offsets reach the brokers.
        way: The steps from a record to its outcome.
        limits: How much is held, and for how long.
        tally: Counts what is done.
        metrics: Where everything else is counted.
        clock: The time.
        paused: Whether nothing can be judged now, so that nothing should be read.
        settled: Told of records that were parked, when what became of them is committed.
        prepare: Awaited in each takeover, after earlier owners were fenced and before anything is read.
        proofs: Told of each fenced write that succeeds.
        letter_limit: Says when dead letters are too many.
        weight: The weight of a topic: its part of the turns while others wait, too.
    """

    def __init__(
        self,
        *,
        source: Source,
        guarantee: AtLeast | Exactly,
        way: Way,
        limits: Limits,
        tally: Tally,
        metrics: Metrics,
        clock: Clock,
        paused: Callable[[], bool] = lambda: False,
        settled: Callable[[Sequence[Record]], Awaitable[None]] | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        proofs: Proofs | None = None,
        letter_limit: LetterLimit | None = None,
        weight: Callable[[str], int] = lambda _: 1,
    ) -> None:
        self._source = source
        self._weight = weight
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._paused = paused
        self._prepare = prepare
        self._proofs = proofs
        self._window = Window(
            way=way, limits=limits, tally=tally, metrics=metrics, clock=clock, letter_limit=letter_limit
        )
        settling = Settling(metrics=metrics, proofs=proofs, settled=settled)
        self._delivering = _delivering(guarantee, source, way, tally, settling, self._window, clock)
        self.lanes: dict[Partition, Lane] = {}
        self._care = Care(
            limits.max_in_flight + _SINCE_A_COMMIT,
            lanes=self.lanes.values,
            commit=lambda: self._delivering.commit(list(self.lanes.values())),
            clock=clock,
        )
        self.stopping = False
        self.joined = False
        """Whether the group has let us in, be it to stand by."""
        self.turned_at = clock.monotonic()
        self._epoch = 0
        self._turn = 0
        self._opens_at = 0.0
        self._takeover: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain, flush and commit within the limits.

        When cancelled it stops at once: what was in flight is judged again by whoever owns its partitions next.

        Raises:
            StartError: the brokers take too little metadata for what is promised.
            Exception: whatever a source or a sink cannot recover from; nothing unfinished was committed.
        """
        stopped = asyncio.ensure_future(stop.wait())
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                window = self._window
                window.open(tasks, self._delivering, self._care)
                try:
                    await self._source.start(self)
                    self._budget_notes()
                    loops = [
                        tasks.create_task(self._poll_loop(), name="poll"),
                        tasks.create_task(self._commit_loop(), name="commit"),
                    ]
                    await asyncio.wait((stopped, window.failure), return_when=asyncio.FIRST_COMPLETED)
                    if window.failure.done():
                        window.failure.result()
                    self.stopping = True
                    await self.revoked(list(self.lanes))
                    if window.failure.done():
                        window.failure.result()
                    for task in loops:
                        task.cancel()
                finally:
                    window.close()
        finally:
            stopped.cancel()
            await self._source.stop()

    def _budget_notes(self) -> None:
        budget = notes.budget_bytes(self._source.metadata_limit)
        if budget < offset_map.LEAST_BUDGET_BYTES and isinstance(self._delivering, ExactlyOnce):
            raise StartError(
                f"the brokers take {self._source.metadata_limit} characters of metadata with an offset, which is too "
                "little for exactly_once",
                "raise the brokers' offset.metadata.max.bytes to its default of 4096, or choose at_least_once",
            )
        self._delivering.note_bytes = budget

    # What the source tells us

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions are ours: closed lanes now, opened when their positions are known."""
        self.joined = True
        self._epoch += 1
        lanes = [Lane(each, self._epoch, weight=self._weight(each.topic)) for each in partitions]
        for lane in lanes:
            self._window.follow(lane)
            self.lanes[lane.partition] = lane
        self._metrics.counter("rebalances").labels("assigned").inc()
        self._metrics.gauge("lanes").set(len(self.lanes))
        _log.info("assigned", partitions=[str(lane.partition) for lane in lanes], epoch=self._epoch)
        # What comes in the middle of a stop is left alone: the group hears at its end that we leave.
        if lanes and self._tasks is not None and not self.stopping:
            self._takeover = self._tasks.create_task(self._take_over(lanes), name="takeover")

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions go to somebody else: start nothing more, finish what is on the wire, deliver, commit.

        All of them share one time limit; what is not finished by then is left to the next owner.
        """
        lanes = [self.lanes[partition] for partition in partitions if partition in self.lanes]
        if not lanes:
            return
        await self._abandon_takeover()
        for lane in lanes:
            if lane.state in (LaneState.OPENING, LaneState.OPEN):
                lane.state = LaneState.DRAINING
        self._window.give_up_waiting(lanes)
        if self._source.member:  # else their next owner is at work already
            await self._drain(lanes)
        self._window.drop(lanes)
        await self._delivering.close(lanes)
        for lane in lanes:
            if self.lanes.get(lane.partition) is lane:
                del self.lanes[lane.partition]
                self._forget_lag(lane.partition)
        if not self.lanes and self._proofs is not None:
            self._proofs.released()
        self._metrics.counter("rebalances").labels("revoked").inc()
        self._metrics.gauge("lanes").set(len(self.lanes))
        _log.info("revoked", partitions=[str(lane.partition) for lane in lanes])

    async def _drain(self, lanes: Sequence[Lane]) -> None:
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                for lane in lanes:
                    await lane.emptied()
        except TimeoutError:
            left = sum(len(lane.works) for lane in lanes)
            _log.warning("drain_incomplete", unfinished=left, seconds=self._limits.drain_seconds)
        for lane in lanes:
            lane.survived()
        try:
            async with asyncio.timeout(self._limits.flush_seconds):
                await self._delivering.flush()
                await self._delivering.commit(lanes)
        except TimeoutError:
            _log.warning("commit_incomplete", seconds=self._limits.flush_seconds)

    # Taking over

    async def _take_over(self, lanes: Sequence[Lane]) -> None:
        """The one order that is sound: fence and read, catch up with the state, move, note the start, wait, open."""
        began_at = self._clock.monotonic()
        committed = await self._delivering.take_over(lanes)
        # Whoever had them sends nothing more: the group has heard that it let go of them, or it was shut for long
        # before the group forgot it. The window of its quota passes while the rest is done.
        self._opens_at = self._clock.monotonic() + self._limits.takeover_seconds
        if self._prepare is not None:
            await self._prepare()
        starts = await self._source.seek({lane.partition: committed.get(lane.partition) for lane in lanes})
        ours = [lane for lane in lanes if lane.partition in starts and lane.state is LaneState.CLOSED]
        for lane in ours:
            self._begin(lane, starts[lane.partition], committed.get(lane.partition))
        while not await self._delivering.commit(ours, prove=True):
            await self._clock.sleep(_RETRY_SECONDS)
        await self._clock.sleep(self._opens_at - self._clock.monotonic())
        now = self._clock.monotonic()
        window = self._window
        for lane in ours:
            if lane.state is LaneState.OPENING:
                lane.state = LaneState.OPEN
                lane.opened_at = now
                window.resume(lane)
        self._metrics.counter("takeovers").inc()
        self._metrics.histogram("takeover_seconds").observe(now - began_at)
        _log.info("opened", lanes=len(ours), seconds=round(now - began_at, 3))
        window.room.set()

    def _begin(self, lane: Lane, start: int, committed: Position | None) -> None:
        note = None
        if committed is not None and committed.metadata:
            # Where the log begins above what is committed, the note still says what is done there.
            note = notes.read(committed.offset, committed.metadata)
            self._metrics.counter("commit_notes").labels("read" if note is not None else "foreign").inc()
        if lane.begin_at(start, committed=committed, note=note, budget_bytes=self._delivering.note_bytes):
            self._care.take()

    async def _abandon_takeover(self) -> None:
        takeover, self._takeover = self._takeover, None
        if takeover is not None:
            takeover.cancel()
            await asyncio.wait({takeover})

    # The loops

    async def _poll_loop(self) -> None:
        window = self._window
        while not self.stopping:
            ready = self._ready()
            if not ready and self._open_lanes() and not self.paused:
                # Full: wait for room, but turn often enough for the membership's sake.
                window.room.clear()
                if not window.has_room():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._limits.poll_seconds):
                            await window.room.wait()
                        continue
            patience = self._limits.poll_seconds if ready else self._idle_seconds()
            if ready and not all(map(window.has_room, self._open_lanes())):
                # Lanes of another weight are full: they must not run dry while these have nothing.
                patience = min(patience, _LEFT_OUT_POLL_SECONDS)
            polled = await self._source.poll(ready, patience)
            self.turned_at = self._clock.monotonic()
            for partition, records in polled.items():
                lane = self.lanes.get(partition)
                # A poll from before the assignment may bring records of a lane that is about to open: they wait.
                if lane is not None and lane.state in (LaneState.OPENING, LaneState.OPEN):
                    window.take_in(lane, records)
            window.start_workers()
            # A source that always has something must not starve what was started from it.
            await asyncio.sleep(0)

    def _idle_seconds(self) -> float:
        """How long to wait where nothing is to be read: no longer than until lanes open."""
        usual = self._limits.idle_poll_seconds
        if self._takeover is None or self._takeover.done():
            return usual
        return min(usual, max(self._opens_at - self._clock.monotonic(), _OPENING_POLL_SECONDS))

    async def _commit_loop(self) -> None:
        interval = pause = self._limits.commit_interval_seconds
        while True:
            await self._clock.sleep(pause)
            began_at = self._clock.monotonic()
            lanes = list(self.lanes.values())
            self._look_after(lanes)
            await self._delivering.commit(lanes, prove=self._proofs is not None and self._proofs.proof_due)
            self._observe()
            # An answer is to be committed within the interval: before its commit is done, the brokers have taken its
            # verdict, the commit that came too early for it, and its own.
            took = self._clock.monotonic() - began_at
            pause = max(interval - _TRIPS_TO_A_COMMIT * took, interval / 2)

    def _open_lanes(self) -> list[Lane]:
        return [lane for lane in self.lanes.values() if lane.state is LaneState.OPEN and not lane.stalled]

    def _ready(self) -> list[Partition]:
        """The lanes that may bring more, in turn, and no more of them than the memory budget has room for."""
        window, limits, paused = self._window, self._limits, self.paused
        # A pause ends when a record that waits finds out that it may: where none does, one lane has to bring some.
        if (paused and window.held) or not window.has_room():
            return []
        lanes = [lane for lane in self._open_lanes() if window.has_room(lane)]
        room = 1 if paused else max(1, (limits.memory_budget_bytes - window.held_bytes) // limits.fetch_bytes)
        if len(lanes) > room:
            self._turn = (self._turn + room) % len(lanes)
            lanes = (lanes[self._turn :] + lanes[: self._turn])[:room]
        return [lane.partition for lane in lanes]

    def _look_after(self, lanes: Iterable[Lane]) -> None:
        now = self._clock.monotonic()
        passed = self._source.positions()
        for lane in lanes:
            if lane.state is not LaneState.OPEN:
                continue
            self._care.look_after(lane, now)
            if lane.idle:
                # What was passed over is no record: markers of transactions, or what compaction took away.
                lane.tracker.pass_over(passed.get(lane.partition, 0))

    def _observe(self) -> None:
        gauge = self._metrics.gauge
        gauge("in_flight").set(self.in_flight)
        gauge("in_flight_bytes").set(self._window.held_bytes)
        gauge("oldest_unfinished_seconds").set(self.oldest_unfinished_seconds)
        unread = self._source.lag()
        for lane in self.lanes.values():
            lag = unread.get(lane.partition, 0) + len(lane.waiting) + lane.unfinished
            gauge("lag_records").labels(lane.partition.topic, str(lane.partition.partition)).set(lag)

    def _forget_lag(self, partition: Partition) -> None:
        self._metrics.gauge("lag_records").remove(partition.topic, str(partition.partition))

    # What others may see

    @property
    def paused(self) -> bool:
        """Whether nothing can be judged, so that nothing should be read."""
        return self.letters_held is not None or self._paused()

    @property
    def letters_held(self) -> str | None:
        """Why everything is held, where dead letters are too many."""
        return self._window.letters_held

    @property
    def in_flight(self) -> int:
        """Records being worked on, or waiting for their acknowledgement; those parked are not among them."""
        return self._window.in_flight

    @property
    def oldest_unfinished_seconds(self) -> float:
        """Age of the record that has been worked on the longest; 0 where there is none."""
        now = self._clock.monotonic()
        return max((now - oldest.since for lane in self.lanes.values() if (oldest := lane.tracker.oldest)), default=0.0)


def _delivering(
    guarantee: AtLeast | Exactly, source: Source, way: Way, tally: Tally, settling: Settling, ends: Window, clock: Clock
) -> Delivering:
    if isinstance(guarantee, AtLeast):
        return AtLeastOnce(
            source=source,
            verdicts=guarantee.verdicts,
            dead_letters=guarantee.dead_letters,
            way=way,
            tally=tally,
            settling=settling,
            ends=ends,
            clock=clock,
        )
    return ExactlyOnce(
        source=source,
        units=guarantee.units,
        unit_of=guarantee.unit_of,
        way=way,
        tally=tally,
        settling=settling,
        ends=ends,
        clock=clock,
    )
