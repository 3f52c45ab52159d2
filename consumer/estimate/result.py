"""An estimate as plain data, made of what replays came to: figures, tables and a series, before anybody draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from consumer.estimate.outcome import Outcome
from consumer.estimate.sampling import Figure, total
from consumer.quota.periods import period_at, zone_of


if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from consumer.estimate.outcome import Cost
    from consumer.estimate.replay import Pace
    from consumer.estimate.sampling import Sample
    from consumer.settings.saving import Budget


__all__ = ["About", "BillRow", "Estimate", "LetterRow", "RouteRow", "Saving", "Spent", "summary"]


MONTH_SECONDS = 30 * 86_400.0

# How many columns a series has at most, and how many minutes each may be.
_COLUMNS = 60
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
_LATE_SHARE = 0.99
_COLUMNS_OF_BILL = ("calls", "units", "plan_units", "cost")


@dataclass(frozen=True, slots=True)
class About:
    """What was estimated, and under which assumptions.

    Attributes:
        source: Where the records came from.
        records: How many there are.
        begins_at: The time of the first of them, in seconds since the epoch; None where they have no times.
        ends_at: The time of the last of them.
        pace: Whether they were replayed in their own time.
        replicas: By how many replicas.
        risk: Which share of texts was found risky.
        rates: How many tokens a second each quota gives for long.
        sample: How the sample was taken; None where all records were replayed.
    """

    source: str
    records: int
    begins_at: float | None
    ends_at: float | None
    pace: Pace
    replicas: int
    risk: float
    rates: Mapping[str, float]
    sample: Sample | None = None

    @property
    def span_seconds(self) -> float:
        """From the first record to the last."""
        return 0.0 if self.begins_at is None or self.ends_at is None else self.ends_at - self.begins_at


@dataclass(frozen=True, slots=True)
class BillRow:
    """What is billed in one moderation type."""

    moderation_type: str
    currency: str
    calls: Figure
    units: Figure
    plan_units: Figure
    cost: Figure


@dataclass(frozen=True, slots=True)
class RouteRow:
    """What one route's events come to; its cost by currency."""

    route: str
    events: Figure
    units: Figure
    cost: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class LetterRow:
    """Dead letters that would come, by stage and reason, with the place and the error of the first."""

    stage: str
    reason: str
    count: Figure
    place: str
    said: str


@dataclass(frozen=True, slots=True)
class Saving:
    """What the same records would come to under other settings."""

    name: str
    units: Figure
    cost: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Spent:
    """A budget that would be spent, and in which minute: since the epoch, and after the first payment, in seconds."""

    budget: str
    at: float
    after_seconds: float
    when_spent: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """All that is said of some records.

    Attributes:
        about: What was estimated.
        bill: What is billed, by moderation type.
        cost: What that costs, by currency.
        units: Billed units of all types.
        events: Events with a verdict.
        skipped: Records without a value.
        sources: Which share of the verdicts comes from where: the service, memory, a thread's call.
        calls: All requests, by operation and service; those for results have no service.
        requests: Requests that are paid.
        busiest_minute: The most of them in a minute.
        seconds: How long it takes: with all at once, under the quota.
        tokens: The tokens that it takes of each quota.
        wait_seconds: From a record's timestamp to its verdict: the median, and what 99 % of them do not exceed.
        series: What was paid from each time on until the next, by currency; empty for a sample.
    """

    about: About
    bill: Sequence[BillRow]
    cost: Mapping[str, Figure]
    units: Figure
    events: Figure
    skipped: Figure
    late: Figure
    sources: Mapping[str, float]
    routes: Sequence[RouteRow]
    calls: Mapping[tuple[str, str], Figure]
    requests: Figure
    busiest_minute: float
    seconds: Figure
    tokens: Mapping[str, Figure]
    wait_seconds: tuple[float, float]
    letters: Sequence[LetterRow]
    held: str
    spent: Sequence[Spent]
    series: Sequence[tuple[float, Mapping[str, float]]]
    savings: Sequence[Saving] = field(default=())

    @property
    def requests_a_minute(self) -> float:
        """How many requests are paid in a minute, on average."""
        seconds = self.about.span_seconds if self.about.pace == "recorded" else self.seconds.value
        return self.requests.value / max(seconds, 1.0) * 60

    @property
    def used(self) -> Mapping[str, float]:
        """Which part of each quota is used, on average."""
        seconds = self.about.span_seconds if self.about.pace == "recorded" else self.seconds.value
        return {
            quota: tokens.value / max(seconds, 1.0) / self.about.rates[quota] for quota, tokens in self.tokens.items()
        }

    @property
    def month(self) -> Mapping[str, Figure]:
        """What 30 days cost at the rate of these records; empty where they were not replayed in their own time."""
        span = self.about.span_seconds
        if self.about.pace != "recorded" or not span:
            return {}
        return {currency: cost.times(MONTH_SECONDS / span) for currency, cost in self.cost.items()}


