"""Hours, days and months by the clock of a time zone, as spans of time that never overlap and leave nothing out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo


if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo


__all__ = ["LONGEST_SECONDS", "Kind", "Period", "period_at", "zone_of"]


Kind = Literal["hour", "day", "month"]

LONGEST_SECONDS: dict[Kind, float] = {"hour": 2 * 3600.0, "day": 25 * 3600.0, "month": 31 * 86_400.0 + 3600.0}
"""No period of a kind is longer, whatever its zone does to its clock."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until before `end`, in seconds since the epoch."""

    kind: Kind
    start: float
    end: float

    @property
    def mark(self) -> str:
        """Its beginning in UTC, to the second: the same in all processes, and sorted by time."""
        return datetime.fromtimestamp(self.start, UTC).strftime("%Y%m%dT%H%M%SZ")


def zone_of(name: str) -> tzinfo:
    """The time zone of this name; UTC needs no database of zones."""
    return UTC if name == "UTC" else ZoneInfo(name)


def period_at(kind: Kind, zone: tzinfo, now: float) -> Period:
    """The period that a moment is in.

    A day begins at the first midnight of its date; where a change of the clock leaves that out, when the change is. An
    hour that the clock shows twice is two.
    """
    begins = sorted(set(_beginnings(kind, datetime.fromtimestamp(now, zone))))
    start = max(at for at in begins if at <= now)
    return Period(kind, start, min(at for at in begins if at > now))


def _beginnings(kind: Kind, local: datetime) -> Iterator[float]:
    """When periods begin around a moment. A time that a change leaves out is, by the rule for `fold`, that change."""
    if kind == "hour":
        this = local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
        for hours in (-2, -1, 0, 1, 2):
            wall = (this + timedelta(hours=hours)).replace(tzinfo=local.tzinfo)
            yield wall.timestamp()
            if (again := wall.replace(fold=1).timestamp()) > wall.timestamp():
                yield again
    else:
        for first in _dates(kind, local.date()):
            yield datetime(first.year, first.month, first.day, tzinfo=local.tzinfo).timestamp()


def _dates(kind: Kind, today: date) -> Iterator[date]:
    if kind == "day":
        yield from (today + timedelta(days=days) for days in (-1, 0, 1, 2))
        return
    first = today.replace(day=1)
    yield from ((first - timedelta(days=1)).replace(day=1), first)
    for _ in range(2):
        first = (first + timedelta(days=32)).replace(day=1)
        yield first
