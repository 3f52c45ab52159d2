"""What is kept of a rehearsal: how each record ended, and the requests that were sent for it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from consumer.engine.claims import ClaimInFront
from consumer.engine.tally import Tally
from consumer.engine.way import Way


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.clock import Clock
    from consumer.engine.lane import Work
    from consumer.engine.ports import Claim, Judge
    from consumer.engine.way import Outcome
    from consumer.errors import RecordError
    from consumer.event import Event
    from consumer.metrics import Metrics
    from consumer.record import OutRecord, Record
    from consumer.rehearsal.arrivals import Arrival
    from consumer.rehearsal.service import Sent
    from consumer.routing import Route
    from consumer.verdict import Judgement, Verdict


__all__ = ["Book", "BookedJudge", "BookedWay", "Ending"]


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a record.

    Attributes:
        sent: What the service was asked for it, in the order in which it was. What was asked about several records
            stands with the first of them, who pays for it.
        route: The route that took it; empty where none did.
        out: What was written for it; None where nothing was.
        verdict: The verdict, where it has one.
        error: Why it is a dead letter, where it is.
        skipped: Whether it was left out: it has no value, or none that is to be judged.
        waits_for: Why it never ended; empty where it did.
        seconds: How long it took from when it came in, in virtual time.
        position: As which of all records it was written, from 1; 0 where nothing was.
    """

    sent: tuple[Sent, ...] = ()
    route: str = ""
    out: OutRecord | None = None
    verdict: Verdict | None = None
    error: RecordError | None = None
    skipped: bool = False
    waits_for: str = ""
    seconds: float = 0.0
    position: int = 0


class Book(Tally):
    """Keeps what becomes of the records that come in.

    Attributes:
        metrics: Where everything else is counted.
        ended: Set when all have ended.
        requests: How many were sent since the last record ended.
    """

    def __init__(self, arrivals: Sequence[Arrival], *, clock: Clock, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.metrics = metrics
        self.ended = asyncio.Event()
        self.requests = 0
        self._arrivals = arrivals
        self._clock = clock
        self._endings: dict[str, Ending] = {}
        self._came_at = {str(one.record): one.at_seconds for one in arrivals}
        self._sent: defaultdict[str, list[Sent]] = defaultdict(list)
        self._records: dict[Outcome, Record] = {}
        self._written = 0
        self._silent: Counter[str] = Counter()
        self._empty: defaultdict[str, deque[Record]] = defaultdict(deque)
        for one in arrivals:
            if one.record.value is None:
                self._empty[one.record.partition.topic].append(one.record)
        self._begun: list[Record] = []
        self._beginner: asyncio.Task[Any] | None = None

    def endings(self, waits_for: str) -> list[Ending]:
        """What became of each, in the order in which they were given; `waits_for` is why some never ended."""
        now = self._clock.monotonic()
        return [
            replace(
                self._endings.get(place) or Ending(waits_for=waits_for, seconds=now - self._came_at[place]),
                sent=tuple(self._sent[place]),
            )
            for place in (str(one.record) for one in self._arrivals)
        ]

    # How records end

    def walked(self, record: Record, outcome: Outcome) -> None:
        """This is to be written for the record, or nothing, where there is nothing to judge."""
        self._records[outcome] = record
        if outcome.verdict is None and outcome.error is None:
            self._silent[record.partition.topic] += 1
            self._end(record, Ending(skipped=True))

    def skipped(self, topic: str) -> None:
        """A record has nothing to judge, or no value: those without one never go their way."""
        super().skipped(topic)
        if self._silent[topic]:
            self._silent[topic] -= 1
        else:
            self._end(self._empty[topic].popleft(), Ending(skipped=True))

    def acknowledged(self, outcome: Outcome, seconds: float) -> None:
        """What became of a record was written."""
        super().acknowledged(outcome, seconds)
        self._written += 1
        ending = Ending((), outcome.route, outcome.out, outcome.verdict, outcome.error, position=self._written)
        self._end(self._records[outcome], ending)

    def _end(self, record: Record, ending: Ending) -> None:
        place = str(record)
        self._endings[place] = replace(ending, seconds=self._clock.monotonic() - self._came_at[place])
        self.requests = 0
        if len(self._endings) == len(self._arrivals):
            self.ended.set()

    # What is sent for them

    def begin(self, record: Record) -> None:
        """A request about this record is about to be sent, by the task that runs now, or is on the wire already."""
        task = asyncio.current_task()
        if task is not self._beginner:
            # A request follows its begin without a pause: what other tasks began was on the wire already.
            self._beginner, self._begun = task, []
        self._begun.append(record)

    def end(self, record: Record) -> None:
        """A request about this record was answered, or was not sent at all."""
        self._begun = [one for one in self._begun if one is not record]

    def heard(self, sent: Sent) -> None:
        """The service was asked this, by the task that runs now."""
        self.requests += 1
        begun, self._begun = self._begun, []
        if begun and asyncio.current_task() is self._beginner:
            self._sent[str(begun[0])].append(sent)


class BookedWay(Way):
    """The way of a record, with its outcome in a book."""

    def __init__(self, book: Book, **parts: Any) -> None:
        super().__init__(**parts)
        self._book = book

    async def walk(self, work: Work) -> Outcome:
        """See `Way`."""
        outcome = await super().walk(work)
        self._book.walked(work.record, outcome)
        return outcome


class BookedJudge:
    """A judge whose requests stand in a book, with the records that they are about."""

    def __init__(self, book: Book, judge: Judge) -> None:
        self._book = book
        self._judge = judge

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        """See `Judge`."""
        return await self._judge.judge(event, route, _BookedClaim(self._book, claim))


class _BookedClaim(ClaimInFront):
    """A claim that says in a book when a request is sent for it."""

    __slots__ = ("_book",)

    def __init__(self, book: Book, claim: Claim) -> None:
        super().__init__(claim)
        self._book = book

    def begin(self) -> None:
        super().begin()
        self._book.begin(self.record)

    def end(self, *, billed: bool) -> None:
        self._book.end(self.record)
        super().end(billed=billed)
