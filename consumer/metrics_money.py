"""The metrics of money: what was billed, and what saves calls."""

from __future__ import annotations

from consumer.meters import Counter, Gauge, Histogram
from consumer.metric import FAST, Metric


__all__ = ["MONEY"]


MONEY: tuple[Metric, ...] = (
    Metric(
        "billed_units",
        Counter,
        "Units billed by the answers received, by moderation type.",
        "Compare with the vendor's bill by the same moderation type.",
        ("moderation_type",),
    ),
    Metric(
        "billed_cost",
        Counter,
        "Cost of the billed units at the configured prices, by moderation type and currency.",
        "An estimate at list prices: discounts and plans are not in it.",
        ("moderation_type", "currency"),
    ),
    Metric(
        "billed_plan_units",
        Counter,
        "What a resource plan loses for the billed units, by moderation type.",
        "Compare with the plan's balance.",
        ("moderation_type",),
    ),
    Metric(
        "bill_unknown_calls",
        Counter,
        "Requests that were sent and whose answer never came whole: they may have been billed.",
        "The vendor's bill may exceed the billed units by at most these calls.",
        ("service",),
    ),
    Metric(
        "spent_cost",
        Gauge,
        "What all replicas have spent in this hour, day and month, at the configured prices.",
        "Each replica shows the same: take the largest, not the sum.",
        ("currency", "period"),
    ),
    Metric(
        "forecast_cost",
        Gauge,
        "What will be spent by the end of the day and month at the rate of the last hour.",
        "Far above the usual: look at the rate of events by route; a budget keeps it from being paid.",
        ("currency", "period"),
    ),
    Metric(
        "budget_limit",
        Gauge,
        "How much may be spent in a period, in the unit of the budget.",
        "It is what the settings say.",
        ("budget",),
    ),
    Metric(
        "budget_spent",
        Gauge,
        "What all replicas have spent of a budget in its period of now; what others have set aside counts as spent.",
        "Each replica shows nearly the same: take the largest, not the sum.",
        ("budget",),
    ),
    Metric(
        "budget_share",
        Gauge,
        "What is spent of a budget, as a part of its limit; above 1 where samples are still paid for.",
        "At 1 events wait, or go to a person, as configured, until the next period begins.",
        ("budget",),
    ),
    Metric(
        "budget_thresholds",
        Counter,
        "Times that 50, 80 or 100 percent of a budget were spent; at 100 the next call did not fit any more.",
        "By `80` long before the end of the period: find out what grows, or raise the limit.",
        ("budget", "percent"),
    ),
    Metric(
        "discarded_answers",
        Counter,
        "Answers for partitions that had gone to another member, paid in vain.",
        "Only rebalances make these.",
        ("service",),
    ),
    Metric(
        "discarded_cost",
        Counter,
        "Cost of the discarded answers at the configured prices, by moderation type and currency.",
        "Grows with each rebalance: make the drain longer, or restart less often.",
        ("moderation_type", "currency"),
    ),
    Metric(
        "packed_on",
        Gauge,
        "1 while texts of this service are packed, several in a call, else 0.",
        "Back to 0: packed calls missed too much risk in the sample; look at packed_agreement and packed_samples.",
        ("service",),
    ),
    Metric(
        "packed_agreement",
        Gauge,
        "Share of risky texts that packed calls find, by service: the lower end of its 95 % interval.",
        "Rises with each risky text in the sample; at packed.least_agreement texts are packed.",
        ("service",),
    ),
    Metric(
        "packed_samples",
        Counter,
        "Texts that were judged singly and packed, by service and outcome.",
        "Risk that was `missed` only single calls find; an `alarm` is a clean text that packing asks about again.",
        ("service", "outcome"),
    ),
    Metric(
        "packed_sample_calls",
        Counter,
        "Calls that the texts of the sample took singly, and would have taken packed, by service.",
        "What is missing of packed to single is what packing saves.",
        ("service", "how"),
    ),
    Metric(
        "packed_texts",
        Counter,
        "Texts that were packed, by service and whether a call about several cleared them or they were asked alone.",
        "Many `alone`: the risk is high, or texts side by side look risky to the service; packing saves little.",
        ("service", "outcome"),
    ),
    Metric(
        "packed_calls",
        Counter,
        "Calls about several texts, by service.",
        "About as many as packed_texts: few texts come at the same time, and packing saves little.",
        ("service",),
    ),
    Metric(
        "packed_wait_seconds",
        Histogram,
        "Time a text waited for others of its call, by service.",
        "Up to packed.max_age_seconds where texts come often, nothing where they come rarely.",
        ("service",),
        FAST,
    ),
)
