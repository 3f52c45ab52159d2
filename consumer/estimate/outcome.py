"""What a replay came to, as plain data that can be added up."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from consumer.verdict import Billed


__all__ = ["Cost", "Entry", "Letters", "Outcome"]


class Entry(NamedTuple):
    """What costs are kept apart by: the minute since the epoch, the route, and the moderation type."""

    minute: int
    route: str
    moderation_type: str


@dataclass(slots=True)
class Cost:
    """What some calls came to; of a sample, counts may be fractions."""

    currency: str
    calls: float = 0.0
    units: float = 0.0
    cost: Decimal = Decimal(0)
    plan_units: Decimal = Decimal(0)

    def add(self, billed: Billed) -> None:
        """Another call's line of this kind."""
        self.calls += 1
        self.units += billed.units
        self.cost += billed.cost
        self.plan_units += billed.plan_units

    def plus(self, other: Cost, times: float = 1.0) -> None:
        """What others came to, or a multiple of it."""
        factor = Decimal(times)
        self.calls += other.calls * times
        self.units += other.units * times
        self.cost += other.cost * factor
        self.plan_units += other.plan_units * factor


@dataclass(slots=True)
class Letters:
    """Dead letters of one stage and reason: how many, and the number and the error of the first."""

    count: float
    number: int
    said: str


@dataclass(slots=True)
class Outcome:
    """What became of the counted records of a block, and what that cost.

    Attributes:
        records: How many were counted.
        skipped: How many of them had no value.
        routes: Verdicts by route.
        sources: Verdicts by where they came from.
        letters: Dead letters by stage and reason.
        held: Why all would be held for dead letters; empty where it would not.
        late: How many events were older than their route's deadline before anything was sent for them.
        costs: What was paid.
        requests: Paid requests by minute since the epoch.
        calls: All requests by operation and service.
        tokens: Tokens taken of each quota.
        seconds: How long it took.
        wait_seconds: From each record's timestamp until its verdict.
    """

    records: float = 0.0
    skipped: float = 0.0
    late: float = 0.0
    seconds: float = 0.0
    held: str = ""
    routes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    letters: dict[tuple[str, str], Letters] = field(default_factory=dict)
    costs: dict[Entry, Cost] = field(default_factory=dict)
    requests: dict[int, float] = field(default_factory=dict)
    calls: dict[tuple[str, str], float] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    wait_seconds: array[float] = field(default_factory=lambda: array("f"))

    def plus(self, other: Outcome) -> None:
        """Add what became of another block."""
        self.records += other.records
        self.skipped += other.skipped
        self.late += other.late
        self.seconds += other.seconds
        self.held = self.held or other.held
        self.routes.update(other.routes)
        self.sources.update(other.sources)
        self.wait_seconds.extend(other.wait_seconds)
        for at, letters in other.letters.items():
            self.letters.setdefault(at, Letters(0, letters.number, letters.said)).count += letters.count
        for entry, cost in other.costs.items():
            self.costs.setdefault(entry, Cost(cost.currency)).plus(cost)
        for minute, requests in other.requests.items():
            self.requests[minute] = self.requests.get(minute, 0.0) + requests
        for call, count in other.calls.items():
            self.calls[call] = self.calls.get(call, 0.0) + count
        for quota, count in other.tokens.items():
            self.tokens[quota] = self.tokens.get(quota, 0.0) + count

    @property
    def money(self) -> dict[str, Decimal]:
        """What was paid, by currency."""
        money: dict[str, Decimal] = {}
        for cost in self.costs.values():
            money[cost.currency] = money.get(cost.currency, Decimal(0)) + cost.cost
        return money

    @property
    def units(self) -> float:
        """Billed units of all moderation types."""
        return sum(cost.units for cost in self.costs.values())
