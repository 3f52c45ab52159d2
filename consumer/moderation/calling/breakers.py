"""A breaker for each service: what its calls come to, and the hold that stands while most of them fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.moderation.protocol.codes import failing
from consumer.quota import Breaker


if TYPE_CHECKING:
    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.calling.exchange import Tried
    from consumer.moderation.calling.hold import Hold
    from consumer.quota.breaker import State


__all__ = ["Breakers"]


_SHOWN: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


class Breakers:
    """Holds a service while its breaker is not closed; the calls of the others go on.

    Failures are what the codes table has tried again: the service's own, no connection, no answer, or one that cannot
    be read. Being too fast and what holds the account say nothing of a service, and a content that is refused says
    that it works.
    """

    def __init__(self, hold: Hold, *, longest_pause_seconds: float, clock: Clock, metrics: Metrics) -> None:
        self._hold = hold
        self._longest_pause_seconds = longest_pause_seconds
        self._clock = clock
        self._states = metrics.gauge("breaker_state")
        self._openings = metrics.counter("breaker_openings")
        self._breakers: dict[str, Breaker] = {}

    def ended(self, gate: str, tried: Tried) -> None:
        """A request that passed this gate has ended."""
        row = tried.row
        failed = row.outcome == "retry"
        if not failed and (not isinstance(row.code, int) or row.outcome in {"hold", "throttled"}):
            return
        breaker = self._of(gate)
        was = breaker.state
        if not breaker.ended(failed=failed, sent_at=tried.sent_at):
            return
        now = breaker.state
        if now == "closed":
            if was != "closed":
                self._hold.recovered(gate)
        else:
            if was == "closed":
                self._openings.labels(gate).inc()
                self._hold.place(failing(row), gate)
            self._hold.pace(gate, breaker.pause_seconds)
        if now != was:
            self._states.labels(gate).set(_SHOWN[now])

    def _of(self, gate: str) -> Breaker:
        breaker = self._breakers.get(gate)
        if breaker is None:
            breaker = Breaker(self._clock, longest_pause_seconds=self._longest_pause_seconds)
            self._breakers[gate] = breaker
            self._states.labels(gate).set(_SHOWN["closed"])
            self._openings.labels(gate)
        return breaker
