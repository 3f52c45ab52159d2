"""Which offsets of a lane are done, and how far a commit may go: never past one that is not."""

from __future__ import annotations

from collections import deque


__all__ = ["OffsetTracker", "Slot"]


class Slot:
    """One delivered offset and whether all is done for it. `since` is when it was read, on the monotonic clock."""

    __slots__ = ("done", "offset", "since")

    def __init__(self, offset: int, since: float) -> None:
        self.offset = offset
        self.since = since
        self.done = False


class OffsetTracker:
    """Follows the offsets that were delivered, in their order; finishing may come in any order.

    It counts what was delivered and never adds one to fill a gap: compaction and transaction markers leave holes.
    """

    __slots__ = ("_next", "_slots", "unfinished")

    def __init__(self, start: int) -> None:
        self._next = start
        self._slots: deque[Slot] = deque()
        self.unfinished = 0

    def admit(self, offset: int, since: float) -> Slot | None:
        """Note a delivered offset as unfinished. None where it was delivered before: it is dropped, not done twice."""
        if offset < self._next:
            return None
        slot = Slot(offset, since)
        self._slots.append(slot)
        self._next = offset + 1
        self.unfinished += 1
        return slot

    def finish(self, slot: Slot) -> None:
        """Note that all is done for an offset; more than once is once."""
        if slot.done:
            return
        slot.done = True
        self.unfinished -= 1
        slots = self._slots
        while slots and slots[0].done:
            slots.popleft()

    @property
    def position(self) -> int:
        """The highest offset that may be committed: everything below it is done."""
        return self._slots[0].offset if self._slots else self._next

    @property
    def oldest(self) -> Slot | None:
        """The unfinished offset that was delivered first."""
        return self._slots[0] if self._slots else None
