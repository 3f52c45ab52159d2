"""What does order cost: by key, by partition, and where one key has a fifth of all events?

usage: python -m benchmarks.order [--events 10000] [--keys 1000] [--hot-share 0.2] [--in-flight 256] [--runs 5]

The closed loop at 50 ms. The bare window keeps no order at all; it stands here for what the work costs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import COLUMNS, Bench, Entry, Question, ask, compare, contest, median
from benchmarks.contenders import BARE, bare, product
from benchmarks.harness import service
from benchmarks.results import Bound, Chart, Found, Line


__all__ = ["QUESTION", "Plan", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    events: int = 10_000
    keys: int = 1000
    hot_share: float = 0.2
    others: tuple[str, ...] = ("key", "partition")
    in_flight: int = 256
    latency_ms: float = 50.0
    runs: int = 5


def run(bench: Bench, plan: Plan) -> Found:
    """Compare the orders on the same events, and on events of which one key has many."""
    topics = {"": bench.filled(plan.events, keys=plan.keys)}
    if plan.hot_share:
        hot = bench.filled(plan.events, keys=plan.keys, hot_share=plan.hot_share)
        topics[f", {plan.hot_share:.0%} in one key"] = hot
    with service(plan.latency_ms) as endpoint:
        entries = [Entry(BARE, bare, topics[""], endpoint, plan.in_flight)]
        for suffix, topic in topics.items():
            for order in ("unordered", *plan.others):
                settings = {"delivery": {"order": order, "max_in_flight": plan.in_flight}}
                entries.append(Entry(f"{order}{suffix}", product, topic, endpoint, plan.in_flight, settings=settings))
        # What is promised is measured first, and most often.
        promised = [entry for entry in entries if entry.name in {BARE, "unordered", "key"}]
        others = [entry for entry in entries if entry not in promised]
        found = contest(bench, promised, plan.events, plan.runs, share=0.6)
        found |= contest(bench, others, plan.events, plan.runs, limit_seconds=20)
    medians = {name: median(runs) for name, runs in found.items()}
    base = medians["unordered"]
    rows = tuple((name, *compare(one, base), str(len(found[name]))) for name, one in medians.items())
    bars = tuple((float(at), one.events_per_second) for at, one in enumerate(medians.values()))
    chart = Chart("Order", "", "events/s", (Line("events/s", bars),), tuple(medians))
    bounds: tuple[Bound, ...] = ()
    if (by_key := medians.get("key")) is not None:
        ratio = by_key.events_per_second / base.events_per_second
        bounds = (Bound(f"key order over {plan.keys:,} keys: events/s over unordered", ratio, 0.85),)
    title = (
        f"Order: {plan.events:,} events, {plan.keys:,} keys, {plan.latency_ms:g} ms, {plan.in_flight} in flight, "
        "medians, ratios to unordered"
    )
    return Found(title, ("order", *COLUMNS, "runs"), rows, (chart,), bounds)


QUESTION = Question("order", __doc__ or "", 95, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
