"""What packed texts save: a text that was cleared among others would have cost a call of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from consumer.verdict import Billed


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Balance"]


class Balance:
    """Keeps what calls about several cost more than they saved, until others have saved as much."""

    def __init__(self) -> None:
        self._owed: dict[tuple[str, str], tuple[int, Decimal]] = {}

    def saved(self, cleared: int, shared: Sequence[Billed]) -> list[Billed]:
        """What was saved since it last was anything.

        Args:
            cleared: how many texts were cleared without a call of their own.
            shared: what the calls about several came to, a line for each, of a unit each.
        """
        for number, line in enumerate(shared):
            units, cost = self._owed.get((line.moderation_type, line.currency), (0, Decimal(0)))
            texts = cleared if number == 0 else 0
            self._owed[line.moderation_type, line.currency] = (
                units + texts - line.units,
                cost + texts * line.cost / line.units - line.cost,
            )
        positive = {kind: owed for kind, owed in self._owed.items() if owed[0] > 0}
        for kind in positive:
            del self._owed[kind]
        return [
            Billed(moderation_type, units, cost, currency)
            for (moderation_type, currency), (units, cost) in positive.items()
        ]
