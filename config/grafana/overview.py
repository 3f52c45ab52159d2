# ruff: noqa: INP001  # a script's parts beside it, no package
"""The overview: is anything stuck, what becomes of the events, what fails. The first dashboard to look at."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from config.grafana.panels import board, lines, number, words
from config.grafana.queries import QUANTILES, advice, gauge, grown, or_zero, quantile, query, rate
from config.grafana.shared import dead_letters


__all__ = ["overview"]


def overview() -> str:
    """The dashboard in Grafana's JSON."""
    return board(
        "overview",
        "overview",
        "Is anything stuck, how far behind is it, what becomes of the events, and what fails. The other dashboards, "
        "linked above, say why.",
        (("Is anything stuck?", _stuck()), ("What becomes of the events?", _events()), ("What fails?", _failures())),
    )


def _stuck() -> list[Any]:
    return [
        number("Records read", units.RecordsPerSecond, advice("events"), query(f"sum({rate('events')})", "read")),
        number(
            "Lag",
            units.Short,
            advice("lag_records"),
            query(f"sum({gauge('lag_records')})", "lag"),
            steps=((None, "green"), (10_000.0, "orange"), (100_000.0, "red")),
        ),
        number(
            "Oldest unfinished event",
            units.Seconds,
            advice("oldest_unfinished_seconds"),
            query(f"max({gauge('oldest_unfinished_seconds')})", "oldest"),
            steps=((None, "green"), (60.0, "orange"), (300.0, "red")),
        ),
        number(
            "Holding",
            units.NoUnit,
            advice("holding"),
            query(or_zero(f"max({gauge('holding')})"), "holding"),
            steps=((None, "green"), (1.0, "red")),
            mappings=words(no=(0, "green"), holding=(1, "red")),
            course=False,
        ),
        number(
            "Replicas that run",
            units.Short,
            "Replicas that were scraped. One alone can do the work; a second one takes over within seconds when it is "
            "gone. None: nothing is scraped, look at the PodMonitor and at the pods.",
            query(f"count({gauge('build')})", "replicas"),
            steps=((None, "red"), (1.0, "orange"), (2.0, "green")),
            course=False,
        ),
        number(
            "Partitions owned",
            units.Short,
            advice("lanes"),
            query(f"sum({gauge('lanes')})", "partitions"),
            steps=((None, "red"), (1.0, "green")),
            course=False,
        ),
        number(
            "Partitions held",
            units.Short,
            advice("held_partitions"),
            query(or_zero(f"sum({gauge('held_partitions')})"), "partitions"),
            steps=((None, "green"), (1.0, "red")),
            course=False,
        ),
        number(
            "Time to catch up",
            units.Seconds,
            "The lag divided by what is finished in a second: how old a record will be when it is judged, if nothing "
            "changes. It grows while more comes in than the quota can judge: have the limits raised, or give important "
            "routes more weight.",
            query(f"sum({gauge('lag_records')}) / (sum({rate('verdicts')}) > 0)", "behind"),
            steps=((None, "green"), (60.0, "orange"), (600.0, "red")),
        ),
    ]


def _events() -> list[Any]:
    return [
        lines(
            "Verdicts by action",
            units.EventsPerSecond,
            advice("verdicts"),
            query(f"sum by (action) ({rate('verdicts')})", "{{action}}"),
            stacked=True,
            colors={"pass": "green", "review": "orange", "block": "red"},
        ),
        lines(
            "Records read and what became of them",
            units.RecordsPerSecond,
            "Records read, and their three ends, which add up to what was read over minutes. Where they stay below it, "
            "look at the oldest unfinished event and at the holds.",
            query(f"sum({rate('events')})", "read"),
            query(f"sum({rate('verdicts')})", "verdict"),
            query(f"sum({rate('dead_letters')})", "dead letter"),
            query(f"sum({rate('skipped')})", "skipped"),
            many=True,
        ),
        lines(
            "Verdicts by risk level",
            units.EventsPerSecond,
            "Verdicts acknowledged by the broker, by risk level. Many of `unknown`: events go to people unjudged, look "
            "at the failed calls, the deadlines and the budgets.",
            query(f"sum by (risk_level) ({rate('verdicts')})", "{{risk_level}}"),
            stacked=True,
            colors={"none": "green", "low": "blue", "medium": "orange", "high": "red", "unknown": "purple"},
            many=True,
        ),
        lines(
            "Event latency",
            units.Seconds,
            advice("event_seconds"),
            *(query(quantile(share, "event_seconds"), name) for name, share in QUANTILES),
        ),
        lines(
            "Lag by topic",
            units.Short,
            advice("lag_records"),
            query(f"sum by (topic) ({gauge('lag_records')})", "{{topic}}"),
        ),
        lines(
            "Oldest unfinished event by replica",
            units.Seconds,
            advice("oldest_unfinished_seconds"),
            query(f"max by (instance) ({gauge('oldest_unfinished_seconds')})", "{{instance}}"),
        ),
    ]


def _failures() -> list[Any]:
    failed = rate("calls", where='code!="200",code!="280"')
    return [
        lines(
            "Calls that failed, by code",
            units.RequestsPerSecond,
            advice("calls"),
            query(f"sum by (code) ({failed})", "{{code}}"),
            stacked=True,
            many=True,
        ),
        dead_letters(),
        lines(
            "Holds by reason",
            units.NoUnit,
            advice("holding"),
            query(f"max by (reason) ({gauge('holding')})", "{{reason}}"),
            steps=True,
            top=1,
            mappings=words(no=(0, "green"), holding=(1, "red")),
            many=True,
        ),
        lines(
            "Events past their deadline",
            units.Short,
            advice("late_events"),
            query(f"sum by (route, went_to) ({grown('late_events')})", "{{route}} to {{went_to}}"),
            stacked=True,
        ),
        lines(
            "Time since the start, by replica",
            units.Seconds,
            f"{advice('up_since_seconds')} Restarts that nobody made: look at the log's last lines and at the memory.",
            query(f"time() - max by (instance) ({gauge('up_since_seconds')})", "{{instance}}"),
        ),
        lines(
            "Replicas by version",
            units.Short,
            advice("build"),
            query(f"count by (version) ({gauge('build')})", "{{version}}"),
            steps=True,
        ),
    ]
