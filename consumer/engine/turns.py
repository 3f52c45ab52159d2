"""Whose turn it is: lanes take turns, each with its oldest record, as long as a commit can note what is done."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consumer.engine.lane import LaneState, Waiting


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.engine.lane import Lane, Work
    from consumer.record import Record


__all__ = ["Turns"]


class Turns:
    """The records that were read and wait for a worker, by lane.

    `dropped` is told the bytes of a record that needs no work; `stalled` is told of a lane that can take no more until
    one of its oldest records is done. `startable` counts the records of all lanes but the stalled ones.
    """

    __slots__ = ("_dropped", "_lanes", "_stalled", "startable", "waiting")

    def __init__(self, *, dropped: Callable[[int], None], stalled: Callable[[Lane], None]) -> None:
        self._dropped = dropped
        self._stalled = stalled
        self._lanes: deque[Lane] = deque()
        self.waiting = 0
        self.startable = 0

    def take_in(self, lane: Lane, records: Sequence[Record], since: float) -> int:
        """Have records wait, in their order; returns how many bytes they hold."""
        size_bytes = 0
        for record in records:
            waiting = Waiting(record, since, record.size_bytes)
            lane.waiting.append(waiting)
            size_bytes += waiting.size_bytes
        self.waiting += len(records)
        if not lane.stalled:
            self.startable += len(records)
            self._give_turn(lane)
        return size_bytes

    def next(self) -> Work | None:
        """The next record to work on, or None while there is none that may be started."""
        while self._lanes:
            lane = self._lanes.popleft()
            lane.in_turn = False
            work = self._start(lane)
            self._give_turn(lane)
            if work is not None:
                return work
        return None

    def resume(self, lane: Lane) -> bool:
        """A record of a stalled lane is done; True where the lane may go on."""
        if lane.waiting and not lane.tracker.fits(lane.waiting[0].record.offset):
            return False
        lane.stalled = False
        self.startable += len(lane.waiting)
        self._give_turn(lane)
        return True

    def give_up(self, lane: Lane) -> None:
        """Forget what waits in a lane: its next owner reads it again."""
        self.waiting -= len(lane.waiting)
        self.startable -= 0 if lane.stalled else len(lane.waiting)
        while lane.waiting:
            self._dropped(lane.waiting.popleft().size_bytes)

    def _start(self, lane: Lane) -> Work | None:
        while lane.waiting and lane.state is LaneState.OPEN:
            head = lane.waiting[0]
            if not lane.tracker.fits(head.record.offset):
                lane.stalled = True
                self.startable -= len(lane.waiting)
                self._stalled(lane)
                return None
            lane.waiting.popleft()
            self.waiting -= 1
            self.startable -= 1
            work = lane.start(head)
            if work is not None:
                return work
            self._dropped(head.size_bytes)
        return None

    def _give_turn(self, lane: Lane) -> None:
        if lane.waiting and not lane.in_turn and not lane.stalled:
            lane.in_turn = True
            self._lanes.append(lane)
