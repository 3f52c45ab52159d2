# ruff: noqa: INP001  # a script's parts beside it, no package
"""The dashboard of the moderation service: its latency, its answers, the account's quota, breakers and tasks."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from config.grafana.panels import board, heat, lines, words
from config.grafana.queries import QUANTILES, advice, buckets, gauge, grown, quantile, query, rate


__all__ = ["api"]


_FAILED = 'code!="200",code!="280"'


def api() -> str:
    """The dashboard in Grafana's JSON."""
    return board(
        "api",
        "API",
        "How fast the moderation service answers and what it says, how much of the account's quota is used and what "
        "refusals have taught, which services are held, and the tasks whose results are waited for.",
        (("Latency", _latency()), ("Answers", _answers()), ("Quota", _quota()), ("Breakers and tasks", _tasks())),
    )


def _latency() -> list[Any]:
    return [
        lines(
            "Call latency",
            units.Seconds,
            advice("call_seconds"),
            *(query(quantile(share, "call_seconds"), name) for name, share in QUANTILES),
        ),
        heat(
            "Calls by how long they took",
            units.Seconds,
            f"{advice('call_seconds')} Two bands: two services, or two ways that a call takes; one that broadens "
            "upwards: the service is getting slow.",
            query(buckets("call_seconds"), "{{le}}", heat=True),
        ),
        lines(
            "Call latency by operation (p95)",
            units.Seconds,
            advice("call_seconds"),
            query(quantile(0.95, "call_seconds", "operation"), "{{operation}}"),
            many=True,
        ),
        lines(
            "Wait for quota (p95)",
            units.Seconds,
            advice("quota_wait_seconds"),
            query(quantile(0.95, "quota_wait_seconds", "quota"), "{{quota}}"),
            many=True,
        ),
    ]


def _answers() -> list[Any]:
    return [
        lines(
            "Calls by operation",
            units.RequestsPerSecond,
            "Requests to the moderation service. Fewer than events: the cache, threads and packing save calls, or "
            "something holds; many more: events have many images, or calls are tried again.",
            query(f"sum by (operation) ({rate('calls')})", "{{operation}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Share of calls that failed, by service",
            units.PercentUnit,
            "Answers other than 200, and calls without an answer, as a share of a service's calls. Above a half the "
            "service is held by its breaker; a few percent are tried again and cost latency only.",
            query(
                f"sum by (service) ({rate('calls', where=_FAILED)}) / sum by (service) ({rate('calls')})",
                "{{service}}",
            ),
            top=1,
            many=True,
        ),
        lines(
            "Calls that failed, by operation and code",
            units.RequestsPerSecond,
            advice("calls"),
            query(f"sum by (operation, code) ({rate('calls', where=_FAILED)})", "{{operation}}: {{code}}"),
            stacked=True,
            many=True,
            wide=True,
        ),
        lines(
            "Retries",
            units.RequestsPerSecond,
            advice("retries"),
            query(f"sum by (reason) ({rate('retries')})", "{{reason}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Throttled calls",
            units.Short,
            advice("throttled"),
            query(f"sum by (quota) ({grown('throttled')})", "{{quota}}"),
            many=True,
        ),
    ]


def _quota() -> list[Any]:
    return [
        lines(
            "Use of the quota",
            units.PercentUnit,
            "Tokens taken as a share of the calls that are allowed now. At 100 % while the lag grows, the account's "
            "limit is the bottleneck: have it raised.",
            query(
                f"sum by (quota) ({rate('quota_used')}) / (sum by (quota) ({gauge('quota_limit')}) > 0)",
                "{{quota}}",
            ),
            many=True,
        ),
        lines(
            "Calls allowed now, of what the settings allow",
            units.PercentUnit,
            f"{advice('quota_limit')} It is what throttling has taught: below 100 % the service has refused calls.",
            query(
                f"sum by (quota) ({gauge('quota_limit')}) / (sum by (quota) ({gauge('quota_limit_full')}) > 0)",
                "{{quota}}",
            ),
            top=1,
            many=True,
        ),
        lines(
            "Calls used and allowed",
            units.RequestsPerSecond,
            f"{advice('quota_used')} {advice('quota_limit_full')}",
            query(f"sum by (quota) ({rate('quota_used')})", "{{quota}}: used"),
            query(f"sum by (quota) ({gauge('quota_limit')}) > 0", "{{quota}}: allowed"),
            many=True,
            wide=True,
        ),
    ]


def _tasks() -> list[Any]:
    return [
        lines(
            "Breakers by service",
            units.NoUnit,
            advice("breaker_state"),
            query(f"max by (service) ({gauge('breaker_state')})", "{{service}}"),
            steps=True,
            top=2,
            mappings=words(closed=(0, "green"), trying=(1, "orange"), open=(2, "red")),
            many=True,
        ),
        lines(
            "Services held since most calls failed",
            units.Short,
            advice("breaker_openings"),
            query(f"sum by (service) ({grown('breaker_openings')})", "{{service}}"),
            many=True,
        ),
        lines(
            "Tasks waited for",
            units.Short,
            advice("tasks_pending"),
            query(f"sum by (instance) ({gauge('tasks_pending')})", "{{instance}}"),
        ),
        lines(
            "From a task's submission to its result (p95)",
            units.Seconds,
            advice("task_seconds"),
            query(quantile(0.95, "task_seconds", "how"), "{{how}}"),
        ),
        lines(
            "Queries for results",
            units.RequestsPerSecond,
            advice("task_polls"),
            query(f"sum by (outcome) ({rate('task_polls')})", "{{outcome}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Callbacks",
            units.RequestsPerSecond,
            advice("callbacks"),
            query(f"sum by (outcome) ({rate('callbacks')})", "{{outcome}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Wait for others of a call (p95)",
            units.Seconds,
            f"{advice('batch_wait_seconds')} {advice('packed_wait_seconds')}",
            query(quantile(0.95, "batch_wait_seconds", "service"), "thread: {{service}}"),
            query(quantile(0.95, "packed_wait_seconds", "service"), "packed: {{service}}"),
            many=True,
        ),
        lines(
            "Tasks given up, and taken on",
            units.Short,
            f"{advice('tasks_given_up')} {advice('tasks_resumed')}",
            query(f"sum by (reason) ({grown('tasks_given_up')})", "given up: {{reason}}"),
            query(f"sum by (service) ({grown('tasks_resumed')})", "taken on: {{service}}"),
            many=True,
        ),
    ]
