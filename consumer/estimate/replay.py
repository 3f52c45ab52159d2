"""Records through the whole program in virtual time: mapping, routing, batching, caching and quotas, but no call."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from consumer.building import hand_out, policy, routes
from consumer.engine.engine import Engine
from consumer.engine.letter_limit import LetterLimit
from consumer.engine.limits import AtLeast
from consumer.errors import Stuck
from consumer.estimate.book import Book, BookedWay
from consumer.estimate.feed import Feed, Nowhere, limits_without_brokers
from consumer.estimate.recollecting import teach
from consumer.estimate.replicas import divided
from consumer.estimate.service import ImaginedService
from consumer.estimate.virtual import VirtualClock, run
from consumer.intake import Intake
from consumer.intake.formats import formats_of_json
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.routing import Router
from consumer.verdict import ACTIONS


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.clock import Clock
    from consumer.estimate.corpus import Block, Corpus
    from consumer.estimate.outcome import Outcome
    from consumer.estimate.recollecting import Recollection
    from consumer.settings import Settings


__all__ = ["Pace", "World", "replay"]


Pace = Literal["backlog", "recorded"]

# How often tasks that are done are forgotten: a commit is of no other use here.
_COMMIT_SECONDS = 5.0
# Of the time until a task is first asked for: its result is there then.
_TASK_PART = 2 / 3
# A task may take a day. What takes longer never ends.
_PATIENCE_SECONDS = 3 * 86_400.0


@dataclass(frozen=True, slots=True)
class World:
    """How records are replayed: in their own time or all at once, by how many replicas, and with which share of risk.

    `evidence` is what was measured of packed texts before, as `consumer.moderation.shadow.Evidence` has it.
    """

    pace: Pace = "backlog"
    replicas: int = 1
    risk: float = 0.02
    evidence: bytes | None = None


def replay(
    corpus: Corpus,
    block: Block,
    settings: Settings,
    world: World,
    *,
    known: Sequence[Recollection] = (),
    tell: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Replay a block of records in virtual time.

    Args:
        corpus: The records.
        block: Which of them.
        settings: As they are configured.
        world: How they are replayed.
        known: What is known already when it begins.
        tell: Called now and then with how many more are done.

    Raises:
        Stuck: some records never end.
        Exception: a fault of this program.
    """
    return run(_replay(corpus, block, settings, world, known, tell))


async def _replay(
    corpus: Corpus,
    block: Block,
    settings: Settings,
    world: World,
    known: Sequence[Recollection],
    tell: Callable[[int], None],
) -> Outcome:
    dated = world.pace == "recorded"
    first, last = corpus.times(block.start, block.stop)
    # A backlog is judged after the last of it was written.
    clock = VirtualClock(max(0, first if dated else last) / 1000)
    letters = settings.dead_letters
    book = Book(
        block,
        clock=clock,
        letter_limit=LetterLimit(letters.max_in_a_row, letters.max_share, letters.share_of),
    )
    task_seconds = settings.tasks.first_poll_seconds * _TASK_PART
    service = ImaginedService(clock, risk=world.risk, task_seconds=task_seconds)
    metrics = Metrics()
    stop = asyncio.Event()
    feeds: list[Feed] = []
    async with AsyncExitStack() as stack:
        beside = await stack.enter_async_context(asyncio.TaskGroup())
        running: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as engines:
            given = divided(settings, corpus.lanes(block.start, block.stop), world.replicas)
            for replica, (lanes, tokens) in enumerate(given):
                judging = Judging(
                    settings,
                    clock=clock,
                    metrics=metrics,
                    transport=service,
                    purse=book,
                    evidence=_Evidence(world.evidence),
                )
                await stack.enter_async_context(judging)
                hand_out(judging.buckets, tokens)
                teach(judging.known, replica, known)
                running.append(beside.create_task(judging.run(watched=False)))
                await judging.started.wait()
                feed = Feed(corpus, lanes, clock=clock, dated=dated)
                feeds.append(feed)
                engines.create_task(_engine(settings, feed, judging, book, metrics, clock).run(stop))
            await _ended(book, feeds, tell)
            stop.set()
        for task in running:
            task.cancel()
    return book.outcome(
        calls=service.calls,
        tokens={quota: used for (quota,), used in metrics.totals("quota_used").items()},
        late=sum(metrics.totals("late_events").values()),
    )


async def _ended(book: Book, feeds: Collection[Feed], tell: Callable[[int], None]) -> None:
    """Return when all records have ended."""
    left = book.left
    while left:
        still = False
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await book.progress()
        except TimeoutError:
            still = True
        if still and book.left == left and all(feed.exhausted for feed in feeds):
            raise Stuck(f"{left} records would never end; please report it with the configuration")
        tell(left - book.left)
        left = book.left


class _Evidence:
    """What was measured of packed texts; each replica has its own, as if it were only just starting."""

    def __init__(self, record: bytes | None) -> None:
        self._record = record

    def load(self) -> bytes | None:
        return self._record

    async def save(self, record: bytes) -> None:
        self._record = record


def _engine(settings: Settings, feed: Feed, judging: Judging, book: Book, metrics: Metrics, clock: Clock) -> Engine:
    router = Router(routes(settings))
    output = settings.output
    return Engine(
        source=feed,
        guarantee=AtLeast(Nowhere(), Nowhere()),
        way=BookedWay(
            book,
            intake=Intake(
                settings.mapping, formats=formats_of_json(settings.format, clock=clock, metrics=metrics)
            ).event,
            router=router,
            judge=judging.judge,
            policy=policy(settings),
            topics=dict.fromkeys(ACTIONS, output.topic),
            dead_letters=output.dead_letters,
            clock=clock,
        ),
        limits=limits_without_brokers(settings, commit_interval_seconds=_COMMIT_SECONDS),
        tally=book,
        metrics=metrics,
        clock=clock,
        settled=judging.settled,
        weight=router.weight,
    )
