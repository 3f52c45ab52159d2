"""What was sent and what became of it, matched record by record. Pure: it is told both sides, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.demo.generator import Expectation
    from consumer.record import Partition


__all__ = ["Answer", "Journal", "Place"]


class Place(NamedTuple):
    """One record of the input topic."""

    partition: Partition
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read back for one record: `detail` is a verdict's risk level or a dead letter's stage."""

    dead_letter: bool
    detail: str

    def __str__(self) -> str:
        return f"a dead letter of stage {self.detail}" if self.dead_letter else f"a verdict with risk {self.detail}"


class _Done:
    """Offsets of one partition that have their answer: all below a watermark, and a few above it."""

    __slots__ = ("_above", "_below")

    def __init__(self) -> None:
        self._below = 0
        self._above: set[int] = set()

    def __contains__(self, offset: int) -> bool:
        return offset < self._below or offset in self._above

    def add(self, offset: int) -> None:
        """This one has its answer."""
        self._above.add(offset)
        while self._below in self._above:
            self._above.remove(self._below)
            self._below += 1


class Journal:
    """Every record that was sent, until it has its answer; then only that it was right.

    A verdict can be read back before the producer has been told that its event was written; it waits for that. Memory
    does not grow with time, only with what is unanswered or wrong.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.tombstones = 0
        self.verdicts = 0
        self.dead_letters = 0
        self.twice: list[str] = []
        self.wrong: list[str] = []
        self._open: dict[Place, Expectation] = {}
        self._early: dict[Place, Answer] = {}
        self._done: dict[Partition, _Done] = {}
        self._partitions: set[Partition] = set()

    def fed(self, place: Place, expectation: Expectation) -> None:
        """The broker has this record."""
        self.sent += 1
        self._partitions.add(place.partition)
        early = self._early.pop(place, None)
        if expectation.outcome == "skipped":
            self.tombstones += 1
            self._finish(place)
            if early is not None:
                self.wrong.append(f"{place} became {early} instead of nothing")
        elif early is not None:
            self._settle(place, expectation, early)
        else:
            self._open[place] = expectation

    def answered(self, place: Place, answer: Answer) -> None:
        """A verdict or a dead letter was read back."""
        if answer.dead_letter:
            self.dead_letters += 1
        else:
            self.verdicts += 1
        expectation = self._open.pop(place, None)
        if expectation is not None:
            self._settle(place, expectation, answer)
        elif place in self._early or self._is_done(place):
            self.twice.append(str(place))
        else:
            self._early[place] = answer

    def _settle(self, place: Place, expectation: Expectation, answer: Answer) -> None:
        self._finish(place)
        right = (
            Answer(dead_letter=True, detail=expectation.stage)
            if expectation.outcome == "dead_letter"
            else Answer(dead_letter=False, detail=expectation.risk_level)
        )
        if answer != right:
            self.wrong.append(f"{place} became {answer} instead of {right}")

    def _finish(self, place: Place) -> None:
        self._done.setdefault(place.partition, _Done()).add(place.offset)

    def _is_done(self, place: Place) -> bool:
        done = self._done.get(place.partition)
        return done is not None and place.offset in done

    @property
    def answers(self) -> int:
        """Verdicts and dead letters that were read back."""
        return self.verdicts + self.dead_letters

    @property
    def unanswered(self) -> int:
        """Records that still want a verdict or a dead letter."""
        return len(self._open)

    @property
    def missing(self) -> list[str]:
        """The unanswered records."""
        return [str(place) for place in sorted(self._open)]

    @property
    def unknown(self) -> list[str]:
        """Records that have an answer and were never sent, as far as is known."""
        return [str(place) for place in sorted(self._early)]

    def below(self, committed: Mapping[Partition, int]) -> list[str]:
        """The unanswered records below these offsets: they would never be judged."""
        return [str(place) for place in sorted(self._open) if place.offset < committed.get(place.partition, 0)]

    @property
    def partitions(self) -> frozenset[Partition]:
        """Where records were sent to."""
        return frozenset(self._partitions)
