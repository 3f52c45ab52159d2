"""What does exactly once cost over at least once?

usage: python -m benchmarks.guarantees [--events 10000] [--latency-ms 50] [--in-flight 512] [--runs 5]

The closed loop; verdicts are read as somebody reads them who wants committed ones only.
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
    in_flight: int = 512
    latency_ms: float = 50.0
    runs: int = 5


def run(bench: Bench, plan: Plan) -> Found:
    """Compare both guarantees, beside the bare window, which has the weaker one."""
    topic = bench.filled(plan.events)
    with service(plan.latency_ms) as endpoint:
        entries = [Entry(BARE, bare, topic, endpoint, plan.in_flight)]
        for guarantee in ("at_least_once", "exactly_once"):
            settings = {"delivery": {"guarantee": guarantee, "max_in_flight": plan.in_flight}}
            entries.append(Entry(guarantee, product, topic, endpoint, plan.in_flight, settings=settings))
        found = contest(bench, entries, plan.events, plan.runs)
    medians = {name: median(runs) for name, runs in found.items()}
    least = medians["at_least_once"]
    rows = tuple((name, *compare(one, least), str(len(found[name]))) for name, one in medians.items())
    bars = tuple((float(at), one.events_per_second) for at, one in enumerate(medians.values()))
    chart = Chart("Guarantees", "", "events/s", (Line("events/s", bars),), tuple(medians))
    ratio = medians["exactly_once"].events_per_second / least.events_per_second
    bound = Bound("exactly once: events/s over at least once", ratio, 0.85)
    title = (
        f"Guarantees: {plan.events:,} events, {plan.latency_ms:g} ms, {plan.in_flight} in flight, medians, "
        "ratios to at least once"
    )
    return Found(title, ("guarantee", *COLUMNS, "runs"), rows, (chart,), (bound,))


QUESTION = Question("guarantees", __doc__ or "", 80, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
