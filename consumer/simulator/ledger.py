"""What the simulated account is charged for: its own arithmetic, in whole millionths, so that a bill can be checked.

A text call is one unit; the advanced type counts started thousands of characters (the text page's price list). An image
call is one unit (the image page). A multimodal task is billed when it is submitted, on two lines: a unit for each
started thousand of all its characters, and a unit for each of its images (the multimodal page). Only answers with code
200 are billed, and 280 to a submission. Queries, callbacks, upload tokens and uploads are free. So is translation: the
pages call it an extra charge and name no price.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["PRICES", "Bill", "BilledCall", "Ledger", "Price", "Total"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a moderation type costs: millionths of `currency` a unit; and hundredths of a call that a plan loses."""

    millionths: int
    currency: str
    plan_hundredths: int


PRICES: dict[str, Price] = {
    "text_llm_standard": Price(2_000, "CNY", 267),
    "text_llm_advanced": Price(4_000, "CNY", 534),
    "text_advanced": Price(600, "USD", 200),
    "text_llm_standard_cn": Price(310, "USD", 104),
    "text_standard": Price(750, "CNY", 100),
    "image_standard": Price(600, "USD", 0),
    "image_advanced": Price(1_200, "USD", 0),
    "image_classic": Price(1_500, "CNY", 0),
    "image_vl_standard": Price(4_500, "CNY", 600),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """What an answer costs in one moderation type.

    `plan_count` is how often a plan loses its factor: once a call, as the text page says, or once a unit, as the
    multimodal page does.
    """

    moderation_type: str
    units: int
    plan_count: int = 1


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

    def add(self, bill: Bill, price: Price) -> None:
        """One line of the bill."""
        self.units += bill.units
        self.millionths += bill.units * price.millionths
        self.plan_hundredths += bill.plan_count * price.plan_hundredths

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

    `lost` counts billed calls whose answer was then withheld or spoilt by a fault. `calls` lists every line of the bill
    if `keep_calls` asks for it (about 300 bytes each); a multimodal call with images has two.
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
        return sum(total.calls for total in self.services.values())

    @property
    def billed_units(self) -> int:
        """How many units were billed, of all moderation types together."""
        return sum(total.units for total in self.moderation_types.values())

    def bill(self, request_id: str, service: str, data_id: str | None, bills: Sequence[Bill]) -> None:
        """Charge one call; its bills are all in one currency."""
        currency = PRICES[bills[0].moderation_type].currency
        of_service = self.services.setdefault(service, Total(currency))
        of_service.calls += 1
        for bill in bills:
            price = PRICES[bill.moderation_type]
            of_type = self.moderation_types.setdefault(bill.moderation_type, Total(currency))
            of_type.calls += 1
            of_type.add(bill, price)
            of_service.add(bill, price)
            if self._keep_calls:
                self.calls.append(BilledCall(request_id, service, data_id, bill.moderation_type, bill.units))

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
