"""What calls are counted as: each metric's children are looked up once, as this is on the way of every call."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

    from consumer.metrics import Metrics
    from consumer.moderation.protocol.codes import Code
    from consumer.moderation.protocol.services import Quota, Service
    from consumer.verdict import Billed


__all__ = ["Accounting"]


class Accounting:
    """Counts calls, their time and their cost."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def token(self, quota: Quota, waited_seconds: float) -> None:
        """A token was taken after this wait."""
        self._counter("quota_used", quota).inc()
        self._histogram("quota_wait_seconds", quota).observe(waited_seconds)

    def called(self, service: Service, row: Code, seconds: float) -> None:
        """A request ended like this after so long."""
        self._counter("calls", service.operation, service.name, str(row.code)).inc()
        if row.code != "transport":
            self._histogram("call_seconds", service.operation, service.name).observe(seconds)
        if row.billed == "unknown":
            self.bill_unknown(service)

    def abandoned(self, service: Service) -> None:
        """A request was given up while on the wire."""
        self._counter("calls", service.operation, service.name, "abandoned").inc()
        self.bill_unknown(service)

    def bill_unknown(self, service: Service) -> None:
        """A request may have been billed, or not; one that is free has not."""
        if not service.free:
            self._counter("bill_unknown_calls", service.name).inc()

    def throttled(self, quota: Quota) -> None:
        """An answer said: too fast."""
        self._counter("throttled", quota).inc()

    def retried(self, service: Service, reason: str) -> None:
        """A request is sent again for this reason."""
        self._counter("retries", service.name, reason).inc()

    def billed(self, bill: Billed) -> None:
        """An answer was paid for."""
        self._counter("billed_units", bill.moderation_type).inc(bill.units)
        self._counter("billed_cost", bill.moderation_type, bill.currency).inc(float(bill.cost))
        self._counter("billed_plan_units", bill.moderation_type).inc(float(bill.plan_units))

    def _counter(self, name: str, *labels: str) -> Counter:
        key = (name, *labels)
        child = self._counters.get(key)
        if child is None:
            child = self._counters[key] = self._metrics.counter(name).labels(*labels)
        return child

    def _histogram(self, name: str, *labels: str) -> Histogram:
        key = (name, *labels)
        child = self._histograms.get(key)
        if child is None:
            child = self._histograms[key] = self._metrics.histogram(name).labels(*labels)
        return child
