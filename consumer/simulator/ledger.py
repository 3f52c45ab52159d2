"""What the simulated account is charged for: its own arithmetic, in whole millionths, so that a bill can be checked.

A text call is one unit; the advanced type counts started thousands of characters (the text page's price list). An image
call is one unit (the image page). Only answers with code 200 are billed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


__all__ = ["PRICES", "BilledCall", "Ledger", "Price", "Total"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a moderation type costs: millionths of `currency` for a unit, hundredths of a plan's call for a call."""

    millionths: int
    currency: str
    plan_hundredths: int


PRICES: dict[str, Price] = {
    "text_llm_standard": Price(2_000, "CNY", 267),
    "text_llm_advanced": Price(4_000, "CNY", 534),
    "image_standard": Price(600, "USD", 0),
}


@dataclass(slots=True)
class Total:
    """A sum of bills in one currency."""

    currency: str
    calls: int = 0
    units: int = 0
    millionths: int = 0
    plan_hundredths: int = 0

    @property
    def cost(self) -> Decimal:
        """In whole units of the currency."""
        return Decimal(self.millionths).scaleb(-6)

    @property
    def plan_units(self) -> Decimal:
        """What a resource plan loses."""
        return Decimal(self.plan_hundredths).scaleb(-2)

    def add(self, units: int, price: Price) -> None:
        """One billed call of `units` units."""
        self.calls += 1
        self.units += units
        self.millionths += units * price.millionths
        self.plan_hundredths += price.plan_hundredths

    def to_dict(self) -> dict[str, Any]:
        """For `/ledger`; amounts are decimal strings."""
        return {
            "calls": self.calls,
            "units": self.units,
            "cost": f"{self.cost:f}",
            "currency": self.currency,
            "plan_units": f"{self.plan_units:f}",
        }


@dataclass(frozen=True, slots=True)
class BilledCall:
    """One line of the bill."""

    request_id: str
    service: str
    data_id: str | None
    moderation_type: str
    units: int


class Ledger:
    """What was billed, by moderation type and by service, and what was answered free of charge.

    `lost` counts billed calls whose answer was then withheld or spoilt by a fault. `calls` lists every billed call if
    `keep_calls` asks for it (about 300 bytes each).
    """

    __slots__ = ("_keep_calls", "calls", "free", "lost", "moderation_types", "services")

    def __init__(self, *, keep_calls: bool = False) -> None:
        self._keep_calls = keep_calls
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.moderation_types: dict[str, Total] = {}
        self.services: dict[str, Total] = {}
        self.free: dict[str, Counter[str]] = {}
        self.lost = 0
        self.calls: list[BilledCall] = []

    @property
    def billed_calls(self) -> int:
        """How many calls were billed."""
        return sum(total.calls for total in self.moderation_types.values())

    @property
    def billed_units(self) -> int:
        """How many units were billed, of all moderation types together."""
        return sum(total.units for total in self.moderation_types.values())

    def bill(self, request_id: str, service: str, data_id: str | None, moderation_type: str, units: int) -> None:
        """Charge one call."""
        price = PRICES[moderation_type]
        for totals, key in ((self.moderation_types, moderation_type), (self.services, service)):
            total = totals.get(key)
            if total is None:
                total = totals[key] = Total(price.currency)
            total.add(units, price)
        if self._keep_calls:
            self.calls.append(BilledCall(request_id, service, data_id, moderation_type, units))

    def answered_free(self, service: str, code: str) -> None:
        """Count an answer that costs nothing."""
        self.free.setdefault(service, Counter())[code] += 1

    def to_dict(self) -> dict[str, Any]:
        """For `/ledger`."""
        return {
            "billed_calls": self.billed_calls,
            "billed_units": self.billed_units,
            "moderation_types": {name: total.to_dict() for name, total in sorted(self.moderation_types.items())},
            "services": {name: total.to_dict() for name, total in sorted(self.services.items())},
            "free": {service: dict(codes) for service, codes in sorted(self.free.items())},
            "lost": self.lost,
            "calls": [
                {
                    "request_id": call.request_id,
                    "service": call.service,
                    "data_id": call.data_id,
                    "moderation_type": call.moderation_type,
                    "units": call.units,
                }
                for call in self.calls
            ],
        }
