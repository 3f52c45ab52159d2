"""Answers that are remembered for a while, within a bound of bytes: the ones not asked for longest go first."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from consumer.frozen import frozen
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from consumer.meters import Gauge
    from consumer.verdict import Label


__all__ = ["Remembered", "Shelf", "size_bytes"]


# What the table takes for an entry at its worst, just after it has grown: measured, 213.
_ENTRY_BYTES = 224
# Blocks of memory come in steps of so many bytes.
_STEP_BYTES = 16
_ALONE = frozenset({bytes, int, float})
_SHARED_IF_EMPTY = frozenset({bytes, str, tuple})


@frozen
class Remembered:
    """What was said of one content. `labels` have their positions in the text that was judged.

    `text` is the digest of that text where others may have the same key, else empty. `until` is in monotonic seconds.
    `extra` is None where nothing was said beside it.
    """

    level: RiskLevel
    labels: tuple[Label, ...]
    request_ids: tuple[str, ...]
    extra: dict[str, Any] | None
    text: bytes
    until: float

    @property
    def size_bytes(self) -> int:
        """What it takes in memory: what `size_bytes` says, sooner, as most of it is the same for each answer."""
        return _BARE_BYTES + size_bytes((self.request_ids, self.labels, self.extra, self.text))


class Shelf:
    """What is remembered, by key. Each step takes the same time, however much there is.

    What has expired is never given out. It goes when it is asked for, or when it is the one not asked for longest and
    another comes: so none stays for more than twice its life while others come.
    """

    def __init__(self, max_bytes: int, *, entries: Gauge, size: Gauge) -> None:
        self._max_bytes = max_bytes
        entries.set_function(lambda: len(self._kept))
        size.set_function(lambda: self.size_bytes)
        self._kept: OrderedDict[bytes, tuple[Remembered, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Remembered | None:
        """What is remembered under this key and has not expired."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0].until <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: bytes, answer: Remembered, now: float) -> None:
        """Remember it, instead of what is remembered under this key; what is larger than all room is not kept."""
        if key in self._kept:
            self._drop(key)
        taken = _ENTRY_BYTES + size_bytes(key) + answer.size_bytes
        if taken <= self._max_bytes:
            while self._kept and (self.size_bytes + taken > self._max_bytes or self._oldest_until() <= now):
                self._drop(next(iter(self._kept)))
            self._kept[key] = (answer, taken)
            self.size_bytes += taken

    def _oldest_until(self) -> float:
        return next(iter(self._kept.values()))[0].until

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= self._kept.pop(key)[1]


def size_bytes(value: Any) -> int:
    """What a value and all in it take in memory, what it may share with others included."""
    taken = 0
    left = [value]
    for one in left:  # which grows meanwhile
        kind = type(one)
        if one is None or kind is bool or kind is RiskLevel or (not one and kind in _SHARED_IF_EMPTY):
            continue
        own = sys.getsizeof(one)
        if kind is str:
            if not one.isascii():
                own += 4 * len(one)  # written as JSON once, it keeps its UTF-8 beside it
        elif kind is tuple or kind is list:
            left.extend(one)
        elif kind is dict:
            left.extend(one.keys())
            left.extend(one.values())
        elif kind not in _ALONE:
            left.extend([getattr(one, name) for name in getattr(kind, "__slots__", ())])
        taken += -(-own // _STEP_BYTES) * _STEP_BYTES
    return taken


# Of an answer without all that the sum above looks at in each.
_BARE_BYTES = size_bytes(Remembered(RiskLevel.NONE, (), (), None, b"", 1.0)) - size_bytes(((), (), None, b""))
