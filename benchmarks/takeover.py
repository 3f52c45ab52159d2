"""How long does an event wait at the worst when the process that has the work dies, or is stopped?

usage: python -m benchmarks.takeover [--rate 50] [--session-seconds 6] [--how kill,stop]

Two processes of one group; events come evenly. The one that was started first is killed (kill -9) or stopped (SIGTERM),
and each event's wait is counted from the moment at which it was meant to be written. The product's second process
stands by (`scale: failover`); the bare window's has half of the partitions. `python -m chaos --takeover` asks ten times
each, on three brokers.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.arrivals import even, percentile, post, quick_producer
from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import service
from benchmarks.results import Found


if TYPE_CHECKING:
    from benchmarks.contenders import Contender


__all__ = ["QUESTION", "Plan", "run"]


_LIMIT_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    how: tuple[str, ...] = ("kill", "stop")
    rate: float = 50.0
    seconds_before: float = 2.0
    seconds_after: float = 4.0
    session_seconds: float = 6.0
    latency_ms: float = 50.0


def run(bench: Bench, plan: Plan) -> Found:
    """Kill and stop each once."""
    rows = []
    with service(plan.latency_ms) as endpoint:
        for name, contender, working in ((BARE, bare, 2), (PRODUCT, product, 1)):
            for how in plan.how:
                kills = how == "kill"
                number, pause = (signal.SIGKILL, plan.session_seconds) if kills else (signal.SIGTERM, 0.0)
                waits, twice, lost = _waits(bench, plan, contender, endpoint, working, number, pause)
                what = "kill -9" if kills else "SIGTERM"
                longest = f"{max(waits):.2f}"
                rows.append((what, name, f"{percentile(waits, 0.5):.2f}", longest, str(twice), str(lost)))
    title = f"Takeover: {plan.rate:g} events a second, a session of {plan.session_seconds:g} s"
    columns = ("what", "contender", "median wait s", "longest wait s", "verdicts twice", "lost")
    return Found(title, columns, tuple(rows))


def _waits(
    bench: Bench, plan: Plan, contender: Contender, endpoint: str, working: int, number: int, pause: float
) -> tuple[list[float], int, int]:
    topic = bench.topic("events")
    job = bench.job(topic, endpoint, session_seconds=plan.session_seconds)
    with bench.working(contender, job) as (children, verdicts):
        bench.settled(job.group, 1, 1)
        children.append(bench.start(contender, job, 1))
        bench.settled(job.group, 2, working)
        meant: dict[str, float] = {}
        seconds = plan.seconds_before + pause + plan.seconds_after

        def write() -> None:
            meant.update(post(quick_producer(bench.bootstrap), topic, "t", even(plan.rate, seconds)))

        writing = threading.Thread(target=write)
        writing.start()
        time.sleep(plan.seconds_before)
        children[0].signal(number)
        writing.join()
        lost = len(meant) - verdicts.wait_for_events(len(meant), _LIMIT_SECONDS, children[1])
        written = verdicts.events()
    first: dict[str, float] = {}
    for name, at in written:
        first[name] = min(at, first.get(name, at))
    waits = [first[name] - at for name, at in meant.items() if name in first]
    return waits, len(written) - len(first), lost


QUESTION = Question("takeover", __doc__ or "", 58, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
