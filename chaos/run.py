"""One run: events are written, things go wrong, and what it left behind is read back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from chaos.events import NUMBER, Mix, posted
from chaos.faults import Trouble
from chaos.history import History, Input, Stall, Terms
from chaos.reading import COMMITS, Journal, Reader, commit, outcome, place_of, recorded
from chaos.stage import ROOT
from chaos.stalls import watch
from chaos.timeline import SESSION_SECONDS, schedule
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from chaos.events import Posted
    from chaos.reading import Read
    from chaos.stage import Member, Stage
    from chaos.timeline import Step


__all__ = [
    "Plan",
    "Topics",
    "finished",
    "gathered",
    "inputs_of",
    "journal_of",
    "run",
    "running",
    "service",
    "settings",
    "write",
]


PARTITIONS = 4
# The brokers' own time says when a verdict was written.
_STAMPED = {"message.timestamp.type": "LogAppendTime"}
_SERVICE_JITTER_SECONDS = 0.3
_GIVE_UP_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is to be."""

    seed: int
    terms: Terms = field(default_factory=Terms)
    seconds: float = 15.0
    mix: Mix = field(default_factory=Mix)
    latency_ms: str = "60~0.5"
    members: int = 2

    @property
    def steps(self) -> list[Step]:
        """Its faults."""
        return schedule(self.seed, self.seconds)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics and the group of one run."""

    events: str
    verdicts: str
    letters: str
    group: str

    @property
    def state(self) -> str:
        """The state topic, which the consumer makes."""
        return f"{self.group}.state"

    @classmethod
    def on(cls, stage: Stage, name: str) -> Topics:
        """New ones."""
        made = cls(*(unique(f"{name}-{what}") for what in ("events", "verdicts", "letters", "group")))
        stage.cluster.create_topic(made.events, PARTITIONS)
        for topic in (made.verdicts, made.letters):
            stage.cluster.create_topic(topic, PARTITIONS, _STAMPED)
        return made


def settings(terms: Terms, topics: Topics, *, jitter_seconds: float = _SERVICE_JITTER_SECONDS) -> dict[str, Any]:
    """The consumer's configuration, but for where the brokers and the service are."""
    return {
        "kafka": {
            "topics": [topics.events],
            "group_id": topics.group,
            "start": "earliest",
            "session_timeout_seconds": SESSION_SECONDS,
            "heartbeat_interval_seconds": 0.5,
            "scale": terms.scale,
        },
        "output": {"topic": topics.verdicts, "dead_letters": topics.letters},
        "moderation": {
            "region": "cn-shanghai",
            "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
            "timeouts": {"connect_seconds": 2, "read_seconds": 3, "total_seconds": 5},
            "retry": {"max_seconds": 1, "attempts": 20},
            "hold_probe_seconds": 0.5,
        },
        "quota": {
            "text_per_second": terms.text_per_second,
            "multimodal_submit_per_second": 20,
            "multimodal_query_per_second": 20,
            "jitter_seconds": jitter_seconds,
        },
        "tasks": {"first_poll_seconds": 1, "poll_interval_seconds": 1},
        "threads": {"max_age_seconds": 0.5},
        "delivery": {
            "guarantee": terms.guarantee,
            "order": terms.order,
            "max_in_flight": terms.max_in_flight,
            "commit_interval_seconds": terms.commit_interval_seconds,
            "on_null": terms.on_null,
        },
        "admin": {"host": "127.0.0.1", "port": 0},
        "log": {"format": "json"},
    }


