"""What the whole consumer is doing, as `/status` tells it: without secrets and without content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer import __version__
from consumer.settings import values


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.engine.engine import Engine
    from consumer.intake.formats import Formats
    from consumer.judging import Judging
    from consumer.kafka.source import KafkaSource
    from consumer.metrics import Metrics
    from consumer.settings import Loaded


__all__ = ["holds", "status"]


_BREAKERS = {0: "closed", 1: "half_open", 2: "open"}


def holds(
    judging: Judging | None, engine: Engine | None, source: KafkaSource | None, formats: Formats | None
) -> list[dict[str, Any]]:
    """All that is held and why: services or the account, single partitions, or everything for its dead letters."""
    found: list[dict[str, Any]] = []
    if judging is not None:
        found += [
            {
                "reason": one.reason,
                "service": one.service,
                "code": one.code,
                "meaning": one.meaning,
                "remedy": one.remedy,
                "since": one.since,
            }
            for one in judging.hold.standing()
        ]
        found += judging.budgets.holds()
    if formats is not None:
        found += formats.holds()
    if source is not None:
        found += [
            {"reason": "position", "partition": str(partition), "meaning": why}
            for partition, why in source.held.items()
        ]
    if engine is not None and engine.letters_held is not None:
        found.append({"reason": "dead_letters", "meaning": engine.letters_held})
    return found


def status(
    *,
    state: str,
    started_at: float,
    now: float,
    loaded: Loaded,
    metrics: Metrics,
    judging: Judging | None,
    engine: Engine | None,
    source: KafkaSource | None,
    formats: Formats | None,
) -> dict[str, Any]:
    """Everything worth knowing. Times are in seconds since the epoch; parts that are not there yet are left empty."""
    return {
        "version": __version__,
        "state": state,
        "owner": bool(engine and engine.lanes),
        "started_at": started_at,
        "now": now,
        "in_flight": engine.in_flight if engine else 0,
        "oldest_unfinished_seconds": engine.oldest_unfinished_seconds if engine else 0.0,
        "holds": holds(judging, engine, source, formats),
        "lanes": list(_lanes(engine, source)),
        "quotas": _quotas(judging, metrics),
        "breakers": {
            service: _BREAKERS[round(value)] for (service,), value in metrics.readings("breaker_state").items()
        },
        "spending": judging.spending.status() if judging else {},
        "budgets": judging.budgets.status() if judging else [],
        "packed": judging.packed.status() if judging and judging.packed else {},
        "tasks_pending": judging.board.pending_events if judging else 0,
        "billed": [
            {"moderation_type": kind, "currency": currency, "cost": cost, "units": units[kind,]}
            for units in (metrics.totals("billed_units"),)
            for (kind, currency), cost in metrics.totals("billed_cost").items()
        ],
        "calls_with_unknown_bill": sum(metrics.totals("bill_unknown_calls").values()),
        "verdicts": [
            {"route": route, "risk_level": level, "action": action, "count": count}
            for (route, level, action), count in metrics.totals("verdicts").items()
        ],
        "errors": metrics.errors.to_list(),
        "settings": {one.key: {"value": one.shown, "origin": one.origin} for one in values(loaded)},
    }


def _lanes(engine: Engine | None, source: KafkaSource | None) -> Iterator[dict[str, Any]]:
    if engine is None or source is None:
        return
    unread = source.lag()
    for partition, lane in sorted(engine.lanes.items()):
        oldest = lane.tracker.oldest
        yield {
            "topic": partition.topic,
            "partition": partition.partition,
            "state": lane.state.name.lower(),
            "position": lane.tracker.position,
            "lag": unread.get(partition, 0) + len(lane.waiting) + lane.unfinished,
            "waiting": len(lane.waiting),
            "unfinished": lane.unfinished,
            "oldest_unfinished_offset": None if oldest is None else oldest.offset,
        }


def _quotas(judging: Judging | None, metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Each of the account's limits: what may be sent in a second, what was in the last one, and what was learned."""
    if judging is None:
        return {}
    taken, throttled = metrics.totals("quota_used"), metrics.totals("throttled")
    return {
        name: {
            "limit": one.limit,
            "limit_now": one.limit_now,
            "used": one.used_now,
            "waiting": one.waiting,
            "taken": taken.get((name,), 0.0),
            "throttled": throttled.get((name,), 0.0),
        }
        for name, one in judging.buckets.items()
    }
