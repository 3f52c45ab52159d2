"""What was not paid: counted at the same prices as the bill, by what saved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.meters import Counter
    from consumer.metrics import Metrics
    from consumer.verdict import Billed


__all__ = ["How", "Savings"]


How = Literal["cache", "joined", "packed", "thread"]


class Savings:
    """Counts what calls would have cost that were not made."""

    def __init__(self, metrics: Metrics) -> None:
        self._units = metrics.counter("saved_units")
        self._cost = metrics.counter("saved_cost")
        self._children: dict[tuple[str, str, str], tuple[Counter, Counter]] = {}

    def add(self, how: How, bills: Iterable[Billed]) -> None:
        """So much was not paid, since it was done in this way."""
        for one in bills:
            key = (how, one.moderation_type, one.currency)
            found = self._children.get(key)
            if found is None:
                children = self._units.labels(how, one.moderation_type), self._cost.labels(*key)
                found = self._children[key] = children
            found[0].inc(one.units)
            found[1].inc(float(one.cost))
