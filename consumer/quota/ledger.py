"""One budget in one period as one process sees it: what all have set aside, and what it has used of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["THRESHOLDS", "Ledger", "Slice"]


THRESHOLDS: Final = (50, 80, 100)
"""At which shares of the limit, in percent, a person is told."""

# The rate is that of the last second or more.
_RATE_SECONDS: Final = 1.0
# A process that took nothing for so long keeps nothing from the others, where the budget is nearly spent.
_IDLE_SECONDS: Final = 10.0
_NEARLY: Final = 50
# Of what is left no more than this part is set aside at a time, so that all replicas get at the last of it.
_PART: Final = 4
# What was spent beyond a limit is only shown, and need not be written at once.
_SHOW_SECONDS: Final = 10.0
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one process says of a budget in a period, for the `number`th time.

    `set_aside` is how far it may have used the budget; `beyond` was spent beyond the limit, as samples; `said` is the
    highest threshold that it has told people of.
    """

    number: int
    set_aside: Decimal
    beyond: Decimal = _NOTHING
    said: int = 0


class Ledger:
    """What may be taken of a budget, and what was.

    Every process writes into one log how much it has set aside, before it uses it. What it wrote counts for it when it
    reads its own record: everybody reads the same order, so at that record it knows what all the others have set aside,
    and what goes over the limit it may not use. So what all may use is never more than the limit: it grows only with a
    record at which the sum of what was set aside is within it, and nobody may use more than is set aside. Whoever reads
    later sees at least that.

    Args:
        limit: How much may be spent.
        others: What the other processes say, by their ids; kept up to date by `hear`.
        reserve_seconds: For how long ahead something is set aside.
        alone: Whether there are no others and nothing is written, so that all of the limit may be used.
    """

    def __init__(
        self, limit: Decimal, others: Mapping[str, Slice], *, reserve_seconds: float, now: float, alone: bool
    ) -> None:
        self.limit = limit
        self.used = _NOTHING
        """What was paid, or may have been."""
        self.reserved = _NOTHING
        """What calls may cost of which that is not known yet."""
        self.free = limit if alone else _NOTHING
        """What may be used besides."""
        self.beyond = self.written_beyond = _NOTHING
        """What was spent beyond the limit, as samples."""
        self.waiting = _NOTHING
        """What calls need that wait for more to be set aside."""
        self.low = _NOTHING
        """When no more than this is free, more is set aside."""
        self.said = 0
        self.number = 0
        self.written = _NOTHING
        self.stale = False
        """Whether what was written last has to be written again."""
        self._reserve_seconds = reserve_seconds
        self._price = self._taken = self._marked = _NOTHING
        self._marked_at = self._busy_at = self._wrote_at = now
        self._rate = 0.0
        self._others: dict[str, Slice] = {}
        self._set_aside = self._others_beyond = _NOTHING
        self._next_at = _NOTHING
        for owner, one in others.items():
            self.hear(owner, one)
        self._look_ahead()

    # What may be taken

    @property
    def room(self) -> Decimal:
        """What may still be taken, or set aside first: nothing, or less, when the budget is spent."""
        return self.limit - self._set_aside - self.used - self.reserved

    @property
    def spent(self) -> Decimal:
        """What is spent by all, within the limit and beyond it; what others have set aside counts as spent."""
        return self._set_aside + self.used + self._others_beyond + self.beyond

    @property
    def all_beyond(self) -> Decimal:
        """What all have spent beyond the limit, as samples."""
        return self._others_beyond + self.beyond

    @property
    def passing(self) -> bool:
        """Whether a threshold was passed that nobody has told of."""
        return self.spent >= self._next_at

    def take(self, amount: Decimal) -> None:
        """Set the price of a call apart from what is free."""
        self.free -= amount
        self.reserved += amount
        self._taken += amount
        self._price = amount

    def wait(self, amount: Decimal) -> None:
        """A call waits for so much to be set aside for it; a negative amount ends its wait."""
        self.waiting += amount
        self._price = abs(amount)

    def settle(self, expected: Decimal, actual: Decimal) -> None:
        """A call has cost this, for which `expected` was taken."""
        self.reserved -= expected
        self.used += actual
        self.free += expected - actual

    def passed(self, *, all_of_it: bool = False) -> list[int]:
        """The thresholds that were passed, or all, and that nobody has told of; they count as told from now on."""
        passed = [
            percent
            for percent in THRESHOLDS
            if percent > self.said and (all_of_it or self.spent * 100 >= self.limit * percent)
        ]
        if passed:
            self.said = passed[-1]
            self.stale = True
            self._look_ahead()
        return passed

    # What is written, and what is read

    def to_write(self, now: float) -> Decimal | None:
        """How much to set aside in all, as a new record; None while the last one will do. `now` is monotonic."""
        committed = self.used + self.reserved
        granted = committed + self.free
        room = self.limit - self._set_aside
        need = committed + self.waiting
        ahead = self._ahead(now, room - need)
        self.low = ahead / 2
        top = max(committed, min(need + ahead, room))
        # Where the others leave no room for what was written already, to write it again would change nothing.
        if top > granted and self.free - self.waiting <= self.low and (top != self.written or top <= room):
            return top
        # What is too much goes back: to the others' use, or to nobody's loss when this process is killed.
        spare = self.written - top
        if spare > 0 and self.written > granted:
            return top
        if now - self._wrote_at >= _RATE_SECONDS and spare > (2 * max(ahead, self._price) if ahead else 0):
            return top
        shown = self.beyond == self.written_beyond or now - self._wrote_at < _SHOW_SECONDS
        return None if shown and not self.stale else self.written

    def write(self, set_aside: Decimal, now: float) -> Slice:
        """The record that says so. What is less than before may not be used from now on."""
        self._wrote_at = now
        self.free -= max(_NOTHING, self.used + self.reserved + self.free - set_aside)
        self.written, self.written_beyond = set_aside, self.beyond
        self.stale = False
        self.number += 1
        return Slice(self.number, set_aside, self.beyond, self.said)

    def read_back(self, *, sure: bool) -> None:
        """What was written last has been read, after all that is before it in the log; `sure` says that it is all."""
        if sure:
            committed = self.used + self.reserved
            granted = min(self.written, self.limit - self._set_aside)
            self.free = max(self.free, granted - committed)
        else:
            self.stale = True

    def hear(self, owner: str, said: Slice | None) -> None:
        """Another process says this; None when its record was deleted."""
        before = self._others.pop(owner, None)
        if before is not None:
            self._set_aside -= before.set_aside
            self._others_beyond -= before.beyond
        if said is not None:
            self._others[owner] = said
            self._set_aside += said.set_aside
            self._others_beyond += said.beyond
            if said.said > self.said:
                self.said = said.said
                self._look_ahead()

    def _look_ahead(self) -> None:
        left = [percent for percent in THRESHOLDS if percent > self.said]
        self._next_at = self.limit * left[0] / 100 if left else Decimal("Infinity")

    def _ahead(self, now: float, left: Decimal) -> Decimal:
        """What to set aside beyond what is needed now: some seconds' worth, in whole calls, and less near the end."""
        elapsed = now - self._marked_at
        recent = float(self._taken - self._marked)
        if recent:
            self._busy_at = now
        self._rate = recent / elapsed if elapsed >= _RATE_SECONDS else max(self._rate, recent / _RATE_SECONDS)
        if elapsed >= _RATE_SECONDS:
            self._marked, self._marked_at = self._taken, now
        price = self._price
        if not price or left < price:
            return _NOTHING
        if now - self._busy_at > _IDLE_SECONDS and (self.room + self.used + self.reserved - self.written) * _NEARLY < (
            self.limit
        ):
            return _NOTHING
        calls = math.ceil(self._rate * self._reserve_seconds / float(price))
        return price * max(1, min(calls, int(left / price / _PART)))
