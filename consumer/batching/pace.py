"""How often something comes: for each key of late, and how long it is worth to wait for the next."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar


if TYPE_CHECKING:
    from collections.abc import Hashable


__all__ = ["Pace"]


K = TypeVar("K", bound="Hashable")

# Of events that come at random, one in twenty takes longer than three times the usual gap.
_PATIENCE_GAPS = 3.0
# How much of the usual gap the newest one is.
_NEWEST = 0.3
# A long silence counts as so many times the longest patience, so that a few quick events outweigh it.
_LONGEST_GAPS = 4.0
_KEYS = 20_000


class Pace(Generic[K]):
    """The usual time between two events of a key, for the keys of late.

    Args:
        longest_seconds: the longest wait for another event. Where they come more rarely, none is waited for.
        keys: how many keys are remembered; those not heard of longest are forgotten.
    """

    __slots__ = ("_keys", "_longest_seconds", "_seen")

    def __init__(self, longest_seconds: float, *, keys: int = _KEYS) -> None:
        self._longest_seconds = longest_seconds
        self._keys = keys
        self._seen: OrderedDict[K, tuple[float, float | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def came(self, key: K, now: float) -> None:
        """An event of this key came at this time, in seconds."""
        before = self._seen.pop(key, None)
        usual: float | None = None
        if before is not None:
            last, usual = before
            gap = min(now - last, _LONGEST_GAPS * self._longest_seconds)
            usual = gap if usual is None else (1 - _NEWEST) * usual + _NEWEST * gap
        elif len(self._seen) >= self._keys:
            self._seen.popitem(last=False)
        self._seen[key] = (now, usual)

    def patience_seconds(self, key: K) -> float:
        """How long it is worth to wait for the next event of this key: 0 where it is not to be expected."""
        _, usual = self._seen.get(key, (0.0, None))
        if usual is None or usual > self._longest_seconds:
            return 0.0
        return min(self._longest_seconds, _PATIENCE_GAPS * usual)
