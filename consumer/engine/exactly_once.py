"""Exactly once: verdicts wait for the next transaction of their unit, which commits their offsets with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from consumer.engine.lane import LaneState
from consumer.errors import DeliveryRefused, Fenced, TransactionFailed, TransactionRefused


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.delivering import Ends, Settling
    from consumer.engine.lane import Lane, Work
    from consumer.engine.ports import Source, Unit
    from consumer.engine.tally import Tally
    from consumer.engine.way import Way
    from consumer.record import Partition, Position


__all__ = ["ExactlyOnce"]


_log = structlog.get_logger(__name__)

# More than the heartbeats need that tell a member of the group that it was replaced.
_DOUBT_SECONDS = 1.0


class _Box:
    """What waits for the next transaction of one unit, and what is known of the last one.

    `attempted` is what a failed transaction was to commit: only the group's offsets can tell whether it did.
    `suspects` counts the outcomes in front of which one at least is refused by the broker, `most` is how many of them
    the next transaction may have.
    """

    __slots__ = (
        "attempted",
        "closed",
        "fencing",
        "lanes",
        "leaving",
        "lock",
        "lost",
        "most",
        "not_fencing",
        "suspects",
        "unit",
        "waiting",
    )

    def __init__(self, unit: Unit, lanes: list[Lane]) -> None:
        self.unit = unit
        self.lanes = lanes
        self.lock = asyncio.Lock()
        self.waiting: list[Work] = []
        self.leaving: list[Work] = []
        self.attempted: dict[Partition, Position] | None = None
        self.suspects = 0
        self.most = 0
        self.lost = False
        self.closed = False
        self.fencing: asyncio.Timeout | None = None
        self.not_fencing = asyncio.Event()
        self.not_fencing.set()

    async def fence_again(self) -> bool:
        """Fence the unit after a failed transaction; False where its lanes were given up before that was done."""
        if self.closed:
            return False
        self.not_fencing.clear()
        try:
            async with asyncio.timeout(None) as self.fencing:
                await self.unit.fence()
        except TimeoutError:
            if not self.closed:
                raise
        finally:
            self.fencing = None
            self.not_fencing.set()
        return not self.closed

    async def close(self) -> None:
        """Let go of the unit. A fence that is still under way would take it from its next owner: it ends first."""
        self.closed = True
        if self.fencing is not None:
            self.fencing.reschedule(asyncio.get_running_loop().time())
        await self.not_fencing.wait()
        await self.unit.stop()

    def take(self) -> list[Work]:
        """The outcomes of the next transaction."""
        count = self.most if self.suspects else len(self.waiting)
        self.leaving, self.waiting = self.waiting[:count], self.waiting[count:]
        for work in self.leaving:
            work.slot.leave()
        return self.leaving

    def put_back(self) -> None:
        """They were not committed."""
        for work in self.leaving:
            work.slot.stay()
        self.waiting[:0] = self.leaving
        self.leaving = []

    def suspect(self, count: int) -> None:
        """One of the first so many is refused: fewer at a time, until it stands alone."""
        self.suspects = max(self.suspects, count)
        self.most = max(1, count // 2)

    def keep_back(self, works: Collection[Work]) -> None:
        """These wait for no transaction any more."""
        self.suspects = sum(work not in works for work in self.waiting[: self.suspects])
        self.waiting = [work for work in self.waiting if work not in works]

    def cleared(self, count: int) -> None:
        """So many went out well."""
        self.suspects = max(0, self.suspects - count)


class ExactlyOnce:
    """A unit for lanes that move together; its transactions are made one after the other, with all that has come up.

    After a failed transaction its unit is fenced anew and the group's offsets are read: they tell whether it was
    committed. What was not is sent again, and nothing of it is judged, or paid, twice.
    """

    def __init__(
        self,
        *,
        source: Source,
        units: Callable[[str], Unit],
        unit_of: Callable[[Partition], str],
        way: Way,
        tally: Tally,
        settling: Settling,
        ends: Ends,
        clock: Clock,
    ) -> None:
        self._source = source
        self._units = units
        self._unit_of = unit_of
        self._way = way
        self._tally = tally
        self._settling = settling
        self._ends = ends
        self._clock = clock
        self._boxes: dict[Lane, _Box] = {}
        self.note_bytes = settling.note_bytes

    async def take_over(self, lanes: Sequence[Lane]) -> Mapping[Partition, Position | None]:
        """Fence earlier owners first: until then they can still commit, and what is read is out of date."""
        by_unit: dict[str, list[Lane]] = {}
        for lane in lanes:
            by_unit.setdefault(self._unit_of(lane.partition), []).append(lane)
        boxes = [_Box(self._units(name), members) for name, members in by_unit.items()]
        for box in boxes:
            self._boxes.update(dict.fromkeys(box.lanes, box))
        await self._fence(boxes)
        return await self._source.committed([lane.partition for lane in lanes])

    async def deliver(self, work: Work) -> None:
        """Have a record's outcome wait for the next transaction."""
        box = self._boxes.get(work.lane)
        if box is None or box.lost:
            self._ends.released(work)
            return
        work.delivering = True
        box.waiting.append(work)

    async def flush(self) -> None:
        """Nothing is on its way outside of a commit."""

    async def commit(self, lanes: Collection[Lane], *, prove: bool = False) -> bool:
        """Make one transaction for each unit that has something to write.

        A transaction proves that nobody has the unit yet, and not that the group still counts on us: it is asked.
        """
        boxes = {id(box): box for lane in lanes if (box := self._boxes.get(lane)) is not None}
        vouched = not (boxes and prove) or await self._vouched()
        async with asyncio.TaskGroup() as tasks:
            done = [tasks.create_task(self._transact(box)) for box in boxes.values()]
        return vouched and all(task.result() for task in done)

    async def _vouched(self) -> bool:
        asked_at = self._settling.now()
        vouched = await self._source.vouch()
        if vouched:
            self._settling.proven(asked_at)
        return vouched

    async def close(self, lanes: Collection[Lane]) -> None:
        """Throw away what waits for these lanes, and stop their units' producers."""
        boxes = {id(box): box for lane in lanes if (box := self._boxes.pop(lane, None)) is not None}
        async with asyncio.TaskGroup() as tasks:
            for box in boxes.values():
                tasks.create_task(box.close())

    async def _fence(self, boxes: Collection[_Box]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for box in boxes:
                tasks.create_task(box.unit.fence())

    async def _transact(self, box: _Box) -> bool:
        async with box.lock:
            if box.lost or not await self._looked_up(box):
                return False
            batch = box.take()
            positions = self._settling.worth_it(box.lanes, prove=False)
            if not positions:
                box.put_back()
                return True
            box.attempted = positions
            try:
                await box.unit.transact([work.outcome.out for work in batch if work.outcome is not None], positions)
            except Fenced:
                await self._lose(box)
                return False
            except TransactionFailed as error:
                self._settling.refused()
                _log.warning("transaction_failed", error=str(error), records=len(batch))
                if await self._looked_up(box) and isinstance(error, TransactionRefused):
                    self._single_out(box, len(batch), error)
                return False
            await self._committed(box)
            return True

    async def _looked_up(self, box: _Box) -> bool:
        """Find out whether the last transaction was committed, where that is not known. False: it is left to others."""
        attempted = box.attempted
        if attempted is None:
            return True
        # A process that was replaced would fence the rightful owner: the group has the time to tell it first.
        await self._clock.sleep(_DOUBT_SECONDS)
        if not self._source.member or not await box.fence_again():
            return False
        # All lanes, not only those that were attempted: whoever had the unit meanwhile has changed one of them.
        before = {lane.partition: lane.committed for lane in box.lanes}
        found = await self._source.committed(list(before))
        if found == before | attempted:
            await self._committed(box)
        elif found == before:
            box.attempted = None
            box.put_back()
        else:
            await self._lose(box)
            return False
        return True

    async def _committed(self, box: _Box) -> None:
        batch, box.leaving = box.leaving, []
        positions, box.attempted = box.attempted or {}, None
        box.cleared(len(batch))
        now = self._clock.monotonic()
        for work in batch:
            if work.outcome is not None:
                self._tally.acknowledged(work.outcome, now - work.slot.since)
            self._ends.finished(work)
        await self._settling.done(box.lanes, positions)

    def _single_out(self, box: _Box, count: int, error: TransactionRefused) -> None:
        """Fewer records in the next transaction; one that is refused alone becomes a dead letter."""
        if count > 1:
            box.suspect(count)
            return
        work = box.waiting[0] if count else None
        was_verdict = work is not None and work.outcome is not None and work.outcome.error is None
        if work is None or not self._way.retell(work, DeliveryRefused(str(error), code="too_large")):
            self._ends.failed(error)
        elif was_verdict:
            box.keep_back(self._ends.withheld(work, box.waiting[1:]))

    async def _lose(self, box: _Box) -> None:
        """Another process has the unit: leave its lanes to it, and join the group anew."""
        box.lost = True
        box.attempted = None
        self._settling.refused("fenced")
        _log.warning("fenced", lanes=[str(lane.partition) for lane in box.lanes])
        self._ends.lost([lane for lane in box.lanes if lane.state is not LaneState.GONE])
        await self._source.rejoin()
