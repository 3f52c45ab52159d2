"""What the engine counts, bound to its labels once so that counting an event is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.engine.way import Outcome
    from consumer.meters import Counter, Histogram
    from consumer.metrics import Metrics


__all__ = ["Tally"]


class Tally:
    """Counts of records, verdicts and dead letters, and the time events took."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._events: dict[str, Counter] = {}
        self._verdicts: dict[tuple[str, str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def read(self, topic: str, records: int) -> None:
        """Records were read from a topic."""
        counter = self._events.get(topic)
        if counter is None:
            counter = self._events[topic] = self._metrics.counter("events").labels(topic)
        counter.inc(records)

    def skipped(self, topic: str) -> None:
        """A record without a value was skipped."""
        self._metrics.counter("skipped").labels(topic).inc()

    def acknowledged(self, outcome: Outcome, seconds: float) -> None:
        """The broker has what became of a record."""
        trace = outcome.trace
        if trace is not None:
            trace.delivered()
        if outcome.error is not None:
            self._metrics.counter("dead_letters").labels(outcome.error.stage, outcome.error.reason).inc()
            self._metrics.errors.add("dead letter", outcome.error.reason, outcome.error.stage)
            return
        verdict = outcome.verdict
        if verdict is None:
            return
        key = (verdict.route, verdict.judgement.risk_level.word, verdict.action)
        counter = self._verdicts.get(key)
        if counter is None:
            counter = self._verdicts[key] = self._metrics.counter("verdicts").labels(*key)
        counter.inc()
        seen = self._seconds.get(verdict.route)
        if seen is None:
            seen = self._seconds[verdict.route] = self._metrics.histogram("event_seconds").labels(verdict.route)
        seen.observe(seconds, None if trace is None else trace.exemplar)

    def discarded(self, outcome: Outcome) -> None:
        """An answer came for a record that another process judges now: it was paid in vain."""
        if outcome.trace is not None:
            outcome.trace.discarded()
        if outcome.verdict is None:
            return
        judgement = outcome.verdict.judgement
        for service in judgement.services:
            self._metrics.counter("discarded_answers").labels(service).inc()
        for one in judgement.billed:
            self._metrics.counter("discarded_cost").labels(one.moderation_type, one.currency).inc(float(one.cost))
