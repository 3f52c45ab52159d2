"""The stall guard: a process that stood still, or cannot commit, may have been replaced and sends nothing meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import structlog


if TYPE_CHECKING:
    from consumer.clock import Clock
    from consumer.metrics import Metrics


__all__ = ["Guard", "OpenGuard", "StallGuard"]


_TICK_SECONDS = 0.25
_NEVER = float("-inf")
_Reason = Literal["gap", "unproven"]
_log = structlog.get_logger(__name__)


class Guard(Protocol):
    """Says whether anything may be sent that another process might be sending too."""

    @property
    def shut(self) -> bool:
        """Whether nothing may be sent: to be asked directly before each request is written."""
        ...

    async def opened(self) -> None:
        """Return when it is not shut. When cancelled, nothing changes."""
        ...


class OpenGuard:
    """The guard of a process that nobody can replace: it is never shut."""

    __slots__ = ()

    shut = False

    async def opened(self) -> None:
        """Return at once."""


class StallGuard:
    """Shut from the moment that this process may have been replaced until it has proven that it was not.

    A process that stands still for longer than its session (stopped, swapped out, or its virtual machine asleep) is
    replaced, and does not know it when it wakes. A fenced write, that is a commit or a transaction, does: it is refused
    if another process has taken over. So this is shut after each gap of more than `limit_seconds` between its ticks,
    whoever sees it first, and when no fenced write is known to have succeeded for `proof_seconds`. It opens when one
    succeeds that was sent after it was found shut; before the first one it is shut too.

    Keep `run` in a task. Nothing helps against standing still between the last question and the write itself: ask
    directly before the write, with no `await` between the two.

    Args:
        clock: its monotonic time goes on while the machine sleeps.
        limit_seconds: how long nothing may have happened.
        proof_seconds: how long a fenced write is good for, from when it was sent: half the session time-out.
        metrics: where it is counted how often it was shut, and why.
    """

    def __init__(
        self, clock: Clock, *, limit_seconds: float = 2.0, proof_seconds: float, metrics: Metrics | None = None
    ) -> None:
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._proof_seconds = proof_seconds
        self._counters = {}
        if metrics is not None:
            counter = metrics.counter("stall_guard_shut")
            self._counters = {reason: counter.labels(reason) for reason in get_args(_Reason)}
        self._ticked_at = self._shut_at = clock.monotonic()
        self._proven_at = _NEVER
        self._good_until = _NEVER
        self._idle = True
        self._open = asyncio.Event()

    async def run(self) -> None:
        """Tick until cancelled; whoever does not tick has stood still."""
        while True:
            now = self._clock.monotonic()
            is_shut = self._look(now)
            self._ticked_at = now
            if not is_shut:
                self._extend()
            await self._clock.sleep(_TICK_SECONDS)

    @property
    def shut(self) -> bool:
        """Whether nothing may be sent: to be asked directly before each request is written."""
        now = self._clock.monotonic()
        return now > self._good_until and self._look(now)

    @property
    def proof_due(self) -> bool:
        """Whether a fenced write should be sent soon, though there may be nothing to write."""
        return self.shut or self._clock.monotonic() - self._proven_at >= self._proof_seconds / 2

    def now(self) -> float:
        """The time to remember before a fenced write is sent."""
        now = self._clock.monotonic()
        # A gap that just ended is noted before the write: otherwise the write would seem to be older than the gap.
        self._look(now)
        return now

    def proven(self, sent_at: float) -> None:
        """A fenced write that was sent at this time has succeeded: nobody had taken over by then."""
        now = self._clock.monotonic()
        was_shut = self._look(now)
        if sent_at < self._shut_at or now - sent_at > self._proof_seconds:
            return
        self._proven_at = max(self._proven_at, sent_at)
        self._extend()
        if was_shut:
            if not self._idle:
                _log.info("stall_guard_opened", shut_for_seconds=round(now - self._shut_at, 3))
            self._idle = False
            self._open.set()

    def released(self) -> None:
        """This process owns nothing any more: shut until a takeover's own first write, which is no stall."""
        self._shut(self._clock.monotonic())
        self._idle = True

    async def opened(self) -> None:
        """Return when it is not shut. When cancelled, nothing changes."""
        while self.shut:
            await self._open.wait()

    def _look(self, now: float) -> bool:
        """Find out whether it is shut at this time."""
        silent_seconds = now - self._ticked_at
        unproven_seconds = now - self._proven_at
        if silent_seconds > self._limit_seconds:
            self._ticked_at = now
            self._stalled("gap", silent_seconds, now)
        elif self._open.is_set() and unproven_seconds > self._proof_seconds:
            self._stalled("unproven", unproven_seconds, now)
        return not self._open.is_set()

    def _stalled(self, reason: _Reason, seconds: float, now: float) -> None:
        self._shut(now)
        if not self._idle:
            if reason in self._counters:
                self._counters[reason].inc()
            _log.warning("stall_guard_shut", reason=reason, seconds=round(seconds, 3))

    def _shut(self, now: float) -> None:
        self._shut_at = now
        self._good_until = _NEVER
        self._open.clear()

    def _extend(self) -> None:
        self._good_until = min(self._ticked_at + self._limit_seconds, self._proven_at + self._proof_seconds)
