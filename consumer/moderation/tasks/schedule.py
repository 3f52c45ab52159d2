"""When a task is asked for: the page's rules as arithmetic, for tasks just submitted and for those found again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self


if TYPE_CHECKING:
    from consumer.settings.models import Tasks


__all__ = ["PollTimes"]


# A query that was refused or lost asked nothing of the task; it may be repeated before the interval is over.
_SOONEST_REPEAT_SECONDS = 2.0
# Where callbacks come, a poll only catches the ones that do not: it may take longer, and leaves the quota to others.
_NET_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class PollTimes:
    """How long to wait before a task is asked for, in seconds.

    The multimodal page: "first query after 30 s, then every 30 s"; we count from the end of the last answer.
    """

    first_seconds: float
    interval_seconds: float
    deadline_seconds: float

    @classmethod
    def of(cls, settings: Tasks, *, callbacks: bool) -> Self:
        """The configured times; with callbacks, twice the interval, and the first poll no sooner than that."""
        interval = settings.poll_interval_seconds * (_NET_FACTOR if callbacks else 1.0)
        first = max(settings.first_poll_seconds, interval) if callbacks else settings.first_poll_seconds
        return cls(first, interval, settings.deadline_seconds)

    def found_again(self, next_poll_at: float, now: float) -> float:
        """The wait for a task of an earlier process, which remembered its first poll and not the later ones.

        Where that is still to come, it is kept. Where it is past, the task may have been asked for just now, so a whole
        interval goes by, and up to another one: the part of an interval that it was away from its turn. So tasks come
        back as spread as they were submitted, not all at once.
        """
        ahead = next_poll_at - now
        if ahead > 0:
            return min(ahead, self.first_seconds)
        return self.interval_seconds + (-ahead) % self.interval_seconds

    def repeat(self, failures: int) -> float:
        """The wait after so many queries in a row that gave no answer: 2 s, doubled each time up to the interval."""
        return max(_SOONEST_REPEAT_SECONDS, min(self.interval_seconds, 2.0 ** min(failures, 30)))

    def patience(self, submitted_at: float, now: float, until_first_poll: float) -> float:
        """How long from now a task may take before it is given up; in any case until it has been asked for once.

        After a long outage its result, which was paid for, may be there.
        """
        return max(submitted_at + self.deadline_seconds - now, until_first_poll + self.interval_seconds)
