"""What the savings save: billed units an event of a lifelike chat, and that no verdict is lower in risk for it.

usage: python -m benchmarks.savings [--events 30000] [--rate 50] [--seed 1]

The judging parts run as in the sidecar, without Kafka, in virtual time, against the simulator without its sockets: an
hour of chat takes a few minutes. Each row is the same chat with other settings. Packed texts need to be measured first:
that is a row of its own, which pays for both ways of judging. The rows after it go on from what it measured.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.corpora import chat
from benchmarks.harness import table
from consumer.building import routes
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.shadow import MemoryEvidence
from consumer.record import Partition, Record
from consumer.routing import Router
from consumer.settings import load_embedded
from consumer.simulator import SimulatorSettings
from consumer.simulator.backend import Backend, Reply, Request
from consumer.simulator.latency import Latency
from consumer.verdict import RiskLevel
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.corpora import Posted
    from consumer.moderation.shadow import Evidence
    from consumer.settings import EmbeddedSettings
    from consumer.simulator.ledger import Ledger


__all__ = ["ALL", "NOTHING", "SAFE", "SHADOW", "Outcome", "Service", "judged"]


NOTHING: Mapping[str, Any] = {"cache": {"seconds": 0}, "threads": {"max_age_seconds": 0}}
"""Each event has its own calls."""
SAFE: Mapping[str, Any] = {"threads": {"max_age_seconds": 10, "quiet_seconds": 5}}
"""What changes no verdict: cache, calls in flight joined, threads together."""
ALL: Mapping[str, Any] = {**SAFE, "packed": {"mode": "on"}}
"""Short texts together, too."""
SHADOW: Mapping[str, Any] = {**SAFE, "packed": {"mode": "shadow", "sample": 1.0}}
"""Every text judged both ways, to have measured enough within one run."""

_LATENCY_SECONDS = 0.08
_LIMITS = [f"{name}_per_second" for name in ("text", "image", "image_llm", "multimodal_submit", "multimodal_query")]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chat: each event's risk and how many seconds it took, and what was paid."""

    levels: Mapping[str, RiskLevel]
    seconds: list[float]
    sources: Counter[str]
    units_by_verdicts: int
    ledger: Ledger

    @property
    def units_an_event(self) -> float:
        """Billed units an event, of all moderation types."""
        return self.ledger.billed_units / len(self.levels)


class Service:
    """The simulator, asked without sockets: a transport that answers by itself after a while.

    Without `names_words` its answers say what they found and not which words: so do those of a judge of meanings.
    """

    def __init__(self, *, names_words: bool = True) -> None:
        self._names_words = names_words
        self._backend = Backend(
            SimulatorSettings(
                text_per_second=None,
                image_per_second=None,
                image_llm_per_second=None,
                multimodal_submit_per_second=None,
                multimodal_query_per_second=None,
                task_latency=Latency(500.0),
            ),
            LoopClock(),
        )
        self.ledger = self._backend.ledger

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Answer one request."""
        target = url.split("://", 1)[1].partition("/")[2]
        lowered = {name.lower(): value for name, value in headers.items()}
        received = self._backend.receive(Request("POST", f"/{target}", lowered, body))
        if not isinstance(received, Reply):
            await asyncio.sleep(_LATENCY_SECONDS)
            received = self._backend.answer(received)
        answer = received.body if self._names_words else _without_words(received.body)
        return HttpAnswer(received.status, answer)

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """No event here has a local image."""
        raise NotImplementedError


def _without_words(body: bytes) -> bytes:
    answer = orjson.loads(body)
    for result in answer.get("Data", {}).get("Result", ()):
        for name in ("RiskWords", "RiskPositions", "CustomizedHit"):
            result.pop(name, None)
    return orjson.dumps(answer)


class _Claim:
    """An event's claim where nothing is ever taken away."""

    held = True

    def __init__(self, record: Record) -> None:
        self.record = record

    def begin(self) -> None:
        """Nothing waits for it."""

    def end(self, *, billed: bool) -> None:
        """Nothing waits for it."""

    def park(self) -> None:
        """There is no window to make room in."""

    def unpark(self) -> None:
        """There is no window to come back to."""


