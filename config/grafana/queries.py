# ruff: noqa: INP001  # a script's parts beside it, no package
"""Expressions over the catalogue's metrics, narrowed to the dashboard's variables; a wrong name fails at once."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from consumer.metrics import CATALOGUE, PREFIX


__all__ = [
    "QUANTILES",
    "advice",
    "buckets",
    "gauge",
    "grown",
    "in_range",
    "latest",
    "or_zero",
    "quantile",
    "query",
    "rate",
]


QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))

_SELECTOR = 'job=~"$job",instance=~"$instance"'
_CATALOGUE = {metric.name: metric for metric in CATALOGUE}


def advice(*names: str) -> str:
    """What these metrics are, and what to do about them."""
    return " ".join(f"{_CATALOGUE[name].help} {_CATALOGUE[name].advice}" for name in names)


def gauge(name: str) -> str:
    """A gauge of all replicas."""
    return f"{PREFIX}{_CATALOGUE[name].name}{{{_SELECTOR}}}"


def rate(name: str, *, part: str = "_total", where: str = "") -> str:
    """How much a counter grows in a second; `part` is `_sum` or `_count` of a histogram."""
    more = f",{where}" if where else ""
    return f"rate({PREFIX}{_CATALOGUE[name].name}{part}{{{_SELECTOR}{more}}}[$__rate_interval])"


def grown(name: str) -> str:
    """By how much a counter has grown, for what happens so rarely that a rate says nothing.

    A series that has just begun, as one does with the first dead letter of its kind, has grown by all that it counts;
    `increase` alone sees nothing of it.
    """
    series = f"{PREFIX}{_CATALOGUE[name].name}_total{{{_SELECTOR}}}"
    known = f"last_over_time({series}[1h] offset $__rate_interval)"
    return f"(({series} unless {known}) or increase({series}[$__rate_interval]))"


def in_range(name: str) -> str:
    """By how much a counter has grown in the time that the dashboard shows."""
    return f"increase({PREFIX}{_CATALOGUE[name].name}_total{{{_SELECTOR}}}[$__range])"


def quantile(share: float, name: str, *by: str) -> str:
    """A quantile of a histogram, of all replicas together."""
    inner = f"rate({PREFIX}{_CATALOGUE[name].name}_bucket{{{_SELECTOR}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) ({inner}))"


def buckets(name: str) -> str:
    """How many observations fell into each bucket of a histogram, cumulated as Prometheus keeps them."""
    return f"sum by (le) (increase({PREFIX}{_CATALOGUE[name].name}_bucket{{{_SELECTOR}}}[$__rate_interval]))"


def or_zero(expression: str) -> str:
    """This, or zero while there is nothing of it and a replica runs."""
    return f"{expression} or 0 * max({gauge('build')})"


def query(expression: str, legend: str, *, heat: bool = False) -> Any:
    """What a panel over time asks for; `heat` for buckets."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend).range()
    return made.format(PromQueryFormat.HEATMAP) if heat else made


def latest(expression: str, legend: str) -> Any:
    """What a panel about now asks for."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).instant()
