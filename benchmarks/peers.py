"""How does it stand beside what one would otherwise take?

usage: python -m benchmarks.peers [--events 20000] [--latency-ms 50] [--in-flight 512] [--runs 3]

The closed loop once more: batches whose calls are gathered, and, where `python -m benchmarks.peers_install` has put
them into `.cache/peers`, FastStream, Arroyo, and Confluent's Parallel Consumer with its Vert.x client. All make the
same signed calls and write the same verdicts. Who is not there is named below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import COLUMNS, Bench, Entry, Question, ask, compare, contest, median
from benchmarks.contenders import BARE, GATHER, PRODUCT, bare, gather, product
from benchmarks.harness import Ended, service
from benchmarks.peers_install import INSTALLED
from benchmarks.results import Chart, Found, Line


if TYPE_CHECKING:
    from benchmarks.contenders import Contender
    from benchmarks.harness import Measured


__all__ = ["QUESTION", "Plan", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    events: int = 20_000
    in_flight: int = 512
    latency_ms: float = 50.0
    runs: int = 3


def run(bench: Bench, plan: Plan) -> Found:
    """Compare all that are there."""
    topic = bench.filled(plan.events)
    contenders: dict[str, Contender] = {PRODUCT: product, BARE: bare, GATHER: gather}
    notes = []
    for peer in INSTALLED:
        missing = peer.missing()
        if missing is None:
            contenders[peer.name] = peer.command
        else:
            notes.append(f"{peer.name} was left out: {missing}")
    found: dict[str, list[Measured]] = {}
    with service(plan.latency_ms) as endpoint:
        for at, (name, contender) in enumerate(contenders.items()):
            entry = Entry(name, contender, topic, endpoint, plan.in_flight)
            try:
                share = 1 / (len(contenders) - at)
                found |= contest(bench, [entry], plan.events, plan.runs, share=share, limit_seconds=30)
            except Ended as reason:
                notes.append(f"{name} was left out: {str(reason).splitlines()[0]}")
    medians = {name: median(runs) for name, runs in found.items()}
    rows = tuple((name, *compare(one, medians[BARE]), str(len(found[name]))) for name, one in medians.items())
    bars = tuple((float(at), one.events_per_second) for at, one in enumerate(medians.values()))
    chart = Chart("Beside others", "", "events/s", (Line("events/s", bars),), tuple(medians))
    title = f"Peers: {plan.events:,} events, {plan.latency_ms:g} ms, {plan.in_flight} in flight, medians"
    return Found(title, ("contender", *COLUMNS, "runs"), rows, (chart,), (), tuple(notes))


QUESTION = Question("peers", __doc__ or "", 50, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
