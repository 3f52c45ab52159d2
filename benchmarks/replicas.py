"""How much more is done by several replicas in `share`, on the cores that there are?

usage: python -m benchmarks.replicas [--replicas 1,3,6] [--events 30000] [--in-flight 512] [--runs 2]

All replicas have their partitions before the first event is written. CPU and memory are those of all of them. The
broker, the service and the reader of verdicts need their part of the same cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import COLUMNS, Bench, Question, ask, compare, median
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import fill, measure, service
from benchmarks.results import Chart, Found, Line


if TYPE_CHECKING:
    from benchmarks.contenders import Contender
    from benchmarks.harness import Measured


__all__ = ["QUESTION", "Plan", "run"]


_SHARE = {"kafka": {"scale": "share"}}


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers; `in_flight` is that of each replica."""

    replicas: tuple[int, ...] = (1, 3, 6)
    events: int = 30_000
    partitions: int = 12
    in_flight: int = 512
    latency_ms: float = 50.0
    runs: int = 2


def run(bench: Bench, plan: Plan) -> Found:
    """Compare both with each number of replicas."""
    rows: list[tuple[str, ...]] = []
    speeds: dict[str, list[tuple[float, float]]] = {BARE: [], PRODUCT: []}
    with service(plan.latency_ms) as endpoint:
        for at, replicas in enumerate(plan.replicas):
            found: dict[str, list[Measured]] = {BARE: [], PRODUCT: []}
            for _ in bench.rounds(plan.runs, 1 / (len(plan.replicas) - at)):
                for name, contender in ((BARE, bare), (PRODUCT, product)):
                    found[name].append(_once(bench, plan, contender, endpoint, replicas))
            medians = {name: median(runs) for name, runs in found.items()}
            for name, one in medians.items():
                rows.append((str(replicas), name, *compare(one, medians[BARE])[:-1], str(len(found[name]))))
                speeds[name].append((replicas, one.events_per_second))
    lines = tuple(Line(name, tuple(points)) for name, points in speeds.items())
    chart = Chart("Closed loop by replicas", "replicas", "events/s", lines)
    title = (
        f"Replicas in share: {plan.events:,} events in {plan.partitions} partitions, {plan.latency_ms:g} ms, "
        f"{plan.in_flight} in flight each"
    )
    return Found(title, ("replicas", "contender", *COLUMNS[:-1], "runs"), tuple(rows), (chart,))


def _once(bench: Bench, plan: Plan, contender: Contender, endpoint: str, replicas: int) -> Measured:
    topic = bench.topic("events", plan.partitions)
    job = bench.job(topic, endpoint, partitions=plan.partitions, in_flight=plan.in_flight, settings=_SHARE)
    with bench.working(contender, job, replicas) as (children, verdicts):
        bench.settled(job.group, replicas, replicas)
        fill(bench.bootstrap, topic, plan.events)
        return measure(children, verdicts, plan.events, limit_seconds=60)


QUESTION = Question("replicas", __doc__ or "", 50, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
