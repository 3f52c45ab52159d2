"""How much of the bare loop's speed is left when the product does the same work, with all it promises?

usage: python -m benchmarks.closed_loop [--events 20000] [--latencies-ms 50,0,500] [--in-flight 512] [--runs 5]

The topic is full before the start and the quota is out of the way: each contender works as fast as it can, on a real
Kafka of one node, with a service that answers after a fixed time. Contenders run in turn; medians are compared.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import COLUMNS, Bench, Entry, Question, ask, compare, contest, median
from benchmarks.contenders import BARE, BARE_LEAN, PRODUCT, bare, bare_lean, product
from benchmarks.harness import served
from benchmarks.results import Bound, Chart, Found, Line


if TYPE_CHECKING:
    from benchmarks.harness import Measured


__all__ = ["QUESTION", "Plan", "run"]


_LONGEST_SECONDS = 8.0
_BAR_LATENCY_MS = 50.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers; where a call takes long, there are as many events as are done in some seconds."""

    events: int = 20_000
    latencies_ms: tuple[float, ...] = (50.0, 0.0, 500.0)
    in_flight: int = 512
    runs: int = 5


def run(bench: Bench, plan: Plan) -> Found:
    """Compare both at each latency; the bars are those of a service that takes 50 ms."""
    rows: list[tuple[str, ...]] = []
    bounds: tuple[Bound, ...] = ()
    notes: list[str] = []
    speeds: dict[str, list[tuple[float, float]]] = {BARE: [], BARE_LEAN: [], PRODUCT: []}
    for number, latency in enumerate(plan.latencies_ms):
        bound = plan.in_flight / latency * 1000 if latency else float("inf")
        events = int(min(plan.events, bound * _LONGEST_SECONDS))
        topic = bench.filled(events)
        with ExitStack() as stack:
            endpoint, pid = stack.enter_context(served(latency))
            entries = [
                Entry(name, contender, topic, endpoint, plan.in_flight, service_pid=pid)
                for name, contender in ((BARE, bare), (BARE_LEAN, bare_lean), (PRODUCT, product))
            ]
            # The first latency is the one that is promised: half of the time is for it.
            share = 0.5 if number == 0 and len(plan.latencies_ms) > 1 else 1 / (len(plan.latencies_ms) - number)
            found = contest(bench, entries, events, plan.runs, share=share)
        medians = {name: median(runs) for name, runs in found.items()}
        for name, one in medians.items():
            rows.append(
                (
                    f"{latency:g}",
                    f"{bound:,.0f}" if latency else "–",
                    name,
                    *compare(one, medians[BARE]),
                    str(len(found[name])),
                )
            )
            speeds[name].append((float(number), one.events_per_second))
        notes.append(_ceiling(latency, medians[PRODUCT]))
        if latency:
            most = bound / medians[BARE].events_per_second
            notes.append(f"at {latency:g} ms Little's bound is {most:.2f} times the bare window: nobody can be faster")
        if latency == _BAR_LATENCY_MS:
            bounds = _bounds(medians)
    ticks = tuple(f"{latency:g} ms" for latency in plan.latencies_ms)
    lines = tuple(Line(name, tuple(points)) for name, points in speeds.items())
    chart = Chart(f"Closed loop, {plan.in_flight} in flight", "the service's time", "events/s", lines, ticks)
    columns = ("service ms", "Little's bound", "contender", *COLUMNS, "runs")
    title = f"Closed loop: {plan.events:,} events, {plan.in_flight} in flight, medians"
    return Found(title, columns, tuple(rows), (chart,), bounds, tuple(notes))


def _bounds(medians: dict[str, Measured]) -> tuple[Bound, ...]:
    one, ceiling = medians[PRODUCT], medians[BARE]
    return (
        Bound(
            "closed loop, 50 ms: events/s over the bare window's",
            one.events_per_second / ceiling.events_per_second,
            1.8,
        ),
        Bound(
            "closed loop, 50 ms: CPU per event over the bare window's",
            one.cpu_us_per_event / ceiling.cpu_us_per_event,
            0.5,
            at_most=True,
        ),
    )


def _ceiling(latency: float, one: Measured) -> str:
    spent = one.service_us_per_event
    could = f"{1e6 / spent:,.0f}" if spent else "more than can be measured"
    return f"at {latency:g} ms the service's stub used {spent:.0f} µs of CPU a call: its own ceiling is {could} calls/s"


QUESTION = Question("closed_loop", __doc__ or "", 140, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
