"""What was spent this hour, day and month, by all processes of the group, and what it comes to at this rate."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from consumer.errors import Stuck
from consumer.quota.periods import LONGEST_SECONDS, Kind, period_at


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.quota.notes import Key, Notes


__all__ = ["Spending"]


_log = structlog.get_logger(__name__)

_KIND: Final = "spent"
_VERSION: Final = 1
_KINDS: Final[tuple[Kind, ...]] = ("hour", "day", "month")
_FORECAST: Final[tuple[Kind, ...]] = ("day", "month")

_LOOK_SECONDS: Final = 1.0
_WRITE_SECONDS: Final = 30.0
_SWEEP_SECONDS: Final = 600.0
_KEPT_SECONDS: Final = 24 * 3600.0

# The rate is that of the last hour, in slots; the oldest one counts in part.
_SLOT_SECONDS: Final = 300.0
_RATE_SECONDS: Final = 3600.0
_LEAST_SECONDS: Final = 10.0
# Counters are sums of floats: what is behind this many digits is not money.
_DIGITS: Final = 9


def _nothing() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class _Sum:
    """What was spent in one period: cost by currency, and units by moderation type."""

    start: float
    cost: defaultdict[str, float] = field(default_factory=_nothing)
    units: defaultdict[str, float] = field(default_factory=_nothing)

    def add(self, other: _Sum) -> None:
        """Count what was spent by another process in the same period."""
        for mine, theirs in ((self.cost, other.cost), (self.units, other.units)):
            for name, value in theirs.items():
                mine[name] += value


@dataclass(slots=True)
class _Book:
    """What one process has spent: in its hour, day and month, and by slots of the last hour. `since` is its start."""

    since: float
    sums: dict[Kind, _Sum]
    slots: dict[int, defaultdict[str, float]] = field(default_factory=dict)


class Spending:
    """Reads the metrics' counters of the bill now and then, so that it is in the way of no call.

    With `notes` it knows what all processes that share them have spent, and what was spent before they started: to the
    last half minute of a process that was killed. Keep `run` in a task, and `close` at the end.

    Args:
        metrics: Where the bill is counted, and what was spent is shown.
        zone: Whose clock says when days begin.
    """

    def __init__(
        self, *, clock: Clock, metrics: Metrics, zone: tzinfo, notes: Notes | None = None, stop_seconds: float = 2.0
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._zone = zone
        self._notes = notes
        self._stop_seconds = stop_seconds
        self._owner = secrets.token_hex(8)
        self._seen_cost = metrics.totals("billed_cost")
        self._seen_units = metrics.totals("billed_units")
        now = clock.now()
        self._own = _Book(now, {kind: _Sum(period_at(kind, zone, now).start) for kind in _KINDS})
        self._others: dict[Key, _Book] = {}
        self._changed = False
        self._wrote_at = self._swept_at = clock.monotonic()
        self._writing = False
        self._spent = metrics.gauge("spent_cost")
        self._forecast = metrics.gauge("forecast_cost")
        if notes is not None:
            notes.follow(_KIND, self._hear)

    async def run(self) -> None:
        """Keep books until cancelled.

        Raises:
            Stuck: they cannot be written.
        """
        async with asyncio.TaskGroup() as writes:
            while True:
                self._look()
                self._show()
                now = self._clock.monotonic()
                if self._notes is not None:
                    if self._changed and not self._writing and now - self._wrote_at >= _WRITE_SECONDS:
                        self._wrote_at = now
                        writes.create_task(self._write(self._notes))
                    if now - self._swept_at >= _SWEEP_SECONDS:
                        self._swept_at = now
                        self._sweep(self._notes)
                await self._clock.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Write the last of it, within a bounded time. `run` has ended."""
        self._look()
        if self._notes is None or not self._changed:
            return
        try:
            async with asyncio.timeout(self._stop_seconds):
                await self._write(self._notes)
        except (TimeoutError, Stuck) as error:
            _log.warning("spending_not_recorded", error=str(error) or type(error).__name__)

    def status(self) -> dict[str, Any]:
        """What was spent by currency and by moderation type, and what it comes to by the end of the day and month."""
        self._look()
        now = self._clock.now()
        sums = {kind: self._sum(kind) for kind in _KINDS}
        month = sums["month"]
        return {
            "since": self._since(now),
            "cost": {
                currency: {
                    **{kind: round(sums[kind].cost[currency], _DIGITS) for kind in _KINDS},
                    **{f"{kind}_forecast": round(cost, _DIGITS) for kind, cost in self._by_the_end(currency, now)},
                }
                for currency in sorted(month.cost)
            },
            "units": {
                moderation_type: {kind: sums[kind].units[moderation_type] for kind in _KINDS}
                for moderation_type in sorted(month.units)
            },
        }

    # What it adds up to

    def _books(self) -> Iterator[_Book]:
        yield self._own
        yield from self._others.values()

    def _sum(self, kind: Kind) -> _Sum:
        """What all have spent in the period of now."""
        total = _Sum(self._own.sums[kind].start)
        for book in self._books():
            one = book.sums[kind]
            if one.start == total.start:
                total.add(one)
        return total

    def _since(self, now: float) -> float:
        """When the first of the processes began that spent something in the last hour, or this one."""
        hour_ago = now // _SLOT_SECONDS - _RATE_SECONDS / _SLOT_SECONDS
        return min(book.since for book in self._books() if book is self._own or max(book.slots, default=0) >= hour_ago)

    def _per_second(self, currency: str, now: float) -> float:
        """The rate of the last hour, or since the first process began, if that is less."""
        seconds = max(_LEAST_SECONDS, min(_RATE_SECONDS, now - self._since(now)))
        oldest = (now - seconds) / _SLOT_SECONDS
        spent = 0.0
        for book in self._books():
            for slot, cost in book.slots.items():
                spent += cost[currency] * min(1.0, max(0.0, slot + 1 - oldest) if seconds == _RATE_SECONDS else 1.0)
        return spent / seconds

    def _by_the_end(self, currency: str, now: float) -> Iterator[tuple[Kind, float]]:
        rate = self._per_second(currency, now)
        for kind in _FORECAST:
            left = period_at(kind, self._zone, now).end - now
            yield kind, self._sum(kind).cost[currency] + rate * left

    def _show(self) -> None:
        now = self._clock.now()
        sums = {kind: self._sum(kind).cost for kind in _KINDS}
        for currency in sums["month"]:
            for kind in _KINDS:
                self._spent.labels(currency, kind).set(sums[kind][currency])
            for kind, cost in self._by_the_end(currency, now):
                self._forecast.labels(currency, kind).set(cost)

    # What it is made of

    def _look(self) -> None:
        """Take over what the counters have counted since."""
        now = self._clock.now()
        own = self._own
        for kind, one in own.sums.items():
            period = period_at(kind, self._zone, now)
            if period.start != one.start:
                own.sums[kind] = _Sum(period.start)
        slot = int(now // _SLOT_SECONDS)
        for old in [one for one in own.slots if one < slot - _RATE_SECONDS / _SLOT_SECONDS]:
            del own.slots[old]
        cost, units = self._metrics.totals("billed_cost"), self._metrics.totals("billed_units")
        for labels, more in _more(self._seen_cost, cost):
            _, currency = labels
            own.slots.setdefault(slot, _nothing())[currency] += more
            for one in own.sums.values():
                one.cost[currency] += more
            self._changed = True
        for (moderation_type,), more in _more(self._seen_units, units):
            for one in own.sums.values():
                one.units[moderation_type] += more
            self._changed = True
        self._seen_cost, self._seen_units = cost, units

    # What is kept

    async def _write(self, notes: Notes) -> None:
        self._writing, self._changed = True, False
        try:
            await notes.put((_KIND, self._owner), _encode(self._own))
        except BaseException:
            self._changed = True
            raise
        finally:
            self._writing = False

    def _hear(self, key: Key, value: bytes | None) -> str | None:
        """A note was read; returns why it cannot be used, if so."""
        if key[1:] == (self._owner,):
            return None
        if value is None:
            self._others.pop(key, None)
            return None
        try:
            found = orjson.loads(value)
            if found["version"] > _VERSION:
                return "version"
            self._others[key] = _decode(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            return "damaged"
        return None

    def _sweep(self, notes: Notes) -> None:
        """Have the notes deleted that say nothing of this month any more, nor of the one before."""
        now = self._clock.now()
        for key, book in list(self._others.items()):
            if now > book.sums["month"].start + LONGEST_SECONDS["month"] + _KEPT_SECONDS:
                del self._others[key]
                notes.delete(key)


def _more(
    before: Mapping[tuple[str, ...], float], now: Mapping[tuple[str, ...], float]
) -> Iterator[tuple[tuple[str, ...], float]]:
    """What has grown, and by how much."""
    for labels, value in now.items():
        if (more := value - before.get(labels, 0.0)) > 0:
            yield labels, more


def _encode(book: _Book) -> bytes:
    sums = {
        kind: {"start": one.start, "cost": _rounded(one.cost), "units": dict(one.units)}
        for kind, one in book.sums.items()
    }
    slots = {str(slot): _rounded(cost) for slot, cost in book.slots.items()}
    return orjson.dumps({"version": _VERSION, "since": book.since, **sums, "slots": slots})


def _decode(found: Any) -> _Book:
    """The book in a note that was parsed; ValueError, KeyError, TypeError or AttributeError where it is none."""
    return _Book(
        _number(found["since"]),
        {
            kind: _Sum(_number(found[kind]["start"]), _amounts(found[kind]["cost"]), _amounts(found[kind]["units"]))
            for kind in _KINDS
        },
        {int(slot): _amounts(cost) for slot, cost in found["slots"].items()},
    )


def _amounts(found: Any) -> defaultdict[str, float]:
    return defaultdict(float, {name: _number(value) for name, value in found.items()})


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return value


def _rounded(cost: Mapping[str, float]) -> dict[str, float]:
    return {currency: round(value, _DIGITS) for currency, value in cost.items()}
