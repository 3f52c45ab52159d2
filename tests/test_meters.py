"""The meters that events are counted with: what a scrape sees is what the Prometheus library's own would show."""

from __future__ import annotations

import re
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from consumer.meters import Counter, Gauge, Histogram
from consumer.metrics import CATALOGUE, PREFIX, Metrics


def used(metric: Any, labels: tuple[str, ...], kind: type) -> None:
    """Count with a metric, of ours or of the library, as a program does."""
    for value in ("a", 'quoted "b"\n') if labels else ("",):
        one = metric.labels(*[value] * len(labels)) if labels else metric
        if kind is Counter:
            one.inc()
            one.inc(2.5)
        elif kind is Gauge:
            one.set(3)
            if value == "a":
                one.set_function(lambda: 7)
        else:
            for seconds in (0, 0.004, 0.005, 0.1, 0.11, 1e9):
                one.observe(seconds, {"trace_id": "abc"} if seconds == 0.1 else None)


def test_a_scrape_is_the_same_as_the_librarys() -> None:
    """Each metric of the catalogue, counted in the same way, is shown as the Prometheus library's own would be."""
    metrics, registry = Metrics(), CollectorRegistry()
    for metric in CATALOGUE:
        name, help_text = PREFIX + metric.name, f"{metric.help} {metric.advice}"
        more: dict[str, Any] = {"buckets": metric.buckets} if metric.kind is Histogram else {}
        theirs = getattr(prometheus_client, metric.kind.__name__)(
            name, help_text, metric.labels, registry=registry, **more
        )
        ours = getattr(metrics, metric.kind.__name__.lower())(metric.name)
        used(theirs, metric.labels, metric.kind)
        used(ours, metric.labels, metric.kind)

    def timeless(text: bytes) -> str:
        created = re.sub(r"(_created(?:\{.*\})?) .*", r"\1", text.decode())
        return re.sub(r"(# \{trace_id=\"abc\"\} \S+) .*", r"\1", created)

    shown = timeless(metrics.render())
    assert "trace_id" in shown
    assert shown == timeless(generate_latest(registry))  # type: ignore[no-untyped-call]  # the library has no types here


def test_labels_have_to_fit() -> None:
    """Too few labels, too many, or some where there are none, are an error and not another metric."""
    for values in ((), ("a",), ("a", "b", "c")):
        with pytest.raises(ValueError, match="labels are"):
            Counter(("one", "two")).labels(*values)
    with pytest.raises(ValueError, match="labels are"):
        Gauge().labels("a")


def test_what_needs_labels_does_not_count_without() -> None:
    """Counting with a metric that needs labels, without them, fails and is not lost."""
    with pytest.raises(AttributeError):
        Counter(("topic",)).inc()
    with pytest.raises(AttributeError):
        Histogram(("topic",), (1.0, 2.0)).observe(1.5)


def test_a_counter_never_goes_back() -> None:
    """A counter refuses to count backwards and stays where it was."""
    counter = Counter()
    counter.inc(2)
    with pytest.raises(ValueError, match="never goes back"):
        counter.inc(-1)
    assert counter.value == 2


def test_what_is_removed_is_not_shown() -> None:
    """Labels' values that were removed are shown no longer; removing them once more does no harm."""
    metrics = Metrics()
    gauge = metrics.gauge("lag_records")
    gauge.labels("ugc", "0").set(5)
    gauge.labels("ugc", "1").set(6)
    gauge.remove("ugc", "0")
    gauge.remove("ugc", "0")
    assert metrics.readings("lag_records") == {("ugc", "1"): 6}
