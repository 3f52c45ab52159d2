"""The sums of a demonstration, and whether they add up: pure arithmetic, and the words for what does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Amount", "Bills", "Counts", "Sums"]


_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """Billed units of one moderation type, and what they cost."""

    units: int
    cost: Decimal

    def __str__(self) -> str:
        return f"{self.units} units for {self.cost:.6f}"


@dataclass(frozen=True, slots=True)
class Bills:
    """The same bill, by moderation type, from three books: the service's own, the verdicts, and the metrics."""

    ledger: Mapping[str, Amount] = field(default_factory=dict)
    verdicts: Mapping[str, Amount] = field(default_factory=dict)
    metrics: Mapping[str, Amount] = field(default_factory=dict)

    @property
    def moderation_types(self) -> list[str]:
        """Every type that any of the books names."""
        return sorted({*self.ledger, *self.verdicts, *self.metrics})


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records became what."""

    verdicts: int = 0
    dead_letters: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.verdicts + self.dead_letters + self.skipped

    def __str__(self) -> str:
        return f"{self.verdicts} verdicts + {self.dead_letters} dead letters + {self.skipped} skipped"


@dataclass(frozen=True, slots=True)
class Sums:
    """What went in, what came out, and what each side counted.

    Attributes:
        events_in: records that the broker has acknowledged to the producer.
        read_back: what a plain consumer found in the output topics; `skipped` is what the metrics count.
        counted: what the metrics count.
        committed: the records below the committed offsets of all partitions.
        missing: records without a verdict or a dead letter, as `topic/partition@offset`.
        twice: records with more than one.
        unknown: verdicts and dead letters of records that were never produced.
        wrong: what became something else than it should, with both said.
        lost: those of `missing` that lie below a committed offset, and so would never be judged.
        bills: the billed units, from three books.
        cut_short: whether the consumer was stopped before the topic was empty, so that some may be missing.
    """

    events_in: int
    read_back: Counts
    counted: Counts
    committed: int
    missing: Sequence[str] = ()
    twice: Sequence[str] = ()
    unknown: Sequence[str] = ()
    wrong: Sequence[str] = ()
    lost: Sequence[str] = ()
    bills: Bills = field(default_factory=Bills)
    cut_short: bool = False

    @property
    def left(self) -> int:
        """Records that are still to be judged, where the demonstration was cut short; else none may be."""
        return self.events_in - self.read_back.total if self.cut_short else 0

    @property
    def exit_code(self) -> int:
        """What the process says of them: 0 if all add up, else 1."""
        return 1 if self.problems() else 0

    def problems(self) -> list[str]:
        """One sentence for each sum that does not add up; empty when all do."""
        return [*self._flow_problems(), *self._bill_problems()]

    def _flow_problems(self) -> list[str]:
        found: list[str] = []
        if self.events_in != self.read_back.total + self.left or self.left < 0:
            found.append(f"{self.events_in} events in, but {self.read_back} = {self.read_back.total} out")
        if self.missing and not self.cut_short:
            found.append(f"{len(self.missing)} events have neither a verdict nor a dead letter: {_some(self.missing)}")
        if self.lost:
            found.append(
                f"{len(self.lost)} events have no answer and lie below the committed offset: {_some(self.lost)}"
            )
        if self.twice:
            found.append(f"{len(self.twice)} events were answered twice: {_some(self.twice)}")
        if self.unknown:
            found.append(f"{len(self.unknown)} answers are to events that were never sent: {_some(self.unknown)}")
        if self.wrong:
            found.append(f"{len(self.wrong)} events became something else than they should: {_some(self.wrong)}")
        if self.counted != self.read_back:
            found.append(f"the metrics count {self.counted}, but the topics hold {self.read_back}")
        if self.committed != self.events_in and not self.cut_short:
            found.append(f"offsets are committed for {self.committed} of {self.events_in} events")
        return found

    def _bill_problems(self) -> list[str]:
        found: list[str] = []
        nothing = Amount(0, Decimal(0))
        for name in self.bills.moderation_types:
            ledger = self.bills.ledger.get(name, nothing)
            for book, amounts in (("verdicts", self.bills.verdicts), ("metrics", self.bills.metrics)):
                amount = amounts.get(name, nothing)
                if amount != ledger:
                    found.append(f"the service billed {ledger} of {name}, but the {book} say {amount}")
        return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
