"""One partition while it is ours: its offsets, and what is in flight for it."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from consumer.engine.offsets import OffsetTracker
from consumer.errors import LaneClosed


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.engine.offset_map import OffsetMap
    from consumer.engine.offsets import Slot
    from consumer.record import Partition, Record


__all__ = ["Lane", "LaneState", "Waiting", "Work"]


class LaneState(Enum):
    """What a lane does: nothing yet; everything; only finish what was started; nothing more."""

    CLOSED = auto()
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

    __slots__ = ("_billed", "_on_wire", "delivering", "lane", "noted", "parked", "record", "size_bytes", "slot", "task")

    def __init__(self, lane: Lane, record: Record, slot: Slot, size_bytes: int) -> None:
        self.lane = lane
        self.record = record
        self.slot = slot
        self.size_bytes = size_bytes
        self._on_wire = 0
        self._billed = False
        self.delivering = False
        self.parked = False
        self.noted = False
        self.task: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether something new may still be started, and paid, for this record."""
        state = self.lane.state
        return state is LaneState.OPEN or (state is LaneState.DRAINING and self.paid_for)

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
        "_empty",
        "_known",
        "committed",
        "committed_note",
        "epoch",
        "in_turn",
        "noted",
        "parking",
        "partition",
        "stalled",
        "state",
        "tracker",
        "waiting",
        "works",
    )

    def __init__(self, partition: Partition, epoch: int, parking: Callable[[int], None] = lambda _: None) -> None:
        self.partition = partition
        self.epoch = epoch
        self.parking = parking
        self.noted: deque[Record] = deque()
        self.state = LaneState.CLOSED
        self.tracker = OffsetTracker(0)
        self.waiting: deque[Waiting] = deque()
        self.in_turn = False
        self.stalled = False
        self.committed = -1
        self.committed_note = ""
        self._known: OffsetMap | None = None
        self.works: set[Work] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, offset: int, *, committed: int | None, known: OffsetMap | None, budget_bytes: int) -> None:
        """Let records in, from this offset on. A group that has committed nothing yet commits where it starts.

        `known` is what the last commit said of the records above it: those that are done are not done again.
        """
        self.tracker = OffsetTracker(offset, budget_bytes)
        self._known = known
        self.committed = -1 if committed is None else committed
        self.state = LaneState.OPEN

    def start(self, head: Waiting) -> Work | None:
        """Take the record that waits in front, or None where it is done already."""
        record = head.record
        if self._known is not None and self._known.done(record.offset):
            self.tracker.skip(record.offset)
            return None
        slot = self.tracker.admit(record.offset, head.since)
        if slot is None:
            return None
        work = Work(self, record, slot, head.size_bytes)
        self.works.add(work)
        self._empty.clear()
        return work

    def finish(self, work: Work) -> None:
        """All is done for a record: it no longer stands in the way of a commit."""
        self.tracker.finish(work.slot)
        if work.noted:
            self.noted.append(work.record)
        self.forget(work)

    def committed_to(self, offset: int, note: str) -> list[Record]:
        """Everything below this offset is committed; returns the records about which nothing needs to be kept now."""
        self.committed = max(self.committed, offset)
        self.committed_note = note
        settled = [record for record in self.noted if record.offset < offset]
        if settled:
            self.noted = deque(record for record in self.noted if record.offset >= offset)
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
    def unfinished(self) -> int:
        """Records taken in whose verdict is not yet acknowledged."""
        return self.tracker.unfinished
