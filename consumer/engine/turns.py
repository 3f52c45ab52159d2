"""Whose turn it is: lanes take turns by weight, each with its oldest record, as long as a commit can note it."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from consumer.engine.lane import LaneState, Waiting
from consumer.quota.fair import Fair


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.engine.lane import Lane, Work
    from consumer.record import Record


__all__ = ["Turns"]


# What a class of lanes may fill of what the next heavier one may fill.
_LIGHTER = 0.75
# No more need to wait: records are fetched faster than they are worked on.
_MOST_WAITING = 2000


class _Class:
    """The lanes of one weight, and how many of their records are in the window: never more than `limit` are started."""

    __slots__ = ("busy", "in_turn", "lanes", "limit", "startable", "topics", "waits", "weight")

    def __init__(self, weight: int, limit: int) -> None:
        self.weight = weight
        self.limit = limit
        self.lanes: set[Lane] = set()
        self.in_turn: deque[Lane] = deque()
        self.topics: Counter[str] = Counter()
        self.waits = False
        self.startable = 0
        self.busy = 0


class Turns:
    """The records that were read and wait for a worker, by lane.

    Lanes of one weight take turns, one after the other. Between weights the turns are divided: a class of lanes gets
    its weight times, for each of its topics that has something to do. While there are heavier lanes, a class leaves
    room for them: it has at most three quarters as many records in the window as the next heavier one may have. Each
    class also has its own room for records that wait, so that none keeps another from being read.

    `window` is how many records may be worked on. Where as many of a class wait, or some thousands, no more of it are
    read. `dropped` is told the bytes of a record that needs no work; `stalled` is told of a lane that can take no more
    until one of its oldest records is done.
    """

    __slots__ = ("_classes", "_dropped", "_fair", "_most_waiting", "_only", "_stalled", "_window", "waiting")

    def __init__(self, window: int, *, dropped: Callable[[int], None], stalled: Callable[[Lane], None]) -> None:
        self._window = window
        self._most_waiting = min(window, _MOST_WAITING)
        self._dropped = dropped
        self._stalled = stalled
        self._classes: dict[int, _Class] = {}
        self._fair: Fair[int] = Fair()
        # The one class, as long as there is no other: there is nothing to be divided then.
        self._only: _Class | None = None
        self.waiting = 0

    def follow(self, lane: Lane) -> None:
        """This lane is ours."""
        self._class(lane).lanes.add(lane)
        self._limit()

    def forget(self, lanes: Collection[Lane]) -> None:
        """These lanes are gone."""
        for lane in lanes:
            self._class(lane).lanes.discard(lane)
        self._limit()

    @property
    def startable(self) -> int:
        """How many records could be started now, if the window had room for all."""
        return sum(min(one.startable, max(0, one.limit - one.busy)) for one in self._classes.values())

    def has_room(self, lane: Lane | None = None) -> bool:
        """Whether more records of this lane may wait, or of any lane."""
        if lane is not None:
            return self._class(lane).startable < self._most_waiting
        if self._only is not None:
            return bool(self._only.lanes) and self._only.startable < self._most_waiting
        return any(one.startable < self._most_waiting for one in self._classes.values() if one.lanes)

    def take_in(self, lane: Lane, records: Sequence[Record], since: float) -> int:
        """Have records wait, in their order; returns how many bytes they hold."""
        size_bytes = 0
        for record in records:
            waiting = Waiting(record, since, record.size_bytes)
            lane.waiting.append(waiting)
            size_bytes += waiting.size_bytes
        self.waiting += len(records)
        if not lane.stalled:
            self._class(lane).startable += len(records)
            self._give_turn(lane)
        return size_bytes

    def next(self) -> Work | None:
        """The next record to work on, or None while there is none that may be started. It takes room in the window."""
        while (ours := self._first()) is not None:
            lane = ours.in_turn[0]
            work = self._start(lane, ours)
            if lane.waiting and not lane.stalled:
                ours.in_turn.rotate(-1)
            else:
                self._end_turn(lane, ours)
            if work is not None:
                ours.busy += 1
                if self._only is None:
                    self._fair.served()
            self._wait_or_not(ours)
            if work is not None:
                return work
        return None

    def takes_room(self, lane: Lane, records: int = 1) -> None:
        """So many more records of a lane are in the window; a negative number of them are no longer."""
        ours = self._class(lane)
        ours.busy += records
        if ours.waits is (ours.busy >= ours.limit):
            self._wait_or_not(ours)

    def resume(self, lane: Lane) -> bool:
        """A record of a stalled lane is done; True where the lane may go on."""
        if lane.waiting and not lane.tracker.fits(lane.waiting[0].record.offset):
            return False
        lane.stalled = False
        self._class(lane).startable += len(lane.waiting)
        self._give_turn(lane)
        return True

    def give_up(self, lane: Lane) -> None:
        """Forget what waits in a lane: its next owner reads it again."""
        self.waiting -= len(lane.waiting)
        self._class(lane).startable -= 0 if lane.stalled else len(lane.waiting)
        while lane.waiting:
            self._dropped(lane.waiting.popleft().size_bytes)

    def _start(self, lane: Lane, ours: _Class) -> Work | None:
        while lane.waiting and lane.state is LaneState.OPEN:
            head = lane.waiting[0]
            if not lane.tracker.fits(head.record.offset):
                lane.stalled = True
                ours.startable -= len(lane.waiting)
                self._stalled(lane)
                return None
            lane.waiting.popleft()
            self.waiting -= 1
            ours.startable -= 1
            work = lane.start(head)
            if work is not None:
                return work
            self._dropped(head.size_bytes)
        return None

    def _give_turn(self, lane: Lane) -> None:
        if lane.waiting and not lane.in_turn and not lane.stalled:
            lane.in_turn = True
            ours = self._class(lane)
            ours.in_turn.append(lane)
            ours.topics[lane.partition.topic] += 1
            self._wait_or_not(ours)

    def _end_turn(self, lane: Lane, ours: _Class) -> None:
        lane.in_turn = False
        ours.in_turn.popleft()
        topic = lane.partition.topic
        ours.topics[topic] -= 1
        if not ours.topics[topic]:
            del ours.topics[topic]

    def _wait_or_not(self, ours: _Class) -> None:
        """Have a class wait for turns as long as it has something to start, and may."""
        ours.waits = bool(ours.in_turn) and ours.busy < ours.limit
        if self._only is not None:
            return
        if ours.waits:
            self._fair.join(ours.weight, ours.weight * len(ours.topics))
        else:
            self._fair.leave(ours.weight)

    def _first(self) -> _Class | None:
        """The class whose turn is next; None where nothing may be started."""
        if self._only is not None:
            return self._only if self._only.waits else None
        return self._classes[self._fair.first()] if self._fair else None

    def _class(self, lane: Lane) -> _Class:
        ours = self._classes.get(lane.weight)
        if ours is None:
            ours = self._classes[lane.weight] = _Class(lane.weight, self._window)
            self._only = ours if len(self._classes) == 1 else None
        return ours

    def _limit(self) -> None:
        """Divide the window: what a lighter class may fill leaves room for the heavier ones that there are."""
        limit: float = self._window
        for weight in sorted(self._classes, reverse=True):
            ours = self._classes[weight]
            ours.limit = max(1, int(limit))
            self._wait_or_not(ours)
            if ours.lanes:
                limit *= _LIGHTER
