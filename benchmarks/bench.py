"""Where questions are asked: a Kafka, a folder, and how long an answer may take."""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.contenders import Job
from benchmarks.harness import Child, Ended, Measured, Verdicts, fill, measure
from benchmarks.machine import machine
from benchmarks.results import MEASURED, Result, save
from tests.broker.cluster import KafkaCluster, unique


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from _typeshed import DataclassInstance

    from benchmarks.contenders import Contender
    from benchmarks.results import Found
    from tests.broker.cluster import Broker


__all__ = [
    "COLUMNS",
    "PARTITIONS",
    "ROOMY",
    "Bench",
    "Entry",
    "Question",
    "answer",
    "ask",
    "compare",
    "contest",
    "median",
]


PARTITIONS = 6
_SETTLE_SECONDS = 30.0
# With the little memory that tests give it, a broker stands still three times a second to look for garbage.
ROOMY = ("-Xms512m", "-Xmn320m")
# The brokers' own time says when a verdict was written.
_STAMPED = {"message.timestamp.type": "LogAppendTime"}


P = TypeVar("P", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Question(Generic[P]):
    """One question.

    Attributes:
        name: the module that asks it.
        about: what it is, and how it is asked.
        seconds: its part of the time of all.
        plan: its numbers, as they are by default.
        run: finds the answer.
    """

    name: str
    about: str
    seconds: float
    plan: P
    run: Callable[[Bench, P], Found]


class Bench:
    """A Kafka and a folder for one or more questions."""

    def __init__(self, kafka: Broker, folder: Path) -> None:
        self.bootstrap = ",".join(kafka.bootstrap_servers)
        self.folder = folder
        self._kafka = kafka
        self._filled: dict[tuple[Any, ...], str] = {}
        self._deadline = math.inf

    def begin(self, seconds: float) -> None:
        """A question begins, which has so long."""
        self._deadline = time.monotonic() + seconds

    def rounds(self, wanted: int, share: float = 1.0) -> Iterator[int]:
        """Numbers of rounds: as many as wanted, fewer where another would not fit into this share of what is left."""
        began = time.monotonic()
        deadline = began + (self._deadline - began) * share
        for number in range(wanted):
            if number and time.monotonic() + (time.monotonic() - began) / number > deadline:
                return
            yield number

    def topic(self, name: str, partitions: int = PARTITIONS) -> str:
        """A new topic, whose records carry the broker's time."""
        made = unique(name)
        if isinstance(self._kafka, KafkaCluster):
            self._kafka.create_topic(made, partitions, _STAMPED)
        else:
            self._kafka.create_topic(made)
        return made

    def filled(self, events: int, *, partitions: int = PARTITIONS, keys: int = 1000, hot_share: float = 0.0) -> str:
        """A topic with so many events; made once for all who ask for the same."""
        asked = (events, partitions, keys, hot_share)
        if asked not in self._filled:
            self._filled[asked] = self.topic("events", partitions)
            fill(self.bootstrap, self._filled[asked], events, keys=keys, hot_share=hot_share)
        return self._filled[asked]

    def job(self, topic: str, endpoint: str, *, partitions: int = PARTITIONS, **more: Any) -> Job:
        """Work on a topic, with new topics to write to and a new group."""
        out = self.topic("verdicts", partitions)
        self._kafka.create_topic(f"{out}-dead")
        return Job(self.folder, self.bootstrap, topic, out, unique("group"), endpoint, **more)

    def start(self, contender: Contender, job: Job, number: int = 0) -> Child:
        """A process that does a job, or the next one on the same."""
        return Child(contender(job), self.folder / f"{job.out}-{number}.log")

    @contextmanager
    def working(self, contender: Contender, job: Job, replicas: int = 1) -> Iterator[tuple[list[Child], Verdicts]]:
        """So many processes that do a job, and what they write; they are stopped at the end."""
        verdicts = Verdicts(self.bootstrap, job.out)
        children = []
        try:
            children += [self.start(contender, job, number) for number in range(replicas)]
            yield children, verdicts
        finally:
            for child in children:
                child.stop()
            verdicts.close()

    def settled(self, group: str, members: int, working: int) -> None:
        """Return when a group has so many members, of which so many have partitions.

        Raises:
            Ended: it did not come to that.
        """
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                found = admin.describe_consumer_groups([group])[group].result(10)
            except KafkaException:
                found = None
            if found is not None and found.state.name == "STABLE" and len(found.members) == members:
                busy = sum(bool(member.assignment.topic_partitions) for member in found.members)
                if busy == working:
                    return
            time.sleep(0.1)
        raise Ended(f"the group {group} has not come to {members} members, {working} of them with partitions")


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender in a contest: what it is called, and what its work is."""

    name: str
    contender: Contender
    topic: str
    endpoint: str
    in_flight: int = 512
    partitions: int = PARTITIONS
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    service_pid: int = 0


def contest(
    bench: Bench, entries: Sequence[Entry], events: int, runs: int, *, share: float = 1.0, limit_seconds: float = 60
) -> dict[str, list[Measured]]:
    """Let all do their work in turn, another one first each time; what was measured, by their names."""
    found: dict[str, list[Measured]] = {entry.name: [] for entry in entries}
    for number in bench.rounds(runs if entries else 0, share):
        first = number % len(entries)
        for entry in (*entries[first:], *entries[:first]):
            job = bench.job(
                entry.topic,
                entry.endpoint,
                partitions=entry.partitions,
                in_flight=entry.in_flight,
                settings=entry.settings,
            )
            with bench.working(entry.contender, job) as (children, verdicts):
                found[entry.name].append(
                    measure(children, verdicts, events, limit_seconds=limit_seconds, service_pid=entry.service_pid)
                )
    return found


COLUMNS = ("events/s", "ratio", "CPU µs/event", "ratio", "peak MB", "first verdict s")


def median(runs: Sequence[Measured]) -> Measured:
    """The median of each figure by itself."""
    return Measured(
        statistics.median(run.events_per_second for run in runs),
        statistics.median(run.cpu_us_per_event for run in runs),
        statistics.median(run.peak_mb for run in runs),
        statistics.median(run.first_verdict_seconds for run in runs),
        statistics.median(run.service_us_per_event for run in runs),
    )


def compare(one: Measured, ceiling: Measured) -> tuple[str, ...]:
    """The cells of `COLUMNS` for one contender beside another."""
    return (
        f"{one.events_per_second:,.0f}",
        f"{one.events_per_second / ceiling.events_per_second:.2f}",
        f"{one.cpu_us_per_event:,.0f}",
        f"{one.cpu_us_per_event / ceiling.cpu_us_per_event:.2f}",
        f"{one.peak_mb:.0f}",
        f"{one.first_verdict_seconds:.1f}",
    )


def answer(question: Question[P], bench: Bench, seconds: float, plan: P | None = None) -> Result:
    """Have one question answered within about so long, with its own numbers or others.

    Raises:
        Ended: a contender failed.
    """
    told = machine()
    began = time.monotonic()
    bench.begin(seconds)
    chosen = question.plan if plan is None else plan
    found = question.run(bench, chosen)
    took = round(time.monotonic() - began, 1)
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Result(question.name, found, told, moment, took, dataclasses.asdict(chosen))


def ask(question: Question[P]) -> None:
    """Ask one question by itself: its numbers are options of the command line."""
    parser = argparse.ArgumentParser(description=question.about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for one in dataclasses.fields(question.plan):
        value = getattr(question.plan, one.name)
        form = _several(type(value[0])) if isinstance(value, tuple) else type(value)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=form, default=value, help=f"{shown} by default")
    parser.add_argument("--seconds", type=float, default=math.inf, help="leave rounds out that do not fit into this")
    parser.add_argument("--results", type=Path, default=MEASURED, help="where the result goes, as JSON")
    asked = vars(parser.parse_args())
    seconds, results = asked.pop("seconds"), asked.pop("results")
    plan: P = dataclasses.replace(question.plan, **asked)
    with tempfile.TemporaryDirectory() as folder, KafkaCluster(java=ROOMY) as cluster:
        try:
            result = answer(question, Bench(cluster, Path(folder)), seconds, plan)
        except Ended as reason:
            sys.exit(f"{question.name}: {reason}")
    save(result, results)
    print(result.found)


def _several(form: type) -> Callable[[str], tuple[Any, ...]]:
    def read(text: str) -> tuple[Any, ...]:
        return tuple(form(part) for part in text.split(","))

    return read
