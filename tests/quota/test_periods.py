"""Properties of periods: in any zone they follow each other without a gap, and begin where the clock says."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.quota.periods import LONGEST_SECONDS, Kind, period_at


KINDS: tuple[Kind, ...] = ("hour", "day", "month")
# Ordinary ones, half hours, a change of half an hour, midnights that do not exist or come twice, and a day left out.
ZONES = [
    "UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
    "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "America/St_Johns", "Pacific/Apia",
]  # fmt: skip
MOMENTS = st.floats(datetime(1990, 1, 1, tzinfo=UTC).timestamp(), datetime(2037, 1, 1, tzinfo=UTC).timestamp())


def at(zone: str, *parts: int, fold: int = 0) -> float:
    return datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[misc, arg-type]  # parts of a date


def hours(kind: Kind, zone: str, *parts: int) -> float:
    """How many hours the period has that this moment is in."""
    period = period_at(kind, ZoneInfo(zone), at(zone, *parts))
    return (period.end - period.start) / 3600


@given(kind=st.sampled_from(KINDS), zone=st.sampled_from(ZONES).map(ZoneInfo), now=MOMENTS)
@example(kind="hour", zone=ZoneInfo("Australia/Lord_Howe"), now=at("Australia/Lord_Howe", 2026, 4, 5, 1, 45, fold=1))
@example(kind="day", zone=ZoneInfo("America/St_Johns"), now=at("America/St_Johns", 2010, 11, 6, 23, 30, fold=1))
def test_a_moment_is_in_one_period(kind: Kind, zone: ZoneInfo, now: float) -> None:
    """Whatever the clock of a zone does, periods follow each other without a gap, and none is too long."""
    period = period_at(kind, zone, now)
    assert period.start <= now < period.end
    assert period.end - period.start <= LONGEST_SECONDS[kind]
    assert period_at(kind, zone, period.start) == period
    assert period_at(kind, zone, period.end - 1e-3) == period
    assert period_at(kind, zone, period.end).start == period.end
    assert period_at(kind, zone, period.start - 1e-3).end == period.start


@pytest.mark.parametrize(
    ("kind", "zone", "when", "expected"),
    [
        ("day", "Europe/Berlin", (2026, 3, 29, 12), 23),
        ("day", "Europe/Berlin", (2026, 10, 25, 12), 25),
        ("day", "Asia/Shanghai", (2026, 3, 29, 12), 24),
        ("day", "America/Sao_Paulo", (2018, 11, 4, 12), 23),  # midnight is left out
        ("month", "Europe/Berlin", (2026, 3, 1), 31 * 24 - 1),
        ("month", "UTC", (2028, 2, 29), 29 * 24),
        ("month", "UTC", (2026, 12, 31, 23, 59), 31 * 24),
        ("hour", "Europe/Berlin", (2026, 10, 25, 2, 30), 1),  # the first of two
        ("hour", "Australia/Lord_Howe", (2026, 10, 4, 2, 45), 0.5),
    ],
)
def test_days_have_the_hours_that_the_clock_gives_them(
    kind: Kind, zone: str, when: tuple[int, ...], expected: float
) -> None:
    """A day of a change of the clock is an hour shorter or longer, and a month has its own number of days."""
    assert hours(kind, zone, *when) == expected


def test_a_day_begins_where_the_zone_says() -> None:
    """The same moment is in another day, with another mark, where the clock is ahead."""
    now = at("UTC", 2026, 11, 22, 18)
    assert period_at("day", ZoneInfo("UTC"), now).mark == "20261122T000000Z"
    assert period_at("day", ZoneInfo("Asia/Shanghai"), now).mark == "20261122T160000Z"
    assert period_at("month", ZoneInfo("UTC"), now).mark == "20261101T000000Z"
    assert period_at("hour", ZoneInfo("Asia/Kathmandu"), now).mark == "20261122T171500Z"