def judged(
    posted: Iterable[Posted],
    saving: Mapping[str, Any],
    evidence: Evidence | None = None,
    *,
    names_words: bool = True,
) -> Outcome:
    """Have all of it judged, each event when it was posted, with these settings beside those of the account."""
    loaded = load_embedded(
        {
            "moderation": {
                "region": "cn-shanghai",
                "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
            },
            "quota": dict.fromkeys(_LIMITS, 2000),
            "tasks": {"first_poll_seconds": 1, "poll_interval_seconds": 1},
            **saving,
        },
        {},
    )
    return run(_judged(posted, loaded, Service(names_words=names_words), evidence))


async def _judged(
    posted: Iterable[Posted], settings: EmbeddedSettings, service: Service, evidence: Evidence | None
) -> Outcome:
    clock = LoopClock()
    router = Router(routes(settings))
    levels: dict[str, RiskLevel] = {}
    seconds: list[float] = []
    sources: Counter[str] = Counter()
    units = 0

    async def one(number: int, one: Posted) -> None:
        nonlocal units
        record = Record(Partition("chat", 0), number, round(clock.now() * 1000), None, None)
        route = router.route(one.event, "chat")
        assert route is not None  # the default routes take everything
        came_at = clock.monotonic()
        judgement = await judging.judge.judge(one.event, route, _Claim(record))
        seconds.append(clock.monotonic() - came_at)
        levels[one.event.id] = judgement.risk_level
        sources[judgement.source] += 1
        units += sum(bill.units for bill in judgement.billed)
        await judging.settled([record])

    async with Judging(settings, clock=clock, metrics=Metrics(), evidence=evidence, transport=service) as judging:
        running = asyncio.create_task(judging.run())
        await judging.started.wait()
        async with asyncio.TaskGroup() as events:
            for number, next_one in enumerate(posted):
                await asyncio.sleep(max(0.0, next_one.at_seconds - clock.monotonic()))
                events.create_task(one(number, next_one))
        running.cancel()
        await asyncio.wait({running})
    return Outcome(levels, seconds, sources, units, service.ledger)


def main() -> None:
    """Judge the same chat with each choice of savings, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    given = list(islice(chat(asked.seed, rate=asked.rate), asked.events))
    before = islice(chat(asked.seed + 1, rate=asked.rate), 2 * asked.events)
    alone = judged(given, NOTHING)
    risky = sum(level is not RiskLevel.NONE for level in alone.levels.values())
    evidence = MemoryEvidence()
    runs = {
        "nothing saved": alone,
        "cache, single-flight, threads": judged(given, SAFE),
        "measuring packed texts (another chat, twice as long)": judged(before, SHADOW, evidence),
        "the same and packed texts": judged(given, ALL, evidence),
        "the same, where answers name no words": judged(given, ALL, evidence, names_words=False),
    }
    rows = []
    for name, outcome in runs.items():
        same = outcome.levels.keys() == alone.levels.keys()
        lower = sum(level < alone.levels[event] for event, level in outcome.levels.items()) if same else None
        waits = sorted(outcome.seconds)
        rows.append(
            [
                name,
                f"{outcome.units_an_event:.3f}",
                "–" if lower is None else str(lower),
                f"{waits[len(waits) // 2]:.2f}",
                f"{waits[int(len(waits) * 0.99)]:.2f}",
                ", ".join(f"{source} {events / len(waits):.0%}" for source, events in outcome.sources.most_common()),
                str(outcome.ledger.billed_units - outcome.units_by_verdicts),
            ]
        )
    title = f"Savings: {asked.events:,} events of a chat, {asked.rate:g} a second, {risky / asked.events:.1%} risky"
    columns = [
        "settings",
        "units an event",
        "lower in risk",
        "median s",
        "99 % s",
        "verdicts from",
        "units beside verdicts",
    ]
    print(table(title, columns, rows))


if __name__ == "__main__":
    main()
