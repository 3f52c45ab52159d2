# ruff: noqa: INP001  # a script's parts beside it, no package
"""The dashboard of Kafka: partitions and lag, the group and its takeovers, commits, memory, what was not judged."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from config.grafana.panels import board, lines
from config.grafana.queries import advice, gauge, grown, or_zero, quantile, query, rate
from config.grafana.shared import dead_letters


__all__ = ["kafka"]


def kafka() -> str:
    """The dashboard in Grafana's JSON."""
    return board(
        "kafka",
        "Kafka",
        "Which replica has the partitions and how far behind they are, how the group fares, what is committed, what is "
        "in memory, and which records were not judged.",
        (
            ("Partitions and lag", _lag()),
            ("The group", _group()),
            ("Commits and memory", _commits()),
            ("What was not judged", _letters()),
        ),
    )


def _lag() -> list[Any]:
    return [
        lines(
            "Partitions owned, by replica",
            units.Short,
            advice("lanes"),
            query(f"sum by (instance) ({gauge('lanes')})", "{{instance}}"),
            steps=True,
        ),
        lines(
            "Lag by partition",
            units.Short,
            advice("lag_records"),
            query(f"sum by (topic, partition) ({gauge('lag_records')})", "{{topic}}/{{partition}}"),
            many=True,
        ),
        lines(
            "Records read, by topic",
            units.RecordsPerSecond,
            advice("events"),
            query(f"sum by (topic) ({rate('events')})", "{{topic}}"),
        ),
        lines(
            "Partitions that stand still",
            units.Short,
            f"{advice('held_partitions')} {advice('lane_stalls')}",
            query(f"sum by (topic) ({gauge('held_partitions')})", "held: {{topic}}"),
            query(f"sum by (topic) ({grown('lane_stalls')})", "stalls: {{topic}}"),
            many=True,
        ),
    ]


def _group() -> list[Any]:
    return [
        lines(
            "Rebalances",
            units.Short,
            advice("rebalances"),
            query(f"sum by (what) ({grown('rebalances')})", "{{what}}"),
        ),
        lines(
            "Takeovers and rejoins",
            units.Short,
            f"{advice('takeovers')} {advice('rejoins')}",
            query(f"sum({grown('takeovers')})", "takeover"),
            query(f"sum by (reason) ({grown('rejoins')})", "rejoin: {{reason}}"),
            many=True,
        ),
        lines(
            "Time of a takeover (longest of ten)",
            units.Seconds,
            advice("takeover_seconds"),
            query(quantile(0.9, "takeover_seconds", "instance"), "{{instance}}"),
        ),
        lines(
            "Stalls of the process",
            units.Short,
            advice("stall_guard_shut"),
            query(f"sum by (reason, instance) ({grown('stall_guard_shut')})", "{{reason}}: {{instance}}"),
            many=True,
        ),
    ]


def _commits() -> list[Any]:
    return [
        lines(
            "Commits",
            units.OpsPerSecond,
            advice("commits"),
            query(f"sum by (outcome) ({rate('commits')})", "{{outcome}}"),
            many=True,
        ),
        lines(
            "Notes beside offsets, and the state topic",
            units.Short,
            f"{advice('commit_notes')} {advice('state_records_skipped')} {advice('state_writes_failed')}",
            query(f"sum by (outcome) ({grown('commit_notes')})", "note: {{outcome}}"),
            query(f"sum by (reason) ({grown('state_records_skipped')})", "state skipped: {{reason}}"),
            query(f"sum by (what) ({grown('state_writes_failed')})", "state not written: {{what}}"),
            many=True,
        ),
        lines(
            "Events in flight",
            units.Short,
            advice("in_flight"),
            query(f"sum by (instance) ({gauge('in_flight')})", "{{instance}}"),
        ),
        lines(
            "Memory of records in flight",
            units.BytesIEC,
            advice("in_flight_bytes"),
            query(f"sum by (instance) ({gauge('in_flight_bytes')})", "{{instance}}"),
        ),
    ]


def _letters() -> list[Any]:
    return [
        dead_letters(),
        lines(
            "Dead letters as a share of what was finished",
            units.PercentUnit,
            "A share that jumps is a producer that changed what it writes, or a mapping that does not fit it. From the "
            "limits in `dead_letters` on, the consumer holds.",
            query(
                or_zero(f"sum({rate('dead_letters')}) / (sum({rate('dead_letters')}) + sum({rate('verdicts')}) > 0)"),
                "dead letters",
            ),
        ),
        lines(
            "Records skipped, and expired unread",
            units.Short,
            f"{advice('skipped')} {advice('records_expired')}",
            query(f"sum by (topic) ({grown('skipped')})", "skipped: {{topic}}"),
            query(f"sum by (topic) ({grown('records_expired')})", "expired: {{topic}}"),
            many=True,
        ),
        lines(
            "Answers discarded at rebalances",
            units.Short,
            advice("discarded_answers"),
            query(f"sum by (service) ({grown('discarded_answers')})", "{{service}}"),
            many=True,
        ),
    ]
