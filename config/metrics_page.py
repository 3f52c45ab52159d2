# ruff: noqa: INP001  # a script beside its parts, no package
"""The page of all metrics: `python -m config.metrics_page` writes docs/metrics.md from the catalogue and the alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from consumer.meters import Counter, Histogram
from consumer.metrics import CATALOGUE, PREFIX, Metric


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["GROUPS", "PAGE", "page"]


_ROOT = Path(__file__).parents[1]
_RULES = _ROOT / "helm" / "moderation-consumer" / "rules" / "moderation-consumer.yaml"
PAGE = _ROOT / "docs" / "metrics.md"

GROUPS: dict[str, str] = {
    "Events and what became of them": (
        "events|verdicts|dead_letters|plugin_failures|skipped|schema_requests|event_seconds|late_events|in_flight.*|"
        "oldest_unfinished_seconds|lag_records|records_expired|held_partitions"
    ),
    "Calls to the service": "calls|call_seconds|retries|holding|breaker_.*|batch.*|discarded_answers",
    "The quota": "quota_.*|throttled",
    "Tasks and callbacks": "task.*|callbacks|state_.*",
    "Money": "bill.*|budget_.*|spent_cost|forecast_cost|discarded_cost",
    "Savings": "cache_.*|saved_.*|packed_.*",
    "Kafka": "lanes|lane_stalls|takeover.*|rebalances|rejoins|commit.*|stall_guard_shut|kafka_.*",
    "The process": "up_since_seconds|build|config_.*|credentials_expire_at_seconds",
}
"""The page's parts, each with the names that belong to it; a metric is in exactly one."""

_INTRODUCTION = f"""\
# Metrics

<!-- Made from the catalogue in consumer/metrics.py by `python -m config.metrics_page`. Change that, then run it. -->

All {len(CATALOGUE)} metrics that `/metrics` of the admin port (`admin.port`, 9464) shows. The catalogue in
`consumer/metrics.py` is what makes both them and this page. Names and labels are an interface: they change with a line
in the changelog, and never otherwise.

- **Counters** only grow while a process lives: look at `rate(…[5m])`, and sum over replicas, since work moves between
  them. **Gauges** are what is now. Of **histograms** there are `_bucket`, `_sum` and `_count`; the table has the
  buckets' limits below it.
- Labels never hold content, keys or ids of users. `topic`, `route`, `service`, `budget` and `plugin` are names from
  your configuration; `code` is in [codes](codes.md).
- Who asks for OpenMetrics gets [exemplars](tracing.md#exemplars), too.
- [Dashboards](dashboards.md) show nearly all of them, and [alerts](alerts.md) watch those with a name in the last
  column.
"""
_TABLE = "| metric | labels | what it is | when it looks wrong | alerts |\n|---|---|---|---|---|"


def page() -> str:
    """The page, as it stands in the documentation."""
    watched = _watched()
    parts = [_INTRODUCTION]
    for title, names in GROUPS.items():
        metrics = [metric for metric in CATALOGUE if re.fullmatch(names, metric.name)]
        rows = "\n".join(_row(metric, watched.get(full(metric), [])) for metric in metrics)
        parts.append(f"## {title}\n\n{_TABLE}\n{rows}\n")
        parts += [
            f"Buckets of `{full(metric)}`, in seconds: {', '.join(f'{limit:g}' for limit in metric.buckets)}.\n"
            for metric in metrics
            if metric.buckets
        ]
    return "\n".join(parts)


def full(metric: Metric) -> str:
    """The metric's name as Prometheus has it."""
    return f"{PREFIX}{metric.name}{'_total' if metric.kind is Counter else ''}"


def _row(metric: Metric, alerts: list[str]) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    names = ", ".join(f"[{alert.removeprefix('Moderation')}](runbooks/{alert}.md)" for alert in alerts)
    cells = (f"`{full(metric)}` {metric.kind.__name__.lower()}", labels, metric.help, metric.advice, names)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _watched() -> dict[str, list[str]]:
    """Which alerts look at a metric."""
    found: dict[str, list[str]] = {}
    for alert, expression in _alerts():
        for name in dict.fromkeys(re.findall(rf"\b{PREFIX}\w+", expression)):
            found.setdefault(name, []).append(alert)
    histograms = {full(metric) for metric in CATALOGUE if metric.kind is Histogram}
    for name in histograms:
        found[name] = [alert for part in ("bucket", "sum", "count") for alert in found.get(f"{name}_{part}", [])]
    return found


def _alerts() -> Iterator[tuple[str, str]]:
    """Each alert with its expression, in which what a recording rule makes is written out."""
    rules = [rule for group in yaml.safe_load(_RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    for rule in rules:
        if "alert" in rule:
            used = [expression for name, expression in recorded.items() if name in rule["expr"]]
            yield rule["alert"], " ".join([rule["expr"], *used])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
