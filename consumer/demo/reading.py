"""The consumer's metrics as plain numbers: one reading, and what happened between two of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from consumer.demo.summary import Amount, Counts


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.meters import Meter
    from consumer.metrics import Metrics


__all__ = ["Latency", "Reading", "latency", "read"]


# Samples need a name, and nobody sees it.
_NAME = "metric"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the metrics say at one moment; everything but `in_flight` and `quota_limit` counts from the start.

    `call_buckets` has, for each upper bound in seconds, the answers that took at most so long.
    """

    read: int = 0
    counts: Counts = field(default_factory=Counts)
    actions: Mapping[str, int] = field(default_factory=dict)
    risk_levels: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    quota_used: Mapping[str, int] = field(default_factory=dict)
    quota_limit: Mapping[str, int] = field(default_factory=dict)
    billed: Mapping[str, Amount] = field(default_factory=dict)
    currencies: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0
    throttled: int = 0
    call_seconds: float = 0.0
    call_buckets: Mapping[float, int] = field(default_factory=dict)

    @property
    def costs(self) -> dict[str, Decimal]:
        """What everything cost, by currency."""
        costs: dict[str, Decimal] = {}
        for name, amount in self.billed.items():
            currency = self.currencies[name]
            costs[currency] = costs.get(currency, Decimal(0)) + amount.cost
        return costs


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took: their mean, and the histogram's bound below which 95 % of them stayed; both in seconds."""

    mean: float
    most: float


def read(metrics: Metrics) -> Reading:
    """The metrics now."""
    actions, risk_levels = _by(metrics, "verdicts", "action"), _by(metrics, "verdicts", "risk_level")
    cost: dict[str, Decimal] = {}
    currencies: dict[str, str] = {}
    for labels, value in _samples(metrics.counter("billed_cost"), "_total"):
        name = labels["moderation_type"]
        currencies[name] = labels["currency"]
        # Floats were added up; prices are in millionths.
        cost[name] = cost.get(name, Decimal(0)) + round(Decimal(value), 6)
    units = _by(metrics, "billed_units", "moderation_type")
    calls = metrics.histogram("call_seconds")
    buckets: Counter[float] = Counter()
    for labels, value in _samples(calls, "_bucket"):
        buckets[float(labels["le"])] += int(value)
    return Reading(
        read=_by(metrics, "events").total(),
        counts=Counts(actions.total(), _by(metrics, "dead_letters").total(), _by(metrics, "skipped").total()),
        actions=actions,
        risk_levels=risk_levels,
        in_flight=int(next((value for _, value in _samples(metrics.gauge("in_flight"), "")), 0)),
        quota_used=_by(metrics, "quota_used", "quota"),
        quota_limit={labels["quota"]: int(value) for labels, value in _samples(metrics.gauge("quota_limit"), "")},
        billed={name: Amount(count, cost[name]) for name, count in units.items()},
        currencies=currencies,
        retries=_by(metrics, "retries").total(),
        throttled=_by(metrics, "throttled").total(),
        call_seconds=sum(value for _, value in _samples(calls, "_sum")),
        call_buckets=dict(sorted(buckets.items())),
    )


def latency(earlier: Reading, later: Reading) -> Latency | None:
    """How long the calls between two readings took; None where there were none."""
    counts = {bound: count - earlier.call_buckets.get(bound, 0) for bound, count in later.call_buckets.items()}
    calls = max(counts.values(), default=0)
    if calls == 0:
        return None
    most = next(bound for bound, count in counts.items() if count >= 0.95 * calls)
    return Latency((later.call_seconds - earlier.call_seconds) / calls, most)


def _by(metrics: Metrics, counter: str, label: str = "") -> Counter[str]:
    """A counter's values summed over all its labels but one."""
    found: Counter[str] = Counter()
    for labels, value in _samples(metrics.counter(counter), "_total"):
        found[labels.get(label, "")] += int(value)
    return found


def _samples(metric: Meter, suffix: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for sample in metric.family(_NAME, "").samples:
        if sample.name == _NAME + suffix:
            yield sample.labels, sample.value