async def run(stage: Stage, plan: Plan, folder: Path, say: Callable[[str], None]) -> History:
    """Have one run, and return its history. Its logs and its journal are in `folder` afterwards, which is there.

    When cancelled, processes and brokers stay as they are.
    """
    started, began = time.time(), time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - began:6.2f} s  {text}")

    journal = journal_of(stage, folder)
    topics = await asyncio.to_thread(Topics.on, stage, f"s{plan.seed}")
    with (
        service(journal.path, plan) as port,
        Reader(stage.bootstrap, [topics.verdicts, topics.letters]) as outcomes,
    ):
        for member in stage.members.values():
            member.service.upstream = ("127.0.0.1", port)
            member.prepare(folder, settings(plan.terms, topics))
        first = list(stage.members.values())[: plan.members]
        for member in first:
            member.start()
        await running(first)
        await asyncio.to_thread(stage.stamp, topics.state)
        trouble = Trouble(stage, f"http://127.0.0.1:{port}", journal, tell)
        wanted = posted(plan.seed, plan.seconds, plan.mix)
        stalls: list[Stall] = []
        async with asyncio.TaskGroup() as beside:
            others = [
                beside.create_task(trouble.supervise()),
                beside.create_task(watch(lambda at, seconds: stalls.append(Stall(at, seconds)))),
            ]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write(stage.bootstrap, topics.events, wanted))
                tasks.create_task(trouble.run(plan.steps))
            tell(f"{len(wanted)} events written, everything mended")
            inputs = await asyncio.to_thread(inputs_of, stage, topics, wanted.__getitem__)
            found = await finished(outcomes, inputs, plan.terms, tell)
            for one in others:
                one.cancel()
        async with asyncio.TaskGroup() as tasks:
            for member in stage.members.values():
                tasks.create_task(member.stop())
        tell("all stopped")
        found += await asyncio.to_thread(outcomes.read_all)
    known = History(plan.terms, started, inputs, happenings=tuple(trouble.happened), stalls=tuple(stalls))
    return await asyncio.to_thread(gathered, stage, topics, journal, known, found)


def journal_of(stage: Stage, folder: Path) -> Journal:
    """The journal that the service of a run keeps in its folder."""
    return Journal(folder / "service.jsonl", {each.service.port: each.name for each in stage.members.values()})


def gathered(stage: Stage, topics: Topics, journal: Journal, known: History, found: Sequence[Read]) -> History:
    """What is known of a run that has ended, and all that it has left."""
    with Reader(stage.bootstrap, [COMMITS], since=known.began) as reader:
        commits = [commit(read, topics.group, topics.events) for read in reader.read_all()]
    with Reader(stage.bootstrap, [topics.state]) as reader:
        tasks = [recorded(read) for read in reader.read_all()]
    return replace(
        known,
        outcomes=tuple(outcome(read) for read in found),
        calls=tuple(journal.calls()),
        commits=tuple(one for one in commits if one is not None),
        recorded=tuple(one for one in tasks if one is not None),
        starts=tuple((member.name, at) for member in stage.members.values() for at in member.starts),
        exits=tuple(end for member in stage.members.values() for end in member.exits),
        stalls=(*known.stalls, *journal.stalls()),
    )


@contextmanager
def service(journal: Path, plan: Plan) -> Iterator[int]:
    """The moderation service in a process of its own; yields its port."""
    command = [sys.executable, "-m", "chaos.service", str(journal), str(plan.seed)]
    with subprocess.Popen(
        [*command, str(plan.terms.text_per_second), plan.latency_ms], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # it is a pipe
            yield int(process.stdout.readline())
            process.terminate()
            process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()


async def running(members: Sequence[Member]) -> None:
    """Return when all of them say that they run.

    Raises:
        TimeoutError: one did not within a minute; its log says why.
    """
    async with asyncio.timeout(60):
        while not all(member.running for member in members):  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.05)


async def write(bootstrap: str, topic: str, wanted: Sequence[Posted]) -> None:
    """Write each event at its moment; return when all are acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    began = time.monotonic()
    for one in wanted:
        while (left := began + one.at - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.05))
            producer.poll(0)
        producer.produce(topic, one.value, one.key, headers=[(NUMBER, str(one.number).encode())])
    await asyncio.to_thread(producer.flush)


def inputs_of(stage: Stage, topics: Topics, posted_as: Callable[[int], Posted]) -> tuple[Input, ...]:
    """The records of the input topic, as they are there; `posted_as` says what was posted under a number."""
    with Reader(stage.bootstrap, [topics.events]) as reader:
        found = reader.read_all()
    made = []
    for read in found:
        one = posted_as(int(dict(read.headers)[NUMBER]))
        place = (read.partition, read.offset)
        made.append(Input(place, read.key, read.value, read.headers, one.event_id, one.tag, one.risky))
    return tuple(made)


async def finished(reader: Reader, inputs: Sequence[Input], terms: Terms, tell: Callable[[str], None]) -> list[Read]:
    """What was written until each record has its outcome, or until nothing more comes for a while."""
    missing = {one.place for one in inputs if one.value is not None or terms.on_null == "dead_letter"}
    found: list[Read] = []
    last = time.monotonic()
    while missing and time.monotonic() - last < _GIVE_UP_SECONDS:
        more = await asyncio.to_thread(reader.read, 0.5)
        found += more
        if more:
            last = time.monotonic()
        missing.difference_update(place_of(read) for read in more)
    tell(f"{len(missing)} records have no outcome yet" if missing else "every record has its outcome")
    return found
