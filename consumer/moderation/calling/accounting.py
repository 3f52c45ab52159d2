"""What calls are counted as: each metric's children are looked up once, as this is on the way of every call."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.meters import Counter, Histogram
    from consumer.metrics import Metrics
    from consumer.moderation.protocol.codes import Code
    from consumer.moderation.protocol.services import Quota, Service
    from consumer.verdict import Billed


__all__ = ["Accounting"]


# What says nothing of a service, or of the account.
_FINE = frozenset({"judged", "pending"})


def _no_exemplar() -> None:
    return None


class Accounting:
    """Counts calls, their time and their cost. `exemplar` says what the time of a call is to be an example of."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.exemplar: Callable[[], dict[str, str] | None] = _no_exemplar
        self._tokens: dict[Quota, tuple[Counter, Histogram]] = {}
        self._calls: dict[tuple[str, str, int | str], tuple[Counter, Histogram]] = {}
        self._bills: dict[tuple[str, str], tuple[Counter, Counter, Counter]] = {}

    def token(self, quota: Quota, waited_seconds: float) -> None:
        """A token was taken after this wait."""
        found = self._tokens.get(quota)
        if found is None:
            wait = self._metrics.histogram("quota_wait_seconds").labels(quota)
            found = self._tokens[quota] = (self._metrics.counter("quota_used").labels(quota), wait)
        used, wait = found
        used.inc()
        wait.observe(waited_seconds, self.exemplar())

    def called(self, service: Service, row: Code, seconds: float) -> None:
        """A request ended like this after so long."""
        key = (service.operation, service.name, row.code)
        found = self._calls.get(key)
        if found is None:
            took = self._metrics.histogram("call_seconds").labels(service.operation, service.name)
            found = self._calls[key] = (self._calls_counter(service, str(row.code)), took)
        count, took = found
        count.inc()
        if row.code != "transport":
            took.observe(seconds, self.exemplar())
        if row.outcome not in _FINE:
            self._metrics.errors.add("call", str(row.code), service.name)
        if row.billed == "unknown":
            self.bill_unknown(service)

    def abandoned(self, service: Service) -> None:
        """A request was given up while on the wire."""
        self._calls_counter(service, "abandoned").inc()
        self.bill_unknown(service)

    def bill_unknown(self, service: Service) -> None:
        """A request may have been billed, or not; one that is free has not."""
        if not service.free:
            self._metrics.counter("bill_unknown_calls").labels(service.name).inc()

    def throttled(self, quota: Quota) -> None:
        """An answer said: too fast."""
        self._metrics.counter("throttled").labels(quota).inc()

    def retried(self, service: Service, reason: str) -> None:
        """A request is sent again for this reason."""
        self._metrics.counter("retries").labels(service.name, reason).inc()

    def billed(self, bill: Billed) -> None:
        """An answer was paid for."""
        key = (bill.moderation_type, bill.currency)
        found = self._bills.get(key)
        if found is None:
            counter = self._metrics.counter
            found = self._bills[key] = (
                counter("billed_units").labels(bill.moderation_type),
                counter("billed_cost").labels(*key),
                counter("billed_plan_units").labels(bill.moderation_type),
            )
        units, cost, plan_units = found
        units.inc(bill.units)
        cost.inc(float(bill.cost))
        plan_units.inc(float(bill.plan_units))

    def _calls_counter(self, service: Service, code: str) -> Counter:
        return self._metrics.counter("calls").labels(service.operation, service.name, code)
