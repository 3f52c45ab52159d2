"""How long from the start of a process until it is ready, and until its first verdict?

usage: python -m benchmarks.start [--runs 5] [--latency-ms 50]

Ready is the answer 200 of /readyz: the process is in the group, to work or to stand by. What the broker takes to let a
member into a group is measured by a consumer that does nothing else, and taken off. Then one window of the quota passes
before the first call, since whoever had the partitions before may just have used it up; the first verdict also takes
what the service does. The topic has new events each time; a group that is started again has offsets, and its state.
The modules are compiled before, as they are where a package is installed.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import statistics
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from aiokafka import AIOKafkaConsumer

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import Ended, Verdicts, fill, service
from benchmarks.results import Bound, Found
from tests.broker.cluster import unique
from tests.ports import free_port


if TYPE_CHECKING:
    from benchmarks.contenders import Contender, Job
    from benchmarks.harness import Child


__all__ = ["QUESTION", "Plan", "run"]


_LIMIT_SECONDS = 60.0
_EVENTS = 100
_LOG_CHARACTERS = 100_000
_NEW, _AGAIN = "a new group", "started again"
# What the program says when it has come so far.
_CONNECTED, _OPENED = "running", "opened"


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    runs: int = 5
    latency_ms: float = 50.0


@dataclass(frozen=True, slots=True)
class _Start:
    """One start, in seconds from that of the process."""

    first_verdict: float
    ready: float = 0.0
    connected: float = 0.0
    opened: float = 0.0


def run(bench: Bench, plan: Plan) -> Found:
    """Start both in turn, each with a new group and then again."""
    topic = bench.topic("events")
    starts: dict[tuple[str, str], list[_Start]] = {}
    joins = []
    with service(plan.latency_ms) as endpoint:
        # Neither the first group of a broker nor the first use of a module is what is asked about.
        asyncio.run(_join_seconds(bench.bootstrap, topic))
        for name, contender in ((BARE, bare), (PRODUCT, product)) if plan.runs > 1 else ():
            _started(bench, contender, name, bench.job(topic, endpoint), 0)
        for _ in bench.rounds(plan.runs):
            joins.append(asyncio.run(_join_seconds(bench.bootstrap, topic)))
            for name, contender in ((BARE, bare), (PRODUCT, product)):
                job = bench.job(topic, endpoint)
                for number, how in enumerate((_NEW, _AGAIN)):
                    starts.setdefault((name, how), []).append(_started(bench, contender, name, job, number))
    join = statistics.median(joins)
    rows = tuple((*which, *_cells(which[0], some), str(len(some))) for which, some in starts.items())
    ready = {how: statistics.median(one.ready for one in starts[PRODUCT, how]) for how in (_NEW, _AGAIN)}
    bounds = tuple(
        Bound(f"ready after the start, {how}, beyond the join, s", seconds - join, 1.5, at_most=True)
        for how, seconds in ready.items()
    )
    columns = ("contender", "group", "connected s", "ready s", "lanes open s", "first verdict s", "from … to", "runs")
    notes = (
        f"the broker by itself takes {join:.2f} s to let a member into a group, which is part of ready",
        "of the time from ready to open lanes, 1.03 s are the quota's window, which no start may cut short",
        f"the first verdict waits {plan.latency_ms:g} ms for the service",
    )
    return Found("Start, medians", columns, rows, (), bounds, notes)


def _cells(name: str, starts: list[_Start]) -> tuple[str, ...]:
    first = [one.first_verdict for one in starts]
    middle = tuple(
        f"{statistics.median(values):.2f}" if name == PRODUCT else "–"
        for values in zip(*((one.connected, one.ready, one.opened) for one in starts), strict=True)
    )
    return (*middle, f"{statistics.median(first):.2f}", f"{min(first):.2f} to {max(first):.2f}")


def _started(bench: Bench, contender: Contender, name: str, job: Job, number: int) -> _Start:
    """Start it once on new events, and stop it when its first verdict is there."""
    fill(bench.bootstrap, job.topic, _EVENTS)
    port = free_port()
    # Its log names the moments in between.
    told = replace(job, settings={"admin": {"port": port}, "log": {"level": "info", "format": "json"}})
    with closing(Verdicts(bench.bootstrap, job.out)) as verdicts:
        child = bench.start(contender, told, number)
        try:
            ready = _ready_seconds(child, port) if name == PRODUCT else 0.0
            while not (after := [at for _, at in verdicts.events() if at > child.started]):
                verdicts.wait(verdicts.count + 1, _LIMIT_SECONDS, child)
            said = _said(child) if name == PRODUCT else {}
        finally:
            child.stop()
    connected, opened = (said.get(what, child.started) - child.started for what in (_CONNECTED, _OPENED))
    return _Start(min(after) - child.started, ready, connected, opened)


def _ready_seconds(child: Child, port: int) -> float:
    deadline = time.time() + _LIMIT_SECONDS
    while time.time() < deadline:
        child.check()
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection,
        ):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.time() - child.started
        time.sleep(0.01)
    raise Ended(f"not ready within {_LIMIT_SECONDS:g} s: {child.log()}")


def _said(child: Child) -> dict[str, float]:
    """When it said for the first time what it says, in seconds since the epoch."""
    found: dict[str, float] = {}
    for line in child.log(_LOG_CHARACTERS).splitlines():
        with suppress(orjson.JSONDecodeError):
            told = orjson.loads(line)
            found.setdefault(told["event"], datetime.fromisoformat(told["timestamp"]).timestamp())
    return found


async def _join_seconds(bootstrap: str, topic: str) -> float:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=unique("join"))
    began = time.monotonic()
    await consumer.start()
    took = time.monotonic() - began
    await consumer.stop()
    return took


# A broker that has no groups yet is no news.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

QUESTION = Question("start", __doc__ or "", 45, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
