"""Looking at connections in time: those whose time is up at about the same moment are looked at together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    import asyncio


__all__ = ["Rounds"]


# So much too late a look may come, as a part of the time for which a connection may be silent.
_LATE = 1 / 128


class Watched(Protocol):
    """What is looked at."""

    def look(self) -> None:
        """See whether its time is up."""
        ...


class Rounds:
    """Has each connection looked at when it is due, or a little later.

    With a timer of the loop for each, thousands that wait for an answer would take half a kilobyte more, each.

    Attributes:
        late_seconds: how much later a look may come.
    """

    __slots__ = ("_due", "_loop", "late_seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, read_seconds: float) -> None:
        self._loop = loop
        self.late_seconds = read_seconds * _LATE
        self._due: dict[int, tuple[asyncio.TimerHandle, set[Watched]]] = {}

    def join(self, watched: Watched, due: float) -> float:
        """Have it looked at once, not before this moment of the loop's clock; returns when."""
        step = math.ceil(due / self.late_seconds)
        at = step * self.late_seconds
        found = self._due.get(step)
        if found is None:
            found = self._due[step] = self._loop.call_at(at, self._look, step), set()
        found[1].add(watched)
        return at

    def leave(self, watched: Watched, at: float) -> None:
        """Have it not looked at any more at the moment that `join` returned."""
        step = round(at / self.late_seconds)
        found = self._due.get(step)
        if found is not None:
            timer, them = found
            them.discard(watched)
            if not them:
                timer.cancel()
                del self._due[step]

    def _look(self, step: int) -> None:
        for watched in self._due.pop(step)[1]:
            watched.look()
