"""Does it matter how many partitions the topic has?

usage: python -m benchmarks.partitions [--partitions 1,10,100] [--events 20000] [--in-flight 512] [--runs 3]

The closed loop at 50 ms, with as many partitions for the events as for the verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import COLUMNS, Bench, Entry, Question, ask, compare, contest, median
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import service
from benchmarks.results import Chart, Found, Line


__all__ = ["QUESTION", "Plan", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    partitions: tuple[int, ...] = (1, 10, 100)
    events: int = 20_000
    in_flight: int = 512
    latency_ms: float = 50.0
    runs: int = 3


def run(bench: Bench, plan: Plan) -> Found:
    """Compare both at each number of partitions."""
    rows: list[tuple[str, ...]] = []
    speeds: dict[str, list[tuple[float, float]]] = {BARE: [], PRODUCT: []}
    with service(plan.latency_ms) as endpoint:
        for number, partitions in enumerate(plan.partitions):
            topic = bench.filled(plan.events, partitions=partitions)
            entries = [
                Entry(name, contender, topic, endpoint, plan.in_flight, partitions)
                for name, contender in ((BARE, bare), (PRODUCT, product))
            ]
            share = 1 / (len(plan.partitions) - number)
            found = contest(bench, entries, plan.events, plan.runs, share=share)
            medians = {name: median(runs) for name, runs in found.items()}
            for name, one in medians.items():
                rows.append((str(partitions), name, *compare(one, medians[BARE]), str(len(found[name]))))
                speeds[name].append((partitions, one.events_per_second))
    lines = tuple(Line(name, tuple(points)) for name, points in speeds.items())
    chart = Chart("Closed loop by partitions", "partitions", "events/s", lines, logarithmic=True)
    title = f"Partitions: {plan.events:,} events, {plan.latency_ms:g} ms, {plan.in_flight} in flight, medians"
    return Found(title, ("partitions", "contender", *COLUMNS, "runs"), tuple(rows), (chart,))


QUESTION = Question("partitions", __doc__ or "", 38, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
