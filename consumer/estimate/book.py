"""Counts while a replay runs: every payment, and what becomes of every record."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.estimate.corpus import Given
from consumer.estimate.outcome import Cost, Entry, Letters, Outcome


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.lane import Work
    from consumer.engine.letter_limit import LetterLimit
    from consumer.engine.way import Outcome as Ending
    from consumer.errors import RecordError
    from consumer.estimate.corpus import Block
    from consumer.verdict import Billed


__all__ = ["Book", "BookedWay"]


_TELL_EVERY = 500


class _Payment:
    """What one request costs: all of them are answered, so all of them are paid."""

    __slots__ = ("_book", "_route")

    def __init__(self, book: Book, route: str) -> None:
        self._book = book
        self._route = route

    def settle(self, billed: Sequence[Billed] | None) -> None:
        if billed:
            self._book.paid(self._route, billed)


class Book(Tally):
    """Stands where the engine's tally and the client's purse are, for all engines of a replay.

    Where only a part of the block is counted, a payment counts with the event whose verdict carries it. What no verdict
    carries, such as calls that only compare, counts by that part's share of all records.
    """

    def __init__(self, block: Block, *, clock: Clock, letter_limit: LetterLimit) -> None:
        self._block = block
        self._clock = clock
        self._letter_limit = letter_limit
        self._whole = block.counted == block.stop - block.start
        self._paid: dict[Entry, Cost] = {}
        self._carried: dict[Entry, Cost] = {}
        self._counted: dict[Entry, Cost] = {}
        self._requests: Counter[int] = Counter()
        self._warm_until = self._last_at = 0.0
        self._skipped = 0
        self._routes: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._letters: dict[tuple[str, str], Letters] = {}
        self._held = ""
        self._wait_seconds = array("f")
        self._ended = 0
        self._progress = asyncio.Event()

    @property
    def left(self) -> int:
        """How many records have not ended."""
        return self._block.stop - self._block.start - self._ended

    async def progress(self) -> None:
        """Return when more records have ended: all of them, or some hundreds. When cancelled, nothing changes."""
        self._progress.clear()
        await self._progress.wait()

    def outcome(self, *, calls: Mapping[tuple[str, str], int], tokens: Mapping[str, float], late: float) -> Outcome:
        """What is counted; of `calls`, `tokens` and `late` events, which are those of the whole block, a part."""
        costs = self._costs()
        units = sum(cost.units for cost in self._paid.values())
        part = sum(cost.units for cost in costs.values()) / units if units and not self._whole else 1.0
        share = self._block.counted / (self._block.stop - self._block.start)
        return Outcome(
            records=self._block.counted,
            skipped=self._skipped * share,
            late=late * share,
            seconds=self._last_at - self._warm_until,
            held=self._held,
            routes=self._routes,
            sources=self._sources,
            letters=self._letters,
            costs=costs,
            requests={minute: count * part for minute, count in self._requests.items()},
            calls={call: count * part for call, count in calls.items()},
            tokens={quota: count * part for quota, count in tokens.items()},
            wait_seconds=self._wait_seconds,
        )

    def _costs(self) -> dict[Entry, Cost]:
        if self._whole:
            return self._paid
        counted = {entry: replace(cost) for entry, cost in self._counted.items()}
        share = self._block.counted / (self._block.stop - self._block.start)
        for costs, times in ((self._paid, share), (self._carried, -share)):
            for entry, cost in costs.items():
                # Verdicts come later than payments: what they do not carry is all put into one minute.
                beside = Entry(min(self._paid).minute, entry.route, entry.moderation_type)
                counted.setdefault(beside, Cost(cost.currency)).plus(cost, times)
        return counted

    # The purse

    async def open(self, route: str, expected: Sequence[Billed]) -> _Payment:  # noqa: ARG002  # there is no limit
        """Everything may be spent."""
        return _Payment(self, route)

    def paid(self, route: str, billed: Sequence[Billed]) -> None:
        """A request was answered, and paid for."""
        self._requests[int(self._clock.now() // 60)] += 1
        self._add(self._paid, route, billed)

    # The tally

    def read(self, topic: str, records: int) -> None:
        """They are counted when they end."""

    def skipped(self, topic: str) -> None:  # noqa: ARG002  # those of all topics are counted together
        """A record has no value."""
        self._skipped += 1
        self._end()

    def acknowledged(self, outcome: Ending, seconds: float) -> None:  # noqa: ARG002  # a record also waits unread
        """A verdict or a dead letter was written."""
        verdict = outcome.verdict
        if verdict is not None and isinstance(verdict.record, Given):
            self._letter_limit.passed()
            billed = verdict.judgement.billed if not self._whole else ()
            self._add(self._carried, verdict.route, billed)
            if self._counts(verdict.record.number):
                self._add(self._counted, verdict.route, billed)
                self._routes[verdict.route] += 1
                self._sources[verdict.judgement.source] += 1
                self._wait_seconds.append(verdict.judged_at - verdict.record.timestamp / 1000)
        self._end()

    def discarded(self, outcome: Ending) -> None:
        """No partition is taken away."""

    def refused(self, record: Given, error: RecordError) -> None:
        """A record becomes a dead letter."""
        if not self._held and self._letter_limit.failed():
            self._held = self._letter_limit.why
        if self._counts(record.number):
            at = (error.stage, error.reason)
            self._letters.setdefault(at, Letters(0, record.number, str(error))).count += 1

    def _counts(self, number: int) -> bool:
        """Whether a record that has just ended is counted."""
        if number < self._block.first:
            self._warm_until = self._clock.monotonic()
        elif number < self._block.last:
            self._last_at = self._clock.monotonic()
            return True
        return False

    def _end(self) -> None:
        self._ended += 1
        if not self.left or self._ended % _TELL_EVERY == 0:
            self._progress.set()

    def _add(self, to: dict[Entry, Cost], route: str, billed: Sequence[Billed]) -> None:
        for line in billed:
            entry = Entry(int(self._clock.now() // 60), route, line.moderation_type)
            cost = to.get(entry)
            if cost is None:
                cost = to[entry] = Cost(line.currency)
            cost.add(line)


class BookedWay(Way):
    """The way of a record, with its dead letters in a book."""

    def __init__(self, book: Book, **parts: Any) -> None:
        super().__init__(**parts)
        self._book = book

    def refuse(self, work: Work, error: RecordError, route: str = "") -> Ending:
        """See `Way`."""
        if isinstance(work.record, Given):
            self._book.refused(work.record, error)
        return super().refuse(work, error, route)
