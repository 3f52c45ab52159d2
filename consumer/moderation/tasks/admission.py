"""How fast tasks may be submitted: as many as the query quota lets us ask for in time."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock


__all__ = ["Admission"]


# How much of the usual count the newest task is.
_NEWEST = 0.02
# What was not submitted in a quiet while may be made up for at once, for so long.
_CATCH_UP_SECONDS = 1.0
# While polls are later than this, submissions are slower by so much, and polls catch up.
_LATE_SECONDS = 2.0
_CATCHING_UP = 1.1
# Where this process has no query tokens at present, it looks again after so long.
_LOOK_AGAIN_SECONDS = 1.0


class Admission:
    """Paces submissions: where n polls a task are seen, tasks are submitted at a n-th of the queries a second.

    A task is polled at least once where no callback comes for it, so nothing is known to be slower than that before the
    first tasks have ended. With callbacks hardly any task is polled, and the quota of submissions is the only limit.

    Args:
        queries_per_second: how many results may be asked for in a second, at present.
        clock: its monotonic time.
    """

    __slots__ = ("_clock", "_paced_at", "_queries_per_second", "polls_a_task")

    def __init__(self, queries_per_second: Callable[[], float], *, clock: Clock) -> None:
        self._queries_per_second = queries_per_second
        self._clock = clock
        self._paced_at = float("-inf")
        self.polls_a_task = 1.0
        """How often a task is asked for until it has its result, of late."""

    def ended(self, polls: int) -> None:
        """A task was asked for so often until it had its result, or was given up."""
        self.polls_a_task += _NEWEST * (polls - self.polls_a_task)

    def wait_seconds(self, late_seconds: float) -> float:
        """How long until another task may be submitted, while polls are so late; 0 or less for now."""
        if self._queries_per_second() <= 0:
            return _LOOK_AGAIN_SECONDS
        return self._paced_at + self._gap_seconds(late_seconds) - self._clock.monotonic()

    def took(self, late_seconds: float) -> None:
        """A task is about to be submitted."""
        gap = self._gap_seconds(late_seconds)
        self._paced_at = max(self._paced_at + gap, self._clock.monotonic() - _CATCH_UP_SECONDS)

    def _gap_seconds(self, late_seconds: float) -> float:
        # A quota of submissions that was raised is not held back by tasks that need only one poll each.
        if self.polls_a_task <= 1:
            return 0.0
        slower = _CATCHING_UP if late_seconds > _LATE_SECONDS else 1.0
        return slower * self.polls_a_task / self._queries_per_second()