class _Blocks:
    """What was counted of some blocks, and what follows for all records."""

    def __init__(self, outcomes: Sequence[Outcome], records: int) -> None:
        self._outcomes = outcomes
        self._sizes = [outcome.records for outcome in outcomes]
        self._records = records

    def all(self, of: Callable[[Outcome], float]) -> Figure:
        """A figure of all records, from what it is in each block."""
        return total([of(outcome) for outcome in self._outcomes], self._sizes, self._records)

    def plain(self, name: str) -> Figure:
        """A number of the outcomes."""
        return self.all(lambda one: float(getattr(one, name)))

    def sum(self, name: str) -> Figure:
        """All entries of a mapping of the outcomes."""
        return self.all(lambda one: float(sum(getattr(one, name).values())))

    def entry(self, name: str, key: Hashable) -> Figure:
        """One entry of a mapping of the outcomes."""
        return self.all(lambda one: float(getattr(one, name).get(key, 0.0)))

    def letters(self, at: tuple[str, str]) -> Figure:
        """Dead letters of one stage and reason."""
        return self.all(lambda one: one.letters[at].count if at in one.letters else 0.0)

    def bill(self, what: str, **of: str) -> Figure:
        """One column of the bill, of all that is paid or of one route, moderation type or currency."""
        return self.all(lambda one: sum(float(getattr(cost, what)) for cost in _matching(one, of)))

    def cost(self, **of: str) -> dict[str, Figure]:
        """The cost by currency, of all that is paid or of one route."""
        currencies = {cost.currency for one in self._outcomes for cost in _matching(one, of)}
        return {currency: self.bill("cost", currency=currency, **of) for currency in sorted(currencies)}


def _matching(outcome: Outcome, of: Mapping[str, str]) -> Iterator[Cost]:
    for at, cost in outcome.costs.items():
        named = {"route": at.route, "moderation_type": at.moderation_type, "currency": cost.currency}
        if all(named[name] == value for name, value in of.items()):
            yield cost


def summary(
    about: About,
    outcomes: Sequence[Outcome],
    *,
    place_of: Callable[[int], str],
    budgets: Sequence[Budget] = (),
    savings: Sequence[tuple[str, Sequence[Outcome]]] = (),
) -> Estimate:
    """What replays of some blocks say of all records.

    Args:
        about: What was estimated.
        outcomes: What each block came to.
        place_of: What people call the record of a number.
        budgets: What may be spent.
        savings: What each block came to under other settings, with their name.
    """
    whole = Outcome()
    for outcome in outcomes:
        whole.plus(outcome)
    blocks = _Blocks(outcomes, about.records)
    verdicts = sum(whole.routes.values())
    waits = sorted(whole.wait_seconds)
    kinds = sorted({(at.moderation_type, cost.currency) for at, cost in whole.costs.items()})
    letters = sorted(whole.letters.items(), key=lambda item: (-item[1].count, item[0]))
    return Estimate(
        about=about,
        bill=[
            BillRow(kind, currency, *(blocks.bill(what, moderation_type=kind) for what in _COLUMNS_OF_BILL))
            for kind, currency in kinds
        ],
        cost=blocks.cost(),
        units=blocks.plain("units"),
        events=blocks.sum("routes"),
        skipped=blocks.plain("skipped"),
        late=blocks.plain("late"),
        sources={source: count / verdicts for source, count in whole.sources.most_common()},
        routes=[
            RouteRow(route, blocks.entry("routes", route), blocks.bill("units", route=route), blocks.cost(route=route))
            for route, _ in whole.routes.most_common()
        ],
        calls={call: blocks.entry("calls", call) for call in sorted(whole.calls)},
        requests=blocks.sum("requests"),
        busiest_minute=max(whole.requests.values(), default=0.0),
        seconds=blocks.plain("seconds"),
        tokens={quota: blocks.entry("tokens", quota) for quota in sorted(whole.tokens)},
        wait_seconds=(waits[len(waits) // 2], waits[int(len(waits) * _LATE_SHARE)]) if waits else (0.0, 0.0),
        letters=[LetterRow(*at, blocks.letters(at), place_of(found.number), found.said) for at, found in letters],
        held=whole.held,
        spent=[] if about.sample else [spent for budget in budgets for spent in _spent(budget, whole)],
        series=[] if about.sample or about.pace != "recorded" else _series(whole),
        savings=[_saving(name, _Blocks(those, about.records)) for name, those in savings],
    )


def _saving(name: str, blocks: _Blocks) -> Saving:
    return Saving(name, blocks.plain("units"), blocks.cost())


def _spent(budget: Budget, whole: Outcome) -> list[Spent]:
    """When a budget would first be spent; nothing where it would not."""
    zone = zone_of(budget.timezone)
    spent: dict[float, Decimal] = {}
    for at, cost in sorted(whole.costs.items()):
        if budget.routes and at.route not in budget.routes:
            continue
        if budget.unit not in {"units", cost.currency}:
            continue
        start = period_at(budget.period, zone, at.minute * 60.0).start
        spent[start] = spent.get(start, Decimal(0)) + (Decimal(cost.units) if budget.unit == "units" else cost.cost)
        if spent[start] > budget.limit:
            after_seconds = (at.minute + 1 - min(whole.costs).minute) * 60.0
            return [Spent(budget.name, at.minute * 60.0, after_seconds, budget.when_spent)]
    return []


def _series(whole: Outcome) -> list[tuple[float, Mapping[str, float]]]:
    """What was paid over time, in at most 60 columns of equal length."""
    if not whole.costs:
        return []
    first, last = min(whole.costs).minute, max(whole.costs).minute
    days = -(-(last - first + 1) // (_COLUMNS * _WIDTHS[-1]))
    width = next((one for one in _WIDTHS if (last // one - first // one) < _COLUMNS), days * _WIDTHS[-1])
    columns: dict[int, dict[str, float]] = {at: {} for at in range(first // width, last // width + 1)}
    for entry, cost in whole.costs.items():
        column = columns[entry.minute // width]
        column[cost.currency] = column.get(cost.currency, 0.0) + float(cost.cost)
    return [(at * width * 60.0, column) for at, column in columns.items()]
