"""The catalogue of metrics: its names are an interface."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from consumer.meters import Counter, Histogram
from consumer.metrics import CATALOGUE, CONTENT_TYPE, PREFIX, Metric, Metrics


GOLDEN = Path(__file__).parent / "data" / "metric_names.txt"
EVERY = pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)


def line(metric: Metric) -> str:
    ending = "_total" if metric.kind is Counter else ""
    return f"{metric.kind.__name__.lower()} {PREFIX}{metric.name}{ending}{{{','.join(metric.labels)}}}"


def test_names_and_labels_are_an_interface() -> None:
    """Users' dashboards and alerts hang on names and labels: a change here breaks them and goes into the changelog."""
    assert sorted(line(metric) for metric in CATALOGUE) == GOLDEN.read_text().splitlines()


@EVERY
def test_each_metric_says_what_it_is_and_what_to_do(metric: Metric) -> None:
    """Every metric has a sentence that explains it and one that says what to do when it looks wrong."""
    for sentence in (metric.help, metric.advice):
        assert re.fullmatch(r"[A-Z1].{10,}\.", sentence)
    assert metric.help != metric.advice


@EVERY
def test_names_end_as_prometheus_wants(metric: Metric) -> None:
    """Units are spelt out at the end of a name, `_total` is left to the exposition, reserved endings are not used."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
    assert not re.search(r"_(total|count|sum|bucket|created|info)$", metric.name)
    assert not re.search(
        r"(^|_)(ms|millis|milliseconds|s|sec|secs|minutes|hours|kb|kib|mb|mib|size|duration|latency|age)(_|$)",
        metric.name,
    )
    if metric.kind is Histogram:
        assert metric.name.endswith("_seconds")
    if metric.kind is Counter:
        assert not metric.name.endswith(("_seconds", "_bytes"))
    if re.search(r"\b([Tt]ime from|[Aa]ge of|in seconds)\b", metric.help):
        assert metric.name.endswith("_seconds")
    if re.search(r"\bBytes\b", metric.help):
        assert metric.name.endswith("_bytes")


@EVERY
def test_buckets_rise_and_reach_as_far_as_the_waits(metric: Metric) -> None:
    """Histograms tell a tenth of a second from a half, and reach to 10 seconds; other kinds have no buckets."""
    if metric.kind is not Histogram:
        assert metric.buckets == ()
        return
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert {0.1, 0.5, 10.0} <= set(metric.buckets)


def test_all_metrics_are_exposed_in_openmetrics() -> None:
    """A scrape shows every metric under its name, with help, even before anything has happened."""
    metrics = Metrics()
    text = metrics.render().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]  # ships no types
    assert set(families) == {PREFIX + metric.name for metric in CATALOGUE}
    assert [metric.name for metric in metrics] == [metric.name for metric in CATALOGUE]
    for metric in CATALOGUE:
        assert families[PREFIX + metric.name].documentation == f"{metric.help} {metric.advice}"
    assert CONTENT_TYPE.startswith("application/openmetrics-text")


def test_metrics_are_had_by_name_and_kind() -> None:
    """A metric asked for as the wrong kind, or under a wrong name, fails where it is asked for."""
    metrics = Metrics()
    metrics.counter("events").labels("ugc").inc()
    metrics.gauge("in_flight").set(3)
    metrics.histogram("call_seconds").labels("TextModerationPlus", "ugc_moderation_byllm").observe(0.2)
    assert metrics.registry.get_sample_value("moderation_events_total", {"topic": "ugc"}) == 1
    assert metrics.registry.get_sample_value("moderation_in_flight") == 3
    with pytest.raises(TypeError, match="is no Counter"):
        metrics.counter("in_flight")
    with pytest.raises(TypeError, match="is no Gauge"):
        metrics.gauge("events")
    with pytest.raises(KeyError):
        metrics.counter("no_such_metric")


def test_two_sets_of_metrics_do_not_meet() -> None:
    """Two consumers in one process, as in tests, count for themselves."""
    one, other = Metrics(), Metrics()
    one.counter("events").labels("ugc").inc()
    assert other.registry.get_sample_value("moderation_events_total", {"topic": "ugc"}) is None
