"""Which offsets of a lane are done, and how far a commit may go: never past one that is not."""

from __future__ import annotations

from collections import deque

from consumer.engine import offset_map


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
    `budget_bytes` is how long the note about them may be.
    """

    __slots__ = ("_next", "_slots", "budget_bytes", "unfinished")

    def __init__(self, start: int, budget_bytes: int = offset_map.BUDGET_BYTES) -> None:
        self._next = start
        self._slots: deque[Slot] = deque()
        self.unfinished = 0
        self.budget_bytes = budget_bytes

    def admit(self, offset: int, since: float) -> Slot | None:
        """Note a delivered offset as unfinished. None where it was delivered before: it is dropped, not done twice."""
        if offset < self._next:
            return None
        slot = Slot(offset, since)
        self._slots.append(slot)
        self._next = offset + 1
        self.unfinished += 1
        return slot

    def skip(self, offset: int) -> None:
        """Note a delivered offset as done from the start: an earlier life of this group did it."""
        if offset < self._next:
            return
        if self._slots:
            # It is above something unfinished, so that the next commit has to say again that it is done.
            slot = Slot(offset, 0.0)
            slot.done = True
            self._slots.append(slot)
        self._next = offset + 1

    def fits(self, offset: int) -> bool:
        """Whether this offset can be taken in so that what is done above the position can always be noted.

        Where the broker takes no notes to speak of, everything fits: a restart then repeats what is done above.
        """
        if self.budget_bytes < offset_map.LEAST_BUDGET_BYTES:
            return True
        return offset_map.fits(offset + 1 - self.position, self.unfinished + 1, self.budget_bytes)

    def note(self) -> str:
        """What a commit at the position says of the records above it; empty where none of them is done."""
        if self.unfinished == len(self._slots) or self.budget_bytes < offset_map.LEAST_BUDGET_BYTES:
            return ""
        end = next(slot.offset for slot in reversed(self._slots) if slot.done) + 1
        unfinished = [slot.offset for slot in self._slots if not slot.done and slot.offset < end]
        return offset_map.encode(self.position, end, unfinished)

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
    def next(self) -> int:
        """The lowest offset that was not delivered yet."""
        return self._next

    @property
    def position(self) -> int:
        """The highest offset that may be committed: everything below it is done."""
        return self._slots[0].offset if self._slots else self._next

    @property
    def oldest(self) -> Slot | None:
        """The unfinished offset that was delivered first."""
        return self._slots[0] if self._slots else None
