"""Which offsets of a lane are done, and how far a commit may go: never past one that is not."""

from __future__ import annotations

from collections import deque

from consumer.engine import offset_map
from consumer.engine.offset_map import OffsetMap


__all__ = ["OffsetTracker", "Slot"]


class Slot:
    """One delivered offset and whether all is done for it. `since` is when it was read, on the monotonic clock.

    It is `done` once all is done for it, and `open` as long as a commit that is being made leaves it unfinished.
    """

    __slots__ = ("done", "offset", "open", "since")

    def __init__(self, offset: int, since: float) -> None:
        self.offset = offset
        self.since = since
        self.done = False
        self.open = True

    def leave(self) -> None:
        """Its verdict is in the transaction that is being made: it is done if that is committed."""
        self.open = False

    def stay(self) -> None:
        """That transaction was not committed."""
        self.open = not self.done

    def end(self) -> None:
        """All is done for it."""
        self.done = True
        self.open = False


class OffsetTracker:
    """Follows the offsets that were delivered, in their order; finishing may come in any order.

    It counts what was delivered and never adds one to fill a gap: compaction and transaction markers leave holes.
    `budget_bytes` is how long the map of what is done may be; `known` is the map that an earlier life left.
    """

    __slots__ = ("_known", "_next", "_slots", "budget_bytes", "unfinished")

    def __init__(self, start: int, budget_bytes: int = offset_map.BUDGET_BYTES, known: OffsetMap | None = None) -> None:
        self._next = start
        self._known = known
        self._slots: deque[Slot] = deque()
        self.unfinished = 0
        self.budget_bytes = budget_bytes

    def admit(self, offset: int, since: float) -> Slot | None:
        """Note a delivered offset as unfinished. None where it needs no work: it came before, or was done before."""
        if offset < self._next:
            return None
        if self._known is not None and self._known.done(offset):
            self._skip(offset)
            return None
        slot = Slot(offset, since)
        self._slots.append(slot)
        self._next = offset + 1
        self.unfinished += 1
        return slot

    def _skip(self, offset: int) -> None:
        if self._slots:
            # It is above something unfinished, so that the next commit has to say again that it is done.
            slot = Slot(offset, 0.0)
            slot.end()
            self._slots.append(slot)
        self._next = offset + 1

    def pass_over(self, offset: int) -> None:
        """Note that there is no record below this offset that was not delivered."""
        self._next = max(self._next, offset)

    def fits(self, offset: int) -> bool:
        """Whether this offset can be taken in so that what is done above the position can always be noted.

        Where the broker takes no notes to speak of, everything fits: a restart then repeats what is done above.
        """
        if self.budget_bytes < offset_map.LEAST_BUDGET_BYTES:
            return True
        end, unfinished = offset + 1, self.unfinished + 1
        if self._known is not None and self._known.end > end:
            end = self._known.end
            unfinished += len(self._known.unfinished_from(end))
        return offset_map.fits(end - self.position, unfinished, self.budget_bytes)

    def outlook(self) -> tuple[int, OffsetMap | None]:
        """What may be committed if all that is leaving is done: the position, and what is done above it, if anything.

        Until what an earlier life did is passed, the map goes on saying it: another crash must not forget it.
        """
        position, open_slots, end = self._next, [], 0
        for slot in self._slots:
            if slot.open:
                open_slots.append(slot.offset)
            else:
                end = slot.offset + 1
        if open_slots:
            position = open_slots[0]
        if self.budget_bytes < offset_map.LEAST_BUDGET_BYTES:
            return position, None
        if self._known is not None and self._known.end > self._next:
            unread = self._known.unfinished_from(self._next)
            return position, OffsetMap(self._known.end, (*open_slots, *unread))
        if end <= position:
            return position, None
        return position, OffsetMap(end, [offset for offset in open_slots if offset < end])

    def finish(self, slot: Slot) -> None:
        """Note that all is done for an offset; more than once is once."""
        if slot.done:
            return
        slot.done = True
        slot.open = False
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
