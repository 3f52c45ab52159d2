"""How long from the start of a process until it is ready, and until its first verdict?

usage: python -m benchmarks.start [--runs 5] [--latency-ms 50]

The topic has events already. What the broker takes to let a member into a group is measured by a consumer that does
nothing else, and taken off. One quota's window is waited for before the first call, since whoever had the partitions
before may have used it up.
"""

from __future__ import annotations

import asyncio
import http.client
import statistics
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer

from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import Ended, service
from benchmarks.results import Bound, Found
from tests.broker.cluster import unique
from tests.ports import free_port


if TYPE_CHECKING:
    from benchmarks.harness import Child


__all__ = ["QUESTION", "Plan", "run"]


_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    runs: int = 5
    latency_ms: float = 50.0


def run(bench: Bench, plan: Plan) -> Found:
    """Start both in turn."""
    topic = bench.filled(100)
    ready: list[float] = []
    first: dict[str, list[float]] = {BARE: [], PRODUCT: []}
    joins = []
    with service(plan.latency_ms) as endpoint:
        for _ in bench.rounds(plan.runs):
            joins.append(asyncio.run(_join_seconds(bench.bootstrap, topic)))
            for name, contender in ((BARE, bare), (PRODUCT, product)):
                port = free_port()
                job = replace(bench.job(topic, endpoint), settings={"admin": {"port": port}})
                with bench.working(contender, job) as (children, verdicts):
                    if name == PRODUCT:
                        ready.append(_ready_seconds(children[0], port))
                    verdicts.wait(1, _LIMIT_SECONDS, *children)
                    first[name].append(min(at for _, at in verdicts.events()) - children[0].started)
    join = statistics.median(joins)
    rows = tuple(
        (
            name,
            f"{statistics.median(ready):.2f}" if name == PRODUCT else "–",
            f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f} to {max(seconds):.2f}",
            str(len(seconds)),
        )
        for name, seconds in first.items()
    )
    bound = Bound("ready after the start, beyond the join, s", statistics.median(ready) - join, 1.5, at_most=True)
    columns = ("contender", "ready s", "first verdict s", "from … to", "runs")
    note = f"the broker by itself takes {join:.2f} s to let a member into a group"
    return Found("Start, medians", columns, rows, (), (bound,), (note,))


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
        time.sleep(0.02)
    raise Ended(f"not ready within {_LIMIT_SECONDS:g} s: {child.log()}")


async def _join_seconds(bootstrap: str, topic: str) -> float:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=unique("join"))
    began = time.monotonic()
    await consumer.start()
    took = time.monotonic() - began
    await consumer.stop()
    return took


QUESTION = Question("start", __doc__ or "", 36, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
