"""A breaker: it opens when most calls of a service fail, and closes when most of some that were tried did not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from consumer.clock import Clock


__all__ = ["Breaker", "State"]


State = Literal["closed", "half_open", "open"]

_CELL_SECONDS = 1.0
_CELLS = 10
# A service that fails on 45 % of its calls for ever must not be held by chance, nor stay held for long when it was.
_TOO_MANY = 20
_ENOUGH = 5
_FIRST_PAUSE_SECONDS = 5.0
_NEVER = float("-inf")


@dataclass(slots=True)
class _Cell:
    """How many more failed than were answered in one second."""

    number: int
    excess: int = 0


class Breaker:
    """Watches how the calls of one service end. It stops nothing itself: whoever sends asks for `state`.

    While it is `closed` all calls may go out. It opens when within 10 s 20 more calls failed than were answered: of 20
    all, of 40 three quarters, of 500 a little over half. While it is `open` one call may be tried after each pause;
    pauses double from 5 s up to `longest_pause_seconds`. After one that is answered it is `half_open`: calls may be
    tried one at a time, without a pause. When five more were answered than failed it is closed, and when no more were
    it is open again, with the first pause.
    """

    def __init__(self, clock: Clock, *, longest_pause_seconds: float) -> None:
        self.state: State = "closed"
        self._clock = clock
        self._longest_pause_seconds = longest_pause_seconds
        self._doubled_seconds = 0.0
        self._cells: deque[_Cell] = deque()
        self._sum = 0
        self._lead = 0
        self._changed_at = _NEVER

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next call may be tried; none unless it is open."""
        return self._doubled_seconds if self.state == "open" else 0.0

    def ended(self, *, failed: bool, sent_at: float) -> bool:
        """A call that was sent at this (monotonic) time was answered, or failed; whether that was news.

        One that was sent before the breaker last opened or closed says nothing of how it is now.
        """
        if sent_at < self._changed_at:
            return False
        if self.state == "closed":
            if self._excess(failed=failed) >= _TOO_MANY and failed:
                self._change("open")
                self._open(_FIRST_PAUSE_SECONDS)
        elif not failed:
            self.state = "half_open"
            self._lead += 1
            if self._lead >= _ENOUGH:
                self._change("closed")
        elif self.state == "open":
            self._open(2 * self._doubled_seconds)
        else:
            self._lead -= 1
            if not self._lead:
                self._open(_FIRST_PAUSE_SECONDS)
        return True

    def _excess(self, *, failed: bool) -> int:
        """How many more failed than were answered in the last seconds, with this one."""
        number = int(self._clock.monotonic() // _CELL_SECONDS)
        cells = self._cells
        if not cells or cells[-1].number != number:
            cells.append(_Cell(number))
            while cells[0].number <= number - _CELLS:
                self._sum -= cells.popleft().excess
        more = 1 if failed else -1
        cells[-1].excess += more
        self._sum += more
        return self._sum

    def _change(self, state: State) -> None:
        self.state = state
        self._changed_at = self._clock.monotonic()
        self._cells.clear()
        self._sum = 0
        self._lead = 0

    def _open(self, pause_seconds: float) -> None:
        self.state = "open"
        self._doubled_seconds = min(pause_seconds, self._longest_pause_seconds)
