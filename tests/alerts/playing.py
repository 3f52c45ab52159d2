"""All scenarios at the same time before one Prometheus, and what it says of each of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.demo.broker import EmbeddedBroker
from tests.alerts.rules import ROOT, faster
from tests.alerts.scenarios import SCENARIOS, Scenario
from tests.alerts.stage import Stage
from tests.observed.prometheus import Prometheus


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from pathlib import Path


__all__ = ["FACTOR", "Outcome", "played", "queries_in", "watched", "watching"]


FACTOR = 60
"""An hour of the rules is a minute here."""

_SCRAPE_SECONDS = 1.0
_EVALUATE_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_FENCED = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some scenarios.

    Attributes:
        fired: after how many seconds each alert first fired, by job.
        unanswered: alerts whose runbook asks something first that has no answer while the alert fires.
    """

    fired: Mapping[str, Mapping[str, float]]
    unanswered: Sequence[str]

    def missing(self, scenarios: Sequence[Scenario]) -> list[str]:
        """What should have fired and did not."""
        return [f"{one.job}: {name}" for one in scenarios for name in sorted(one.fires - self.fired[one.job].keys())]

    def unexpected(self, scenarios: Sequence[Scenario]) -> list[str]:
        """What fired though nothing of the kind had happened."""
        allowed = {one.job: one.fires | one.may_fire for one in scenarios}
        # Of no job: before the first scrape there is no consumer at all.
        allowed[""] = frozenset({"ModerationConsumerAbsent"})
        return [f"{job}: {name}" for job, names in self.fired.items() for name in sorted(names.keys() - allowed[job])]


async def played(
    folder: Path, *, seconds: float, at_least_seconds: float = 0.0, scenarios: Sequence[Scenario] = SCENARIOS
) -> Outcome:
    """Play all scenarios until all alerts have fired that should, or the time is over.

    Args:
        folder: where files can be written.
        seconds: the longest they are played.
        at_least_seconds: how long they are played though all alerts have fired.
        scenarios: what is played.
    """
    async with contextlib.AsyncExitStack() as stack:
        shared = await stack.enter_async_context(EmbeddedBroker())
        stages = {}
        for scenario in scenarios:
            broker = await stack.enter_async_context(EmbeddedBroker()) if scenario.own_broker else shared
            stage = stages[scenario.job] = Stage(scenario.job, broker, folder, scenario.service)
            await stack.enter_async_context(stage.simulator)
            for topic in (stage.events, f"{stage.events}.verdicts", f"{stage.events}.dead-letters"):
                await asyncio.to_thread(broker.create_topic, topic)
        addresses = {job: stage.address for job, stage in stages.items()}
        prometheus = await stack.enter_async_context(watching(folder, addresses))
        async with asyncio.TaskGroup() as tasks:
            plays = [tasks.create_task(scenario.play(stages[scenario.job])) for scenario in scenarios]
            expected = {scenario.job: scenario.fires for scenario in scenarios}
            fired = await watched(prometheus, expected, seconds=seconds, at_least_seconds=at_least_seconds)
            unanswered = await asyncio.to_thread(_unanswered, prometheus, frozenset().union(*expected.values()))
            for play in plays:
                play.cancel()
    return Outcome(fired, unanswered)


@contextlib.asynccontextmanager
async def watching(folder: Path, addresses: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """A Prometheus with the faster rules that scrapes one address for each job."""
    rules = folder / "rules.yaml"
    rules.write_text(faster(FACTOR))
    targets = {job: [address] for job, address in addresses.items()}
    prometheus = Prometheus(targets, rules=[rules], scrape_seconds=_SCRAPE_SECONDS, evaluate_seconds=_EVALUATE_SECONDS)
    await asyncio.to_thread(prometheus.__enter__)
    try:
        yield prometheus
    finally:
        await asyncio.to_thread(prometheus.__exit__, None, None, None)


async def watched(
    prometheus: Prometheus,
    expected: Mapping[str, Collection[str]],
    *,
    seconds: float,
    at_least_seconds: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Wait until the alerts that are expected of each job have fired, or the time is over; what fired, and when."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    fired: dict[str, dict[str, float]] = defaultdict(dict)
    while (gone := loop.time() - began) < seconds:
        for alert in await asyncio.to_thread(prometheus.alerts):
            if alert["state"] == "firing":
                labels = alert["labels"]
                fired[labels.get("job", "")].setdefault(labels["alertname"], gone)
        if gone >= at_least_seconds and all(set(names) <= fired[job].keys() for job, names in expected.items()):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return fired


def queries_in(name: str) -> list[str]:
    """The queries of an alert's runbook, one a line."""
    page = (ROOT / "docs" / "runbooks" / f"{name}.md").read_text(encoding="utf-8")
    return [line for block in _FENCED.findall(page) for line in block.splitlines()]


def _unanswered(prometheus: Prometheus, names: Collection[str]) -> list[str]:
    """Ask all queries of the runbooks of alerts that fire; one that is wrong raises, and the first needs an answer."""
    found = []
    for name in sorted(names):
        answers = [prometheus.query(query) for query in queries_in(name)]
        if not answers[0]:
            found.append(name)
    return found
