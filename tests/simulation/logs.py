"""One partition's log in memory: records, transactions that are open, committed or aborted, and gaps."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from tests.simulation.network import Refused


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.record import Headers


__all__ = ["Entry", "Fate", "Log", "Part", "Raw"]


# A broker remembers the last batches of a producer, so as to know one that is sent again.
_KNOWN_BATCHES = 5


class Fate(Enum):
    """What became of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(slots=True)
class Part:
    """One transaction's part in one partition."""

    first: int
    fate: Fate = Fate.OPEN


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it is sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(slots=True)
class Entry:
    """One offset's content; a marker has no record. `written_by` is the producer's id."""

    offset: int
    timestamp: int
    raw: Raw | None
    part: Part | None = None
    written_by: int = -1


@dataclass(slots=True)
class _Producer:
    """What a partition knows of a producer."""

    epoch: int
    next_sequence: int = 0
    batches: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_KNOWN_BATCHES))


class Log:
    """A partition's log. `changed` is called whenever there may be more to read."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.entries: list[Entry] = []
        self.start = 0
        self.end = 0
        self._changed = changed
        self._open: dict[int, Part] = {}
        self._producers: dict[int, _Producer] = {}

    @property
    def stable_end(self) -> int:
        """The last stable offset: below it every transaction is decided."""
        return min((part.first for part in self._open.values()), default=self.end)

    def opened_by(self, producer: int) -> bool:
        """Whether a transaction of this producer is open here."""
        return producer in self._open

    def append(
        self,
        records: Sequence[Raw],
        timestamp: int,
        *,
        producer: int = -1,
        epoch: int = 0,
        sequence: int = 0,
        transactional: bool = False,
    ) -> int:
        """Write a batch and return its first offset; a batch that was written before is not written again.

        Raises:
            Refused: the producer has been fenced, or a batch before this one is missing.
        """
        part = None
        if producer >= 0:
            known = self._producers.get(producer)
            if known is None or epoch > known.epoch:
                known = self._producers[producer] = _Producer(epoch)
            if epoch < known.epoch:
                raise Refused("INVALID_PRODUCER_EPOCH")
            for first_sequence, offset in known.batches:
                if first_sequence == sequence:
                    return offset
            if sequence != known.next_sequence:
                raise Refused("OUT_OF_ORDER_SEQUENCE_NUMBER")
            known.next_sequence += len(records)
            known.batches.append((sequence, self.end))
            if transactional:
                part = self._open.setdefault(producer, Part(self.end))
        first = self.end
        for number, raw in enumerate(records):
            self.entries.append(Entry(first + number, timestamp, raw, part, producer))
        self.end += len(records)
        self._changed()
        return first

    def mark(self, producer: int, epoch: int, fate: Fate, timestamp: int) -> None:
        """Write the marker that ends a producer's transaction here; it takes an offset, and fences older epochs."""
        known = self._producers.get(producer)
        if known is None or epoch > known.epoch:
            self._producers[producer] = _Producer(epoch)
        part = self._open.pop(producer, None)
        if part is not None:
            part.fate = fate
        self.entries.append(Entry(self.end, timestamp, None, part, producer))
        self.end += 1
        self._changed()

    def skip(self, offsets: int) -> None:
        """Leave a hole, as compaction does."""
        self.end += offsets

    def delete_before(self, offset: int) -> None:
        """Retention: everything below this offset is gone."""
        self.start = max(self.start, min(offset, self.end))
        self.entries = [entry for entry in self.entries if entry.offset >= self.start]

    def compact(self, offsets: Collection[int]) -> None:
        """Take single records away; their offsets are never used again."""
        self.entries = [entry for entry in self.entries if entry.offset not in offsets]

    def read(self, position: int, limit: int = 1_000_000, *, committed: bool = True) -> tuple[list[Entry], int]:
        """Records from a position on, and the position behind all that was looked at.

        Raises:
            Refused: OFFSET_OUT_OF_RANGE, below the log's start or above its end.
        """
        if not self.start <= position <= self.end:
            raise Refused("OFFSET_OUT_OF_RANGE")
        end = self.stable_end if committed else self.end
        found: list[Entry] = []
        at = bisect_left(self.entries, position, key=lambda entry: entry.offset)
        for entry in self.entries[at:]:
            if entry.offset >= end:
                break
            if entry.raw is None or (committed and entry.part is not None and entry.part.fate is not Fate.COMMITTED):
                continue
            if len(found) == limit:
                return found, entry.offset
            found.append(entry)
        return found, max(position, end)
