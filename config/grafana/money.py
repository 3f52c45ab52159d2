# ruff: noqa: INP001  # a script's parts beside it, no package
"""The dashboard of money: what is spent and will be, what is billed for what, what is saved, what is paid in vain."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from config.grafana.panels import bars, board, lines, number
from config.grafana.queries import advice, gauge, grown, in_range, latest, query, rate


__all__ = ["money"]


_OVER_BUDGET = ((None, "green"), (0.8, "orange"), (1.0, "red"))


def money() -> str:
    """The dashboard in Grafana's JSON."""
    return board(
        "money",
        "money",
        "What moderation costs at the configured prices, what it will come to, how much of each budget is left, and "
        "what the cache, shared calls, threads and packing save. Amounts are in the currency that stands beside them.",
        (
            ("What is spent, and what it will come to", _spent()),
            ("What is billed", _billed()),
            ("What is saved", _saved()),
            ("Packing, and what is paid in vain", _packing()),
        ),
    )


def _spent() -> list[Any]:
    each = "max by (currency)"
    return [
        *(
            number(
                f"Spent this {period}",
                units.Short,
                f"{advice('spent_cost')} Compare with the vendor's bill of the same {period}.",
                query(_of_period(each, "spent_cost", period), "{{currency}}"),
                named=True,
                decimals=2,
            )
            for period in ("day", "month")
        ),
        *(
            number(
                f"Forecast for the {period}",
                units.Short,
                advice("forecast_cost"),
                query(_of_period(each, "forecast_cost", period), "{{currency}}"),
                named=True,
                decimals=2,
            )
            for period in ("day", "month")
        ),
        bars(
            "Budgets: how much is spent",
            units.PercentUnit,
            advice("budget_share"),
            latest(f"max by (budget) ({gauge('budget_share')})", "{{budget}}"),
            steps=_OVER_BUDGET,
            top=1,
        ),
        bars(
            "Budgets: what is left",
            units.Short,
            f"What may still be spent of each budget in its period, in the budget's own unit. {advice('budget_limit')} "
            "Little left long before the period ends: find out what grows, by route and by type, or raise the limit.",
            latest(
                f"max by (budget) ({gauge('budget_limit')}) - max by (budget) ({gauge('budget_spent')})", "{{budget}}"
            ),
            decimals=2,
        ),
        lines(
            "Budgets over time",
            units.PercentUnit,
            advice("budget_share"),
            query(f"max by (budget) ({gauge('budget_share')})", "{{budget}}"),
        ),
        lines(
            "Marks of budgets that were passed",
            units.Short,
            advice("budget_thresholds"),
            query(f"sum by (budget, percent) ({grown('budget_thresholds')})", "{{budget}}: {{percent}} %"),
            many=True,
        ),
    ]


def _of_period(each: str, name: str, period: str) -> str:
    selected = gauge(name).removesuffix("}")
    return f'{each} ({selected},period="{period}"}})'


def _billed() -> list[Any]:
    return [
        lines(
            "Billed units",
            units.CountsPerSecond,
            advice("billed_units"),
            query(f"sum by (moderation_type) ({rate('billed_units')})", "{{moderation_type}}"),
            stacked=True,
        ),
        bars(
            "Cost in the time shown",
            units.Short,
            f"{advice('billed_cost')} One type that dominates: look at what routes send to it.",
            latest(
                f"sum by (moderation_type, currency) ({in_range('billed_cost')})",
                "{{moderation_type}}, {{currency}}",
            ),
            decimals=2,
        ),
        lines(
            "Cost of 1,000 verdicts",
            units.Short,
            "Cost of the billed units for each 1,000 verdicts, in the currency that stands in the name. It rises with "
            "images in an event and with retries that are billed; duplicates that are known already lower it.",
            query(
                f"1000 * sum by (currency) ({rate('billed_cost')}) / scalar(sum({rate('verdicts')}))", "{{currency}}"
            ),
        ),
        lines(
            "Plan units",
            units.CountsPerSecond,
            advice("billed_plan_units"),
            query(f"sum by (moderation_type) ({rate('billed_plan_units')})", "{{moderation_type}}"),
            stacked=True,
        ),
    ]


