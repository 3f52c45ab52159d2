"""Readings of the metrics: the numbers of the view are those of /metrics."""

from __future__ import annotations

from decimal import Decimal

from consumer.demo.reading import latency, read
from consumer.demo.summary import Amount, Counts
from consumer.metrics import Metrics


def test_counts_are_summed_over_their_other_labels() -> None:
    """Verdicts by action and by risk, dead letters and tombstones are what the counters say."""
    metrics = Metrics()
    metrics.counter("events").labels("t").inc(9)
    metrics.counter("verdicts").labels("text", "none", "pass").inc(4)
    metrics.counter("verdicts").labels("images", "none", "pass").inc(2)
    metrics.counter("verdicts").labels("text", "high", "block").inc()
    metrics.counter("dead_letters").labels("decode", "malformed").inc()
    metrics.counter("skipped").labels("t").inc()
    metrics.gauge("in_flight").set(3)
    reading = read(metrics)
    assert reading.read == 9
    assert reading.counts == Counts(7, 1, 1)
    assert reading.actions == {"pass": 6, "block": 1}
    assert reading.risk_levels == {"none": 6, "high": 1}
    assert reading.in_flight == 3


def test_costs_are_exact_although_counters_are_floats() -> None:
    """A thousand bills of a tenth of a cent make exactly as much as in the ledger, in each currency."""
    metrics = Metrics()
    for _ in range(1000):
        metrics.counter("billed_units").labels("text_llm_advanced").inc()
        metrics.counter("billed_cost").labels("text_llm_advanced", "CNY").inc(0.004)
    metrics.counter("billed_units").labels("image_standard").inc(3)
    metrics.counter("billed_cost").labels("image_standard", "USD").inc(0.0018)
    reading = read(metrics)
    assert reading.billed == {
        "text_llm_advanced": Amount(1000, Decimal(4)),
        "image_standard": Amount(3, Decimal("0.0018")),
    }
    assert reading.costs == {"CNY": Decimal(4), "USD": Decimal("0.0018")}


def test_latency_is_that_of_the_calls_in_between() -> None:
    """Calls from before do not count; 95 % lie under the bound that is given."""
    metrics = Metrics()
    calls = metrics.histogram("call_seconds").labels("TextModerationPlus", "ugc_moderation_byllm")
    calls.observe(20.0)
    earlier = read(metrics)
    assert latency(earlier, earlier) is None
    for _ in range(19):
        calls.observe(0.12)
    calls.observe(2.0)
    took = latency(earlier, read(metrics))
    assert took is not None
    assert took.most == 0.25
    assert abs(took.mean - (19 * 0.12 + 2.0) / 20) < 1e-9
