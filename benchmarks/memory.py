"""How much memory is resident at rest, and with many events in flight?

usage: python -m benchmarks.memory [--in-flight 512,10000] [--rest-seconds 4]

At rest: connected, its partitions assigned, nothing to do. In flight: a service that takes so long that all places of
the window are taken at the same time, each with a connection of its own; the figure is the most that there ever was.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import Ended, service
from benchmarks.results import Bound, Chart, Found, Line


if TYPE_CHECKING:
    from benchmarks.contenders import Contender
    from benchmarks.harness import Child


__all__ = ["PATIENT", "QUESTION", "Plan", "room", "run", "wait_until_full"]


_LIMIT_SECONDS = 40.0
_CONNECTIONS = 20_000
_OTHER_DESCRIPTORS = 200
_BOUNDS = {0: 80.0, 512: 120.0, 10_000: 200.0}
# Answers begin to come when the window has long been full, even of 10,000.
_LATENCY_MS = 30_000.0
PATIENT = {"moderation": {"timeouts": {"read_seconds": 60, "total_seconds": 60}}}


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    in_flight: tuple[int, ...] = (512, 10_000)
    rest_seconds: float = 4.0


def run(bench: Bench, plan: Plan) -> Found:
    """Weigh both at rest and with each number in flight."""
    rows: list[tuple[str, ...]] = []
    bounds: list[Bound] = []
    lines: dict[str, list[tuple[float, float]]] = {BARE: [], PRODUCT: []}
    most = room()
    counts = tuple(count for count in plan.in_flight if count < most)
    notes = tuple(
        f"{count:,} in flight were left out: a process may have {most:,} connections here (`ulimit -n`)"
        for count in plan.in_flight
        if count not in counts
    )
    with service(_LATENCY_MS) as endpoint:
        for at, count in enumerate((0, *counts)):
            weights = []
            for name, contender in ((BARE, bare), (PRODUCT, product)):
                mb = _weight(bench, plan, contender, endpoint, count)
                weights.append(f"{mb:.0f}")
                lines[name].append((float(at), mb))
                if name == PRODUCT and count in _BOUNDS:
                    what = f"memory with {count:,} in flight, MB" if count else "memory at rest, MB"
                    bounds.append(Bound(what, mb, _BOUNDS[count], at_most=True))
            rows.append((f"{count:,} in flight" if count else "at rest", *weights))
    ticks = ("at rest", *(f"{count:,} in flight" for count in counts))
    chart = Chart("Memory", "", "MB", tuple(Line(name, tuple(points)) for name, points in lines.items()), ticks)
    return Found("Memory: resident, in MB", ("", BARE, PRODUCT), tuple(rows), (chart,), tuple(bounds), notes)


def room() -> int:
    """How many connections a process started from here may have, after as many were allowed as can be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if most == resource.RLIM_INFINITY else min(most, _CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted - _OTHER_DESCRIPTORS


def _weight(bench: Bench, plan: Plan, contender: Contender, endpoint: str, count: int) -> float:
    topic = bench.filled(2 * count) if count else bench.topic("events")
    job = bench.job(topic, endpoint, in_flight=max(1, count), settings=PATIENT)
    with bench.working(contender, job) as (children, _):
        [child] = children
        try:
            bench.settled(job.group, 1, 1)
            if count:
                wait_until_full(child, count, _LIMIT_SECONDS)
            time.sleep(plan.rest_seconds)
            child.check()
            return child.memory_mb("VmHWM" if count else "VmRSS")
        finally:
            # Nothing here is worth waiting for: all its calls take half a minute.
            child.kill()


def wait_until_full(child: Child, count: int, limit_seconds: float) -> None:
    """Return when a process makes so many calls at the same time, each with a connection of its own.

    Raises:
        Ended: it never came to that.
    """
    deadline = time.monotonic() + limit_seconds
    while child.descriptors() < count:
        child.check()
        if time.monotonic() > deadline:
            raise Ended(f"never {count} calls at the same time: {child.descriptors()} descriptors")
        time.sleep(0.1)


QUESTION = Question("memory", __doc__ or "", 52, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
