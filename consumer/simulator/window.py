"""Strict one-second windows: the quota as the service enforces it, and the busiest second as it was seen."""

from __future__ import annotations

from collections import deque


__all__ = ["Peak", "SlidingSecond"]


class SlidingSecond:
    """At most `limit` admitted calls in any window of one second, wherever it starts; `None` admits all.

    A call that is refused does not count: it takes nothing from the calls after it. Times are those at which the
    server read the call, and must not run backwards.
    """

    __slots__ = ("_admitted", "limit")

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"a quota of {limit} calls a second would refuse every call")
        self.limit = limit
        self._admitted: deque[float] = deque(maxlen=limit)

    def admit(self, now: float) -> bool:
        """Whether a call at `now` (seconds) is within the quota; if so, it counts."""
        if self.limit is None:
            return True
        if len(self._admitted) == self.limit and now - self._admitted[0] < 1.0:
            return False
        self._admitted.append(now)
        return True


class Peak:
    """The most calls in any window of one second, and how many there were in all."""

    __slots__ = ("_recent", "most", "total")

    def __init__(self) -> None:
        self.most = 0
        self.total = 0
        self._recent: deque[float] = deque()

    def saw(self, now: float) -> None:
        """Count a call at `now` (seconds)."""
        recent = self._recent
        recent.append(now)
        while now - recent[0] >= 1.0:
            recent.popleft()
        self.total += 1
        self.most = max(self.most, len(recent))