def _saved() -> list[Any]:
    saved, billed = f"sum by (how) ({rate('saved_units')})", f"sum({rate('billed_units')})"
    answered = " + ".join(f"sum({rate(name)})" for name in ("cache_hits", "cache_joined", "cache_misses"))
    return [
        lines(
            "Saved units, by what saved them",
            units.CountsPerSecond,
            advice("saved_units"),
            query(saved, "{{how}}"),
            stacked=True,
            many=True,
        ),
        bars(
            "Saved cost in the time shown",
            units.Short,
            f"{advice('saved_cost')} Nothing of `thread` or `packed`: docs/savings.md says how to use them.",
            latest(f"sum by (how, currency) ({in_range('saved_cost')})", "{{how}}, {{currency}}"),
            decimals=2,
        ),
        lines(
            "Share of units that were saved",
            units.PercentUnit,
            "Saved units as a share of what would have been billed without any saving. Falls: users repeat themselves "
            "less, or cache.max_bytes is reached, or packing has switched itself off.",
            query(f"{saved} / scalar({billed} + sum({rate('saved_units')}))", "{{how}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Share of judgements that were known or shared",
            units.PercentUnit,
            f"{advice('cache_hits')} {advice('cache_joined')}",
            query(f"sum({rate('cache_hits')}) / ({answered})", "known from before"),
            query(f"sum({rate('cache_joined')}) / ({answered})", "joined another call"),
            stacked=True,
        ),
        lines(
            "Events of a task",
            units.Short,
            advice("batched_events"),
            query(
                f"sum by (service) ({rate('batched_events')})"
                f" / (sum by (service) ({rate('calls', where=_SUBMITTED)}) > 0)",
                "{{service}}",
            ),
        ),
        lines(
            "Memory of the cache",
            units.BytesIEC,
            f"{advice('cache_bytes')} {advice('cache_entries')}",
            query(f"sum by (instance) ({gauge('cache_bytes')})", "{{instance}}"),
        ),
    ]


_SUBMITTED = 'operation="MultimodalAsyncModeration",code="200"'


def _packing() -> list[Any]:
    return [
        lines(
            "Agreement of packed calls",
            units.PercentUnit,
            f"{advice('packed_agreement')} {advice('packed_on')}",
            query(f"min by (service) ({gauge('packed_agreement')} > 0)", "{{service}}: agreement"),
            query(f"max by (service) ({gauge('packed_on')} > 0)", "{{service}}: packed"),
            top=1,
        ),
        lines(
            "Texts judged both ways",
            units.CountsPerSecond,
            advice("packed_samples"),
            query(f"sum by (outcome) ({rate('packed_samples')})", "{{outcome}}"),
            stacked=True,
            many=True,
        ),
        lines(
            "Packed texts",
            units.CountsPerSecond,
            advice("packed_texts"),
            query(f"sum by (outcome) ({rate('packed_texts')})", "{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Texts of a packed call",
            units.Short,
            f"{advice('packed_calls')} The more texts in a call, the more packing saves.",
            query(
                f"sum by (service) ({rate('packed_texts')}) / (sum by (service) ({rate('packed_calls')}) > 0)",
                "{{service}}",
            ),
        ),
        lines(
            "Answers paid in vain",
            units.Short,
            f"{advice('discarded_answers')} {advice('bill_unknown_calls')}",
            query(f"sum({grown('discarded_answers')})", "discarded"),
            query(f"sum by (service) ({grown('bill_unknown_calls')})", "unknown: {{service}}"),
            many=True,
        ),
        lines(
            "Cost of discarded answers",
            units.Short,
            advice("discarded_cost"),
            query(f"sum by (currency) ({grown('discarded_cost')})", "{{currency}}"),
        ),
    ]
