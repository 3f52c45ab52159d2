"""Records through the whole program, in virtual time and without a network: what they ask for, and how they end."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.building import policy, routes
from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast
from consumer.estimate.feed import Nowhere, limits_without_brokers
from consumer.estimate.virtual import VirtualClock, run
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.rehearsal.arrivals import Arrival, Arrivals
from consumer.rehearsal.book import Book, BookedJudge, BookedWay
from consumer.rehearsal.intake import Reading
from consumer.rehearsal.service import StandIn
from consumer.routing import Router
from consumer.settings.models import Callbacks
from consumer.verdict import ACTIONS


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from consumer.event import Event
    from consumer.record import Record
    from consumer.rehearsal.book import Ending
    from consumer.rehearsal.service import Rule
    from consumer.settings import Settings


__all__ = ["EPOCH_SECONDS", "MOST_REQUESTS", "PATIENCE_SECONDS", "rehearse", "rehearse_all"]


EPOCH_SECONDS = 1_767_225_600.0
"""When a rehearsal begins: 2026-01-01T00:00:00Z, so that it is the same each time."""

PATIENCE_SECONDS = 2 * 86_400.0
"""So much virtual time after the last one came in, a record that has not ended never will: a task may take a day."""

MOST_REQUESTS = 100
"""Where so many requests are sent and no record ends, the others never will, either."""

_LOOK_SECONDS = 60.0

# Nobody waits for a commit or the membership of a group, and days pass sooner with fewer looks at them.
_ROUND_SECONDS = 60.0


def rehearse(
    settings: Settings,
    record: Record,
    rules: Sequence[Rule] = (),
    *,
    as_json: bool = True,
    epoch_seconds: float = EPOCH_SECONDS,
) -> Ending:
    """Take one record all the way, as `rehearse_all` does."""
    return rehearse_all(settings, [Arrival(record, as_json)], rules, epoch_seconds=epoch_seconds)[0]


def rehearse_all(
    settings: Settings,
    arrivals: Sequence[Arrival],
    rules: Sequence[Rule] = (),
    *,
    epoch_seconds: float = EPOCH_SECONDS,
) -> list[Ending]:
    """Take records all the way, with the simulator in the place of the service.

    Mapping, routing, batching, caching, quotas, retries and policy run as they would. Results of tasks are polled for.
    What is left to chance comes out the same each time.

    Args:
        settings: As `run` would have them.
        arrivals: What is read, and when, in the order of these times.
        rules: What the service says of some requests, instead of what the simulator would.
        epoch_seconds: The time of day at which it begins.

    Returns:
        What became of each record, in their order.

    Raises:
        StartError: a schema cannot be had from the registry.
        Exception: a fault of this program.
    """
    readings = {as_json: Reading(settings, as_json=as_json) for as_json in {one.as_json for one in arrivals}}
    written_as = {str(one.record): one.as_json for one in arrivals}
    for one in arrivals:
        readings[one.as_json].prepare(one.record)

    def intake(record: Record) -> Event:
        return readings[written_as[str(record)]].event(record)

    polled = settings.model_copy(update={"callbacks": Callbacks()})
    with _same_luck():
        return run(_rehearse(polled, arrivals, rules, epoch_seconds, intake))


@contextmanager
def _same_luck() -> Iterator[None]:
    """Throw the same dice in each rehearsal: a case that holds has to hold again."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


async def _rehearse(
    settings: Settings,
    arrivals: Sequence[Arrival],
    rules: Sequence[Rule],
    epoch_seconds: float,
    intake: Callable[[Record], Event],
) -> list[Ending]:
    clock, metrics = VirtualClock(epoch_seconds), Metrics()
    book = Book(arrivals, clock=clock, metrics=metrics)
    own = settings.moderation
    service = StandIn(
        clock,
        rules=rules,
        copies={name: one.like for name, one in own.services.items()},
        timeout_seconds=own.timeouts.total_seconds,
        heard=book.heard,
    )
    stop, source = asyncio.Event(), Arrivals(arrivals, clock)
    last_seconds = max(one.at_seconds for one in arrivals) + PATIENCE_SECONDS
    async with Judging(settings, clock=clock, metrics=metrics, transport=service) as judging:
        beside = asyncio.create_task(judging.run(watched=False))
        await judging.started.wait()
        engine = asyncio.create_task(_engine(settings, source, judging, book, intake, clock).run(stop))
        try:
            while not await _over({engine, beside}, book) and clock.monotonic() < last_seconds:
                if source.exhausted and book.requests >= MOST_REQUESTS:
                    break
            endings = book.endings(_why(judging, book.requests))
            stop.set()
            await engine
        finally:
            beside.cancel()
            await asyncio.wait({beside})
            if not beside.cancelled():
                beside.result()
    return endings


def _engine(
    settings: Settings,
    source: Arrivals,
    judging: Judging,
    book: Book,
    intake: Callable[[Record], Event],
    clock: VirtualClock,
) -> Engine:
    output, router = settings.output, Router(routes(settings))
    return Engine(
        source=source,
        guarantee=AtLeast(Nowhere(), Nowhere()),
        way=BookedWay(
            book,
            intake=intake,
            router=router,
            judge=BookedJudge(book, judging.judge),
            policy=policy(settings),
            topics={action: output.topics.get(action, output.topic) for action in ACTIONS},
            dead_letters=output.dead_letters,
            clock=clock,
        ),
        limits=replace(
            limits_without_brokers(settings, commit_interval_seconds=_ROUND_SECONDS), poll_seconds=_ROUND_SECONDS
        ),
        tally=book,
        metrics=book.metrics,
        clock=clock,
        settled=judging.settled,
        weight=router.weight,
    )


async def _over(running: Collection[asyncio.Task[None]], book: Book) -> bool:
    """Whether all records have ended, or something that should run on; after a while at the latest."""
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
