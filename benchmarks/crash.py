"""What does a kill -9 in the middle cost: events that are judged, and paid, twice, and events that are lost?

usage: python -m benchmarks.crash [--events 20000] [--in-flight 256] [--latency-ms 50] [--session-seconds 6] [--runs 3]

Each contender is killed when half of the verdicts are there, and started again at once. The service counts how often it
was asked about each event. What may be judged twice is what was in flight, and one commit's worth: what is answered in
a commit interval (100 ms), at the rate of the last second before the kill by the broker's clock. How often it committed
up to the kill is counted by the process itself. Of several runs the worst one is held against its bound.
"""

from __future__ import annotations

import re
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, GATHER, PRODUCT, bare, gather, product
from benchmarks.harness import service
from benchmarks.results import Bound, Found
from tests.ports import free_port


if TYPE_CHECKING:
    from benchmarks.contenders import Contender


__all__ = ["QUESTION", "Plan", "run"]


_COMMIT_SECONDS = 0.1
_LIMIT_SECONDS = 60.0
_DONE = re.compile(r'^moderation_commits_total\{outcome="done"\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    contenders: tuple[str, ...] = (BARE, GATHER, PRODUCT)
    events: int = 20_000
    in_flight: int = 256
    latency_ms: float = 50.0
    session_seconds: float = 6.0
    runs: int = 3


@dataclass(frozen=True, slots=True)
class _Crash:
    """`commit_seconds` is the time from one commit to the next as measured, where the process tells."""

    judged_twice: int
    written_twice: int
    lost: int
    events_per_second: float
    back_seconds: float
    commit_seconds: float = 0.0

    @property
    def commit_worth(self) -> float:
        """What is answered in a commit interval."""
        return self.events_per_second * _COMMIT_SECONDS


def run(bench: Bench, plan: Plan) -> Found:
    """Kill each contender so many times."""
    topic = bench.filled(plan.events)
    known = {BARE: bare, GATHER: gather, PRODUCT: product}
    crashes: dict[str, list[_Crash]] = {name: [] for name in plan.contenders}
    for _ in bench.rounds(plan.runs):
        for name, several in crashes.items():
            several.append(_crash(bench, plan, known[name], topic))
    bounds: tuple[Bound, ...] = ()
    if several := crashes.get(PRODUCT, []):
        worst = max(several, key=lambda one: one.judged_twice - one.commit_worth)
        bounds = (
            Bound(
                "kill -9: judged twice, of those in flight and a commit's worth",
                worst.judged_twice,
                round(plan.in_flight + worst.commit_worth),
                at_most=True,
            ),
            Bound("kill -9: lost", max(one.lost for one in several), 0, at_most=True),
        )
    rows = tuple(_row(name, one) for name, several in crashes.items() for one in several)
    title = f"kill -9 at half of {plan.events:,} events, {plan.in_flight} in flight, {plan.latency_ms:g} ms"
    columns = (
        "contender",
        "judged twice",
        "verdicts twice",
        "lost",
        "events/s before",
        "ms from commit to commit",
        "a commit's worth",
        "back after s",
    )
    note = (
        f"back after: from the kill to the next verdict; the group waits {plan.session_seconds:g} s for the killed "
        "member before its partitions go to another (10 s where batches are gathered, the client's default)"
    )
    return Found(title, columns, rows, (), bounds, (note,))


def _row(name: str, one: _Crash) -> tuple[str, ...]:
    return (
        name,
        f"{one.judged_twice:,}",
        f"{one.written_twice:,}",
        str(one.lost),
        f"{one.events_per_second:,.0f}",
        f"{1000 * one.commit_seconds:.0f}" if one.commit_seconds else "–",
        f"{one.commit_worth:,.0f}",
        f"{one.back_seconds:.1f}",
    )


def _crash(bench: Bench, plan: Plan, contender: Contender, topic: str) -> _Crash:
    with service(plan.latency_ms, "count") as endpoint:
        port = free_port() if contender is product else 0
        job = bench.job(
            topic,
            endpoint,
            in_flight=plan.in_flight,
            session_seconds=plan.session_seconds,
            settings={"admin": {"port": port}},
        )
        with bench.working(contender, job) as (children, verdicts):
            verdicts.wait(plan.events // 20, _LIMIT_SECONDS, *children)
            began, before = time.time(), _commits(port)
            verdicts.wait(plan.events // 2, _LIMIT_SECONDS, *children)
            commits, counted = _commits(port) - before, time.time()
            killed = time.time()
            children[0].kill()
            children.append(bench.start(contender, job, 1))
            distinct = verdicts.wait_for_events(plan.events, _LIMIT_SECONDS, children[1])
            seen = -1
            while seen < (seen := verdicts.poll(0.5)):
                pass  # what is written twice may come last
            written = verdicts.events()
        with urllib.request.urlopen(f"{endpoint}/counts") as answer:
            asked = orjson.loads(answer.read())
    early = [at for _, at in written if at <= killed]
    # Less than a second, where all was quicker.
    seconds = min(1.0, max(early) - min(early)) or 1.0
    rate = sum(at > max(early) - seconds for at in early) / seconds
    back = min((at - killed for _, at in written if at > killed + 0.5), default=float("nan"))
    interval = (counted - began) / commits if commits else 0.0
    return _Crash(
        asked["calls"] - asked["events"], len(written) - distinct, plan.events - distinct, rate, back, interval
    )


def _commits(port: int) -> float:
    """How many commits a process has made, if it tells."""
    if not port:
        return 0.0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = _DONE.search(answer.read().decode())
    return float(found[1]) if found else 0.0


QUESTION = Question("crash", __doc__ or "", 46, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
