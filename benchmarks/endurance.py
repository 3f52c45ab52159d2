"""Does an event cost more, or does memory grow, the more events there have been?

usage: python -m benchmarks.endurance [--events 100000] [--latency-ms 5] [--in-flight 512]

One process works through all of them; its CPU and its memory are read at 1,000 events, and at each power of ten from
then on. `--events 1000000` is the long form, of about ten minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import Ended, service
from benchmarks.results import Chart, Found, Line


if TYPE_CHECKING:
    from benchmarks.contenders import Contender


__all__ = ["QUESTION", "Plan", "run"]


_FIRST = 100
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    events: int = 100_000
    latency_ms: float = 5.0
    in_flight: int = 512


@dataclass(frozen=True, slots=True)
class _Mark:
    events: int
    seconds: float
    cpu_seconds: float
    mb: float


def run(bench: Bench, plan: Plan) -> Found:
    """Let both work through all, and read what they cost in between."""
    topic = bench.filled(plan.events)
    with service(plan.latency_ms) as endpoint:
        marks = {
            name: _marks(bench, plan, contender, topic, endpoint)
            for name, contender in ((BARE, bare), (PRODUCT, product))
        }
    rows = []
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in marks}
    sizes: dict[str, list[tuple[float, float]]] = {name: [] for name in marks}
    for name, found in marks.items():
        for before, after in pairwise(found):
            done = after.events - before.events
            cost = (after.cpu_seconds - before.cpu_seconds) / done * 1e6
            speed = done / (after.seconds - before.seconds)
            rows.append((name, f"{after.events:,}", f"{cost:.0f}", f"{speed:,.0f}", f"{after.mb:.0f}"))
            costs[name].append((after.events, cost))
            sizes[name].append((after.events, after.mb))
    charts = tuple(
        Chart(title, "events so far", unit, tuple(Line(name, tuple(of[name])) for name in of), logarithmic=True)
        for title, unit, of in (("Cost of an event", "CPU µs", costs), ("Memory", "MB", sizes))
    )
    columns = ("contender", "events so far", "CPU µs/event", "events/s", "MB")
    title = f"Endurance: {plan.events:,} events, {plan.latency_ms:g} ms, {plan.in_flight} in flight"
    return Found(title, columns, tuple(rows), charts)


def _marks(bench: Bench, plan: Plan, contender: Contender, topic: str, endpoint: str) -> list[_Mark]:
    wanted = [_FIRST]
    while wanted[-1] < plan.events:
        wanted.append(min(wanted[-1] * 10, plan.events))
    marks: list[_Mark] = []
    job = bench.job(topic, endpoint, in_flight=plan.in_flight)
    with bench.working(contender, job) as (children, verdicts):
        [child] = children
        began = last = time.monotonic()
        while len(marks) < len(wanted):
            before, count = verdicts.count, verdicts.poll(0.02)
            now = time.monotonic()
            if count > before:
                last = now
            elif now - last > _QUIET_SECONDS:
                raise Ended(f"no verdict for {_QUIET_SECONDS:g} s after {count}: {child.log()}")
            if count >= wanted[len(marks)]:
                # What was read at once may go beyond the mark.
                while len(marks) + 1 < len(wanted) and count >= wanted[len(marks) + 1]:
                    wanted.pop(len(marks))
                marks.append(_Mark(count, now, child.cpu_seconds(), child.memory_mb()))
            elif not count:
                child.check()
    # Of few events all may be read at once: then there is only their sum.
    return marks if len(marks) > 1 else [_Mark(0, began, 0.0, 0.0), *marks]


QUESTION = Question("endurance", __doc__ or "", 42, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
