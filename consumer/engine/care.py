"""Finding a record that kills the process: one at a time is tried, and its name is committed before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from consumer.clock import Clock
    from consumer.engine.lane import Lane, Work


__all__ = ["Care"]


_log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.2
# A record that is tried alone and has not killed the process by then is no suspect: it may wait for hours in a hold.
_SUSPECT_SECONDS = 30.0
# A lane that has nothing to do for so long proves that the process lives.
_SURVIVED_SECONDS = 60.0


class Care:
    """While it is `taken`, one record at a time is worked on in the whole process.

    That is from an assignment whose notes say that the process died again and again and nothing was done in between,
    until as many records have been tried as can have been in flight then.

    Args:
        records: So many.
        lanes: All lanes that are ours.
        commit: Commits all of them, and says whether that is done.
        clock: The time.
    """

    def __init__(
        self,
        records: int,
        *,
        lanes: Callable[[], Collection[Lane]],
        commit: Callable[[], Awaitable[bool]],
        clock: Clock,
    ) -> None:
        self._records = records
        self._lanes = lanes
        self._commit = commit
        self._clock = clock
        self._left = 0
        self.taken = False

    def take(self) -> None:
        """A record may be killing the process."""
        self.taken = True
        self._left = self._records
        _log.warning("one_at_a_time", why="the process died again and again, and nothing was done in between")

    async def tries(self, work: Work) -> None:
        """Note that this record is the one that is tried, or that care is over; returns when that is committed.

        No older suspect is in the notes then. When cancelled, the note may be committed or not.
        """
        over = self._left <= 0
        if over:
            for lane in self._lanes():
                lane.survived()
        else:
            self._left -= 1
            work.lane.suspects(work.record.offset, self._clock.monotonic())
        while not await self._commit():
            await self._clock.sleep(_RETRY_SECONDS)
        if over:
            self.taken = False
            _log.info("one_at_a_time_no_more")

    def look_after(self, lane: Lane, now: float) -> None:
        """Withdraw what time has disproved."""
        if lane.suspect is not None and now - lane.suspect_since >= _SUSPECT_SECONDS:
            lane.suspect = None
        if not self.taken and (lane.got_on or (lane.idle and now - lane.opened_at >= _SURVIVED_SECONDS)):
            lane.survived()
