"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.estimate.sampling import Figure


__all__ = ["count", "digits", "duration", "moment", "money", "percent", "within"]


# A cost of so much is read without fractions of a cent, and a percentage of so much without a decimal.
_MUCH = 100.0
_NOT_SMALL = 9.95
_STEPS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def count(value: float) -> str:
    """A count: `12,345`."""
    return f"{value:,.0f}"


def digits(cost: Mapping[str, Figure]) -> int:
    """How many digits behind the point say something where this is the whole cost."""
    return 2 if any(figure.value >= _MUCH for figure in cost.values()) else 4


def money(cost: Mapping[str, Figure], places: int) -> str:
    """What something costs: `CNY 12.34`, or several with a plus between them; `-` where it is nothing."""
    return " + ".join(f"{currency} {figure.value:,.{places}f}" for currency, figure in cost.items()) or "-"


def within(figure: Figure) -> str:
    """How far the truth may be from a figure, as a part of it: `± 3.1 %`."""
    return f"± {figure.within / figure.value:.1%}".replace("%", " %") if figure.value else "± 0 %"


def percent(part: float) -> str:
    """A part of a whole: `33 %`, and a small one with a digit more."""
    value = part * 100
    return f"{value:.0f} %" if value >= _NOT_SMALL else f"{value:.1f}".removesuffix(".0") + " %"


def duration(seconds: float) -> str:
    """A time in its two greatest units: `39 min 12 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = round(seconds)
    parts: list[str] = []
    for name, size in _STEPS:
        number, left = divmod(left, size)
        if number or parts:
            parts.append(f"{number} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def moment(epoch_seconds: float) -> str:
    """A time of day: `2026-01-31 08:00`, in UTC."""
    return f"{datetime.fromtimestamp(epoch_seconds, UTC):%Y-%m-%d %H:%M}"
