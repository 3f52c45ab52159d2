"""An estimate for programs: one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.estimate.result import Estimate
    from consumer.estimate.sampling import Figure


__all__ = ["as_dict"]


_DIGITS = 9


def as_dict(estimate: Estimate) -> dict[str, Any]:
    """All of it. Each figure is a number, and, for a sample, an interval `[from, to]` of 95 % certainty beside it.

    Times are seconds since the epoch.
    """
    about = estimate.about
    sample = about.sample

    def figures(**named: Figure) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, figure in named.items():
            found[name] = round(figure.value, _DIGITS)
            if sample is not None:
                ends = (figure.value - figure.within, figure.value + figure.within)
                found[f"{name}_interval"] = [round(end, _DIGITS) for end in ends]
        return found

    def costs(cost: Mapping[str, Figure]) -> list[dict[str, Any]]:
        return [{"currency": currency, **figures(cost=figure)} for currency, figure in cost.items()]

    return {
        "source": about.source,
        "records": about.records,
        "begins_at": about.begins_at,
        "ends_at": about.ends_at,
        "pace": about.pace,
        "replicas": about.replicas,
        "risk": about.risk,
        "sample": None
        if sample is None
        else {"share": sample.share, "seed": sample.seed, "blocks": sample.blocks, "records": sample.records},
        "bill": [
            {
                "moderation_type": row.moderation_type,
                "currency": row.currency,
                **figures(calls=row.calls, units=row.units, plan_units=row.plan_units, cost=row.cost),
            }
            for row in estimate.bill
        ],
        "cost": costs(estimate.cost),
        "cost_of_30_days": costs(estimate.month),
        **figures(
            units=estimate.units,
            events=estimate.events,
            skipped=estimate.skipped,
            late=estimate.late,
            paid_requests=estimate.requests,
            seconds=estimate.seconds,
        ),
        "paid_requests_a_minute": round(estimate.requests_a_minute, _DIGITS),
        "quota_used": {quota: round(part, _DIGITS) for quota, part in estimate.used.items()},
        "wait_seconds": None
        if about.pace == "backlog"
        else {"median": estimate.wait_seconds[0], "p99": estimate.wait_seconds[1]},
        "sources": dict(estimate.sources),
        "routes": [
            {"route": row.route, **figures(events=row.events, units=row.units), "cost": costs(row.cost)}
            for row in estimate.routes
        ],
        "calls": [
            {"operation": operation, "service": service or None, **figures(calls=figure)}
            for (operation, service), figure in estimate.calls.items()
        ],
        "dead_letters": [
            {
                "stage": row.stage,
                "reason": row.reason,
                **figures(count=row.count),
                "example": row.place,
                "error": row.said,
            }
            for row in estimate.letters
        ],
        "holds": estimate.held or None,
        "budgets_spent": [
            {
                "budget": spent.budget,
                "at": spent.at if about.pace == "recorded" else None,
                "after_seconds": spent.after_seconds,
                "when_spent": spent.when_spent,
            }
            for spent in estimate.spent
        ],
        "series": [{"at": at, "cost": dict(column)} for at, column in estimate.series],
        "savings": [
            {"name": one.name, **figures(units=one.units), "cost": costs(one.cost)} for one in estimate.savings
        ],
    }
