"""One record through the whole program, in virtual time and without a network: what it asks for, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.building import policy, routes
from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.estimate.feed import Alone, Nowhere, limits_without_brokers
from consumer.estimate.virtual import VirtualClock, run
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.rehearsal.intake import Reading
from consumer.rehearsal.service import StandIn
from consumer.routing import Router
from consumer.settings.models import Callbacks
from consumer.verdict import ACTIONS


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from consumer.engine.ports import Assignments
    from consumer.engine.way import Outcome
    from consumer.errors import RecordError
    from consumer.record import OutRecord, Partition, Record
    from consumer.rehearsal.service import Rule, Sent
    from consumer.settings import Settings
    from consumer.verdict import Verdict


__all__ = ["EPOCH_SECONDS", "MOST_REQUESTS", "PATIENCE_SECONDS", "Ending", "rehearse"]


EPOCH_SECONDS = 1_767_225_600.0
"""When a rehearsal begins: 2026-01-01T00:00:00Z, so that it is the same each time."""

PATIENCE_SECONDS = 2 * 86_400.0
"""After so much virtual time a record that has not ended never will: a task may take a day."""

MOST_REQUESTS = 100
"""After so many requests for one record it never will, either."""

_LOOK_SECONDS = 60.0

_COMMIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a record.

    Attributes:
        sent: What the service was asked, in the order in which it was.
        route: The route that took it; empty where none did.
        out: What was written for it; None where nothing was.
        verdict: The verdict, where it has one.
        error: Why it is a dead letter, where it is.
        skipped: Whether it was left out: it has no value, or none that is to be judged.
        waits_for: Why it never ended; empty where it did.
        seconds: How long it took, in virtual time.
    """

    sent: tuple[Sent, ...]
    route: str = ""
    out: OutRecord | None = None
    verdict: Verdict | None = None
    error: RecordError | None = None
    skipped: bool = False
    waits_for: str = ""
    seconds: float = 0.0


def rehearse(
    settings: Settings,
    record: Record,
    rules: Sequence[Rule] = (),
    *,
    as_json: bool = True,
    epoch_seconds: float = EPOCH_SECONDS,
) -> Ending:
    """Take one record all the way, with the simulator in the place of the service.

    Mapping, routing, batching, caching, quotas, retries and policy run as they would. Results of tasks are polled for.

    Args:
        settings: As `run` would have them.
        record: What was read.
        rules: What the service says of some requests, instead of what the simulator would.
        as_json: Whether its value stands in JSON, whatever it is encoded in where it comes from.
        epoch_seconds: The time of day at which it begins.

    Raises:
        StartError: a schema cannot be had from the registry.
        Exception: a fault of this program.
    """
    reading = Reading(settings, as_json=as_json)
    reading.prepare(record)
    return run(_rehearse(settings.model_copy(update={"callbacks": Callbacks()}), record, rules, epoch_seconds, reading))


async def _rehearse(
    settings: Settings, record: Record, rules: Sequence[Rule], epoch_seconds: float, reading: Reading
) -> Ending:
    clock, metrics = VirtualClock(epoch_seconds), Metrics()
    own = settings.moderation
    service = StandIn(
        clock,
        rules=rules,
        copies={name: one.like for name, one in own.services.items()},
        timeout_seconds=own.timeouts.total_seconds,
    )
    stop, book = asyncio.Event(), _Book(metrics)
    async with Judging(settings, clock=clock, metrics=metrics, transport=service) as judging:
        beside = asyncio.create_task(judging.run(watched=False))
        await judging.started.wait()
        engine = asyncio.create_task(_engine(settings, record, judging, book, reading, clock).run(stop))
        try:
            while not await _over({engine, beside}, book) and clock.monotonic() < PATIENCE_SECONDS:
                if len(service.sent) >= MOST_REQUESTS:
                    break
            waits_for = "" if book.ended.is_set() else _why(judging, len(service.sent))
            seconds = clock.monotonic()
            stop.set()
            await engine
        finally:
            beside.cancel()
            await asyncio.wait({beside})
            if not beside.cancelled():
                beside.result()
    return book.ending(tuple(service.sent), waits_for, seconds)


def _engine(
    settings: Settings, record: Record, judging: Judging, book: _Book, reading: Reading, clock: VirtualClock
) -> Engine:
    output = settings.output
    return Engine(
        source=_Single(record),
        guarantee=AtLeast(Nowhere(), Nowhere()),
        way=Way(
            intake=reading.event,
            router=Router(routes(settings)),
            judge=judging.judge,
            policy=policy(settings),
            topics={action: output.topics.get(action, output.topic) for action in ACTIONS},
            dead_letters=output.dead_letters,
            clock=clock,
        ),
        limits=limits_without_brokers(settings, commit_interval_seconds=_COMMIT_SECONDS),
        tally=book,
        metrics=book.metrics,
        clock=clock,
        settled=judging.settled,
    )


async def _over(running: Collection[asyncio.Task[None]], book: _Book) -> bool:
    """Whether the record has ended, or something that should run on; after a while at the latest."""
    ended = asyncio.ensure_future(book.ended.wait())
    try:
        done, _ = await asyncio.wait({*running, ended}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
    return bool(done)


def _why(judging: Judging, requests: int) -> str:
    """What a record that never ends waits for."""
    standing = judging.hold.standing()
    if standing:
        return "; ".join(f"it is held for {one.reason} ({one.code}: {one.meaning})" for one in standing)
    return f"no usable answer came to {requests} requests"


class _Book(Tally):
    """Keeps what became of the one record."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.metrics = metrics
        self.ended = asyncio.Event()
        self._outcome: Outcome | None = None

    def skipped(self, topic: str) -> None:
        """It has no value."""
        super().skipped(topic)
        self.ended.set()

    def acknowledged(self, outcome: Outcome, seconds: float) -> None:
        """What it became was written."""
        super().acknowledged(outcome, seconds)
        self._outcome = outcome
        self.ended.set()

    def ending(self, sent: tuple[Sent, ...], waits_for: str, seconds: float) -> Ending:
        """What became of it."""
        outcome = self._outcome
        if outcome is None or waits_for or (outcome.verdict is None and outcome.error is None):
            return Ending(sent, skipped=not waits_for, waits_for=waits_for, seconds=seconds)
        return Ending(sent, outcome.route, outcome.out, outcome.verdict, outcome.error, seconds=seconds)


class _Single(Alone):
    """A source of one record."""

    def __init__(self, record: Record) -> None:
        self._record: Record | None = record
        self._partition = record.partition

    async def start(self, assignments: Assignments) -> None:
        """Its partition is the engine's from now on."""
        assignments.assigned([self._partition])

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """The record, and nothing ever after."""
        record = self._record
        if record is None or self._partition not in ready:
            await asyncio.sleep(timeout_seconds)
            return {}
        self._record = None
        return {self._partition: [record]}
