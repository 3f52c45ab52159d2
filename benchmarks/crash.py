"""What does a kill -9 in the middle cost: events that are judged, and paid, twice, and events that are lost?

usage: python -m benchmarks.crash [--events 20000] [--in-flight 256] [--latency-ms 50] [--session-seconds 6]

Each contender is killed when half of the verdicts are there, and started again at once. The service counts how often it
was asked about each event. What may be judged twice is what was on the wire, and what a commit interval has brought.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, GATHER, PRODUCT, bare, gather, product
from benchmarks.harness import service
from benchmarks.results import Bound, Found


if TYPE_CHECKING:
    from benchmarks.contenders import Contender


__all__ = ["QUESTION", "Plan", "run"]


_COMMIT_SECONDS = 0.1
_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    contenders: tuple[str, ...] = (BARE, GATHER, PRODUCT)
    events: int = 20_000
    in_flight: int = 256
    latency_ms: float = 50.0
    session_seconds: float = 6.0


@dataclass(frozen=True, slots=True)
class _Crash:
    judged_twice: int
    written_twice: int
    lost: int
    events_per_second: float
    back_seconds: float


def run(bench: Bench, plan: Plan) -> Found:
    """Kill each contender once."""
    topic = bench.filled(plan.events)
    known = {BARE: bare, GATHER: gather, PRODUCT: product}
    found = {name: _crash(bench, plan, known[name], topic) for name in plan.contenders}
    rows = tuple(
        (
            name,
            f"{one.judged_twice:,}",
            f"{one.written_twice:,}",
            str(one.lost),
            f"{one.events_per_second:,.0f}",
            f"{one.back_seconds:.1f}",
        )
        for name, one in found.items()
    )
    bounds: tuple[Bound, ...] = ()
    if (one := found.get(PRODUCT)) is not None:
        allowed = plan.in_flight + round(one.events_per_second * _COMMIT_SECONDS)
        bounds = (
            Bound(
                "kill -9: judged twice, of those in flight and a commit interval's",
                one.judged_twice,
                allowed,
                at_most=True,
            ),
            Bound("kill -9: lost", one.lost, 0, at_most=True),
        )
    title = f"kill -9 at half of {plan.events:,} events, {plan.in_flight} in flight, {plan.latency_ms:g} ms"
    columns = ("contender", "judged twice", "verdicts twice", "lost", "events/s before", "back after s")
    note = (
        f"back after: from the kill to the next verdict; the group waits {plan.session_seconds:g} s for the killed "
        "member before its partitions go to another (10 s where batches are gathered, the client's default)"
    )
    return Found(title, columns, rows, (), bounds, (note,))


def _crash(bench: Bench, plan: Plan, contender: Contender, topic: str) -> _Crash:
    with service(plan.latency_ms, "count") as endpoint:
        job = bench.job(topic, endpoint, in_flight=plan.in_flight, session_seconds=plan.session_seconds)
        with bench.working(contender, job) as (children, verdicts):
            verdicts.wait(plan.events // 20, _LIMIT_SECONDS, *children)
            began, count = time.time(), verdicts.count
            verdicts.wait(plan.events // 2, _LIMIT_SECONDS, *children)
            rate = (verdicts.count - count) / max(1e-3, time.time() - began)
            killed = time.time()
            children[0].kill()
            children.append(bench.start(contender, job, 1))
            distinct = verdicts.wait_for_events(plan.events, _LIMIT_SECONDS, children[1])
            written = verdicts.events()
        with urllib.request.urlopen(f"{endpoint}/counts") as answer:
            asked = orjson.loads(answer.read())
    back = min((at - killed for _, at in written if at > killed + 0.5), default=float("nan"))
    return _Crash(asked["calls"] - asked["events"], len(written) - distinct, plan.events - distinct, rate, back)


QUESTION = Question("crash", __doc__ or "", 46, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
