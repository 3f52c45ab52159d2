"""The seam of what may be spent: asked before each request that costs something, and told what it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.verdict import Billed


__all__ = ["Payment", "Purse"]


class Payment(Protocol):
    """What one request may cost, set aside until it is known what it did cost."""

    def settle(self, billed: Sequence[Billed] | None) -> None:
        """Say, once, what it came to: nothing, a bill, or None where that cannot be known, which counts as paid."""
        ...


class Purse(Protocol):
    """What may be spent; `consumer.quota.budget` keeps one."""

    async def open(self, route: str, expected: Sequence[Billed]) -> Payment:
        """Set aside what a request for this route will cost. It waits while a budget says that events have to.

        When cancelled nothing is set aside.

        Raises:
            BudgetSpent: nothing may be spent for it, and it is not to wait.
        """
        ...
