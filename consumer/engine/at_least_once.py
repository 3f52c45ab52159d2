"""At least once: verdicts leave as soon as they can, and an offset is committed after all below it is acknowledged."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from consumer.errors import DeliveryRefused, NoteRefused
from consumer.record import Position


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.delivering import Ends, Settling
    from consumer.engine.lane import Lane, Work
    from consumer.engine.ports import Sink, Source
    from consumer.engine.tally import Tally
    from consumer.engine.way import Way
    from consumer.record import Partition


__all__ = ["AtLeastOnce"]


_log = structlog.get_logger(__name__)


class AtLeastOnce:
    """Verdicts and dead letters go to a sink each, so that trouble with one kind of record does not stop the other."""

    def __init__(
        self,
        *,
        source: Source,
        verdicts: Sink,
        dead_letters: Sink,
        way: Way,
        tally: Tally,
        settling: Settling,
        ends: Ends,
        clock: Clock,
    ) -> None:
        self._source = source
        self._verdicts = verdicts
        self._dead_letters = dead_letters
        self._way = way
        self._tally = tally
        self._settling = settling
        self._ends = ends
        self._clock = clock
        self._committing = asyncio.Lock()
        self._lanes: set[Lane] = set()
        self._handed_over: dict[Lane, set[asyncio.Future[None]]] = {}
        self.note_bytes = settling.note_bytes

    async def take_over(self, lanes: Sequence[Lane]) -> Mapping[Partition, Position | None]:
        """Read where the lanes stand: an earlier owner's commits are refused by the group itself."""
        self._lanes.update(lanes)
        return await self._source.committed([lane.partition for lane in lanes])

    async def deliver(self, work: Work) -> None:
        """Hand a record's outcome to its sink; it is done when the broker acknowledges it.

        When cancelled, the outcome is not written.
        """
        outcome = work.outcome
        if outcome is None:
            return
        if self._settling.in_doubt:
            # Its answer lay in the socket while the process stood still; whoever took over meanwhile writes it too.
            await self._settling.certain()
            if work not in work.lane.works:
                return
        work.delivering = True
        sink = self._verdicts if outcome.error is None else self._dead_letters
        delivered = await sink.send(outcome.out)
        if work not in work.lane.works:
            delivered.cancel()
            return
        handed_over = self._handed_over.get(work.lane)
        if handed_over is None:
            handed_over = self._handed_over[work.lane] = set()
        handed_over.add(delivered)
        delivered.add_done_callback(partial(self._delivered, work))

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        await self._verdicts.flush()
        await self._dead_letters.flush()

    async def commit(self, lanes: Collection[Lane], *, prove: bool = False) -> bool:
        """Commit how far these lanes are."""
        async with self._committing:
            positions = self._settling.worth_it(lanes, prove=prove)
            if not positions:
                return True
            sent_at = self._settling.now()
            try:
                done = await self._source.commit(positions)
            except NoteRefused:
                positions = self._without_notes(positions)
                done = await self._source.commit(positions)
            if not done:
                self._settling.refused()
                return False
            self._settling.proven(sent_at)
            await self._settling.done(lanes, positions)
            return True

    async def close(self, lanes: Collection[Lane]) -> None:
        """Take back what was not sent yet: whoever has these lanes now writes it too."""
        self._lanes.difference_update(lanes)
        for lane in lanes:
            for delivered in self._handed_over.pop(lane, ()):
                delivered.cancel()

    def _delivered(self, work: Work, delivered: asyncio.Future[None]) -> None:
        if (handed_over := self._handed_over.get(work.lane)) is not None:
            handed_over.discard(delivered)
        if delivered.cancelled():
            self._ends.released(work)
            return
        error = delivered.exception()
        if error is None:
            if work.outcome is not None:
                self._tally.acknowledged(work.outcome, self._clock.monotonic() - work.slot.since)
            self._ends.finished(work)
        elif isinstance(error, DeliveryRefused):
            self._refused(work, error)
        else:
            self._ends.failed(error)

    def _refused(self, work: Work, error: DeliveryRefused) -> None:
        """Another outcome takes the place of one that the broker will never take."""
        if work not in work.lane.works:
            return
        was_verdict = work.outcome is not None and work.outcome.error is None
        if not self._way.retell(work, error):
            self._ends.failed(error)
        elif not (was_verdict and self._ends.withheld(work)):
            self._ends.start_soon(self.deliver(work))

    def _without_notes(self, positions: dict[Partition, Position]) -> dict[Partition, Position]:
        """The broker takes less than it said: the bare offsets now, and shorter notes from now on."""
        self._settling.refused("note_refused")
        self.note_bytes //= 2
        _log.warning("commit_note_refused", budget_bytes=self.note_bytes)
        for lane in self._lanes:
            lane.tracker.budget_bytes = self.note_bytes
        return {partition: Position(at.offset) for partition, at in positions.items()}
