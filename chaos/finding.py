"""One line of an audit, and how places and moments are written in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.history import History, Place


__all__ = ["Finding", "clock", "found", "name"]


_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of an audit: what was counted, whether it is as promised, and more about it, a line each."""

    name: str
    said: str
    holds: bool = True
    notes: tuple[str, ...] = ()


def found(name: str, bad: Iterable[str], said: str = "0") -> Finding:
    """A line that counts what should not be, with the first examples; `said` is what there is to say without any."""
    all_bad = list(bad)
    more = [f"… and {len(all_bad) - _EXAMPLES} more"] if len(all_bad) > _EXAMPLES else []
    return Finding(name, str(len(all_bad)) if all_bad else said, not all_bad, (*all_bad[:_EXAMPLES], *more))


def name(place: Place) -> str:
    """A record of the input topic, as partition@offset."""
    return f"{place[0]}@{place[1]}"


def clock(history: History, at: float) -> str:
    """A moment, in seconds after the beginning."""
    return f"{at - history.began:.2f} s"
