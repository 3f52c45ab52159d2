"""One partition while it is ours: its offsets, and what is in flight for it."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from consumer.engine import notes
from consumer.engine.notes import Note
from consumer.engine.offsets import OffsetTracker
from consumer.errors import LaneClosed
from consumer.record import Position


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.engine.offsets import Slot
    from consumer.engine.order import Queue
    from consumer.engine.way import Outcome
    from consumer.record import Partition, Record


__all__ = ["Lane", "LaneState", "Waiting", "Work"]


# So many starts in a row without any progress, and a record is suspected of killing the process.
_SUSPICIOUS_DEATHS = 3


class LaneState(Enum):
    """What a lane does: nothing yet; note its start; everything; only finish what was started; nothing more."""

    CLOSED = auto()
    OPENING = auto()
    OPEN = auto()
    DRAINING = auto()
    GONE = auto()


class Waiting(NamedTuple):
    """A record that was read and waits for its turn. `since` is when it was read, on the monotonic clock."""

    record: Record
    since: float
    size_bytes: int


class Work:
    """One record on its way to its verdict; it is also the record's claim on being judged."""

    __slots__ = (
        "_billed",
        "_on_wire",
        "condemned",
        "delivering",
        "lane",
        "leads",
        "noted",
        "outcome",
        "parked",
        "queue",
        "record",
        "size_bytes",
        "slot",
        "task",
        "withheld",
    )

    def __init__(self, lane: Lane, record: Record, slot: Slot, size_bytes: int, *, condemned: bool = False) -> None:
        self.lane = lane
        self.record = record
        self.slot = slot
        self.size_bytes = size_bytes
        self._on_wire = 0
        self._billed = False
        self.delivering = False
        self.parked = False
        self.noted = False
        self.condemned = condemned
        self.leads = False
        self.withheld = False
        self.queue: Queue | None = None
        self.outcome: Outcome | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether something new may still be started, and paid, for this record."""
        state = self.lane.state
        return state is LaneState.OPEN or (state is LaneState.DRAINING and (self.paid_for or self.leads))

    @property
    def paid_for(self) -> bool:
        """Whether giving this record up now would waste money: a request is on the wire, or was billed.

        What is parked is recorded: its next owner goes on where this one stops, at no cost.
        """
        return not self.parked and (self._billed or self._on_wire > 0)

    def begin(self) -> None:
        """A request is about to be sent. A drain finishes what is partly paid for and starts nothing else.

        Raises:
            LaneClosed: the partition is going to somebody else.
        """
        if not self.held:
            raise LaneClosed(f"{self.record.partition} was revoked")
        self._on_wire += 1

    def end(self, *, billed: bool) -> None:
        """The request was answered, or never will be; `billed` says whether it can have cost anything."""
        self._on_wire -= 1
        self._billed = self._billed or billed

    def park(self) -> None:
        """It waits for something long that is recorded elsewhere: another record may take its place in the window."""
        if not self.parked:
            if self.lane.suspect == self.record.offset:
                self.lane.suspect = None  # what can wait has not killed the process
            self.parked = self.noted = True
            self.lane.parking(1)
            if self.lane.state in (LaneState.DRAINING, LaneState.GONE) and self.task is not None:
                # It was paid for when the drain began; now that it is recorded, its next owner goes on with it.
                self.task.cancel()

    def unpark(self) -> None:
        """The wait is over."""
        if self.parked:
            self.parked = False
            self.lane.parking(-1)


class Lane:
    """A partition of one assignment. A later assignment of the same partition is another lane with another epoch."""

    __slots__ = (
        "_condemned",
        "_deaths",
        "_empty",
        "_noted",
        "committed",
        "epoch",
        "got_on",
        "in_turn",
        "opened_at",
        "parking",
        "partition",
        "stalled",
        "state",
        "suspect",
        "suspect_since",
        "tracker",
        "waiting",
        "weight",
        "works",
    )

    def __init__(
        self, partition: Partition, epoch: int, parking: Callable[[int], None] = lambda _: None, *, weight: int = 1
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self.weight = weight
        self.parking = parking
        self.state = LaneState.CLOSED
        self.tracker = OffsetTracker(0)
        self.waiting: deque[Waiting] = deque()
        self.in_turn = False
        self.stalled = False
        self.opened_at = 0.0
        self.got_on = False
        self.committed: Position | None = None
        self.suspect: int | None = None
        self.suspect_since = 0.0
        self.works: set[Work] = set()
        self._noted: deque[Record] = deque()
        self._deaths = 0
        self._condemned: int | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def begin_at(self, offset: int, *, committed: Position | None, note: Note | None, budget_bytes: int) -> bool:
        """Take up a position. Nothing is let in until the lane opens.

        Args:
            offset: The first record to read.
            committed: What the group has committed.
            note: What was said beside it: records that are done are not done again.
            budget_bytes: How long the map of what is done may be.

        Returns:
            Whether one of its records may be killing the process, so often did it die without getting anything done.
        """
        note = note or Note()
        self.tracker = OffsetTracker(offset, budget_bytes, note.done)
        self.committed = committed
        self.state = LaneState.OPENING
        self.stalled = True
        self._deaths = note.deaths + 1
        if note.deaths < _SUSPICIOUS_DEATHS:
            return False
        self._condemned = note.suspect
        return True

    def suspects(self, offset: int, now: float) -> None:
        """This record is tried alone: should the process die now, it was this one."""
        self.suspect, self.suspect_since = offset, now

    def survived(self) -> None:
        """The process lives on, or its end is planned: no record is to be blamed for what comes now."""
        self._deaths = 0
        self.suspect = None

    def outlook(self) -> Position:
        """What may be committed now, with the note beside it."""
        offset, done = self.tracker.outlook()
        suspect = self.suspect if self.suspect is not None and self.suspect >= offset else None
        return Position(offset, notes.write(offset, Note(done, self._deaths, suspect)))

    def start(self, head: Waiting) -> Work | None:
        """Take the record that waits in front, or None where it is done already."""
        record = head.record
        slot = self.tracker.admit(record.offset, head.since)
        if slot is None:
            return None
        work = Work(self, record, slot, head.size_bytes, condemned=record.offset == self._condemned)
        self.works.add(work)
        self._empty.clear()
        return work

    def finish(self, work: Work) -> None:
        """All is done for a record: it no longer stands in the way of a commit."""
        self.tracker.finish(work.slot)
        self.got_on = True
        if work.noted:
            self._noted.append(work.record)
        if self.suspect == work.record.offset:
            self.suspect = None
        self.forget(work)

    def committed_to(self, position: Position) -> list[Record]:
        """This is committed; returns the records about which nothing needs to be kept now."""
        self.committed = position
        settled = [record for record in self._noted if record.offset < position.offset]
        if settled:
            self._noted = deque(record for record in self._noted if record.offset >= position.offset)
        return settled

    def forget(self, work: Work) -> None:
        """Give a record up unfinished: whoever owns the partition next judges it."""
        work.unpark()
        self.works.discard(work)
        if not self.works:
            self._empty.set()

    async def emptied(self) -> None:
        """Return when nothing is in flight. When cancelled, nothing changes."""
        await self._empty.wait()

    @property
    def idle(self) -> bool:
        """Whether nothing that was read is unfinished, or waits."""
        return not self.waiting and not self.works

    @property
    def unfinished(self) -> int:
        """Records taken in whose verdict is not yet acknowledged."""
        return self.tracker.unfinished
