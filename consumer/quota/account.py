"""A budget in one period with those who wait for it, and the payments that are made of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from consumer.quota.periods import zone_of


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.quota.budget_notes import Book
    from consumer.quota.ledger import Ledger
    from consumer.quota.periods import Period
    from consumer.settings.saving import Budget
    from consumer.verdict import Billed


__all__ = ["Account", "Part", "Payment"]


_NOTHING: Final = Decimal(0)


@dataclass(slots=True, eq=False)
class Account:
    """One budget in one period.

    `held` counts the calls that wait for the next period, and `held_since` is when the first of them began to. While
    `writing` a note is on its way; it has arrived when `read` is set, and nothing was missed before it while the notes'
    `gaps` are still as many.
    """

    about: Budget
    book: Book
    period: Period
    ledger: Ledger
    held: int = 0
    held_since: float | None = None
    writing: bool = False
    gaps: int = 0
    read: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def until(self) -> str:
        """When the next period begins, by the budget's own clock."""
        return datetime.fromtimestamp(self.period.end, zone_of(self.about.timezone)).isoformat(timespec="minutes")

    def price(self, bills: Sequence[Billed]) -> Decimal:
        """What these count in this budget's unit."""
        unit, price = self.about.unit, _NOTHING
        for bill in bills:
            if unit == "units":
                price += bill.units
            elif bill.currency == unit:
                price += bill.cost
        return price

    def tell(self) -> None:
        """Have all that wait for a change look again."""
        if self._waiting:
            self._changed.set()
            self._changed = asyncio.Event()

    async def change(self, seconds: float) -> None:
        """Return at the next change, or after so many seconds. A cancelled wait changes nothing."""
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        finally:
            self._waiting -= 1


Part = tuple[Account, Decimal]
"""What is to be paid of one budget."""


class Payment:
    """What was set aside for one request, within the limits of some budgets and beyond those of others.

    See `consumer.moderation.calling.purse.Payment`. `spent` is told of each budget when it is known what was paid.
    """

    __slots__ = ("_beyond", "_parts", "_spent")

    def __init__(self, parts: Sequence[Part], beyond: Sequence[Part], spent: Callable[[Account], None]) -> None:
        self._parts = parts
        self._beyond = beyond
        self._spent = spent

    def settle(self, billed: Sequence[Billed] | None) -> None:
        """Say, once, what it came to; None counts as paid."""
        for account, amount in self._parts:
            actual = amount if billed is None else account.price(billed)
            account.ledger.settle(amount, actual)
            if actual < amount:
                account.tell()
            self._spent(account)
        for account, amount in self._beyond:
            if billed is not None:
                account.ledger.beyond += account.price(billed) - amount
            self._spent(account)
