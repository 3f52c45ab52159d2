"""Metrics that count nothing: a simulated process is made in a millisecond, and its metrics would take most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.metrics import Metrics
from consumer.recent import RecentErrors


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["NoMetrics"]


class _Nothing:
    """A counter, a gauge and a histogram, with any labels."""

    __slots__ = ()

    def labels(self, *_: str) -> _Nothing:
        return self

    def remove(self, *_: str) -> None:
        """Nothing is there."""

    def inc(self, _amount: float = 1, _exemplar: Mapping[str, str] | None = None) -> None:
        """Nothing is counted."""

    set = observe = dec = inc


_NOTHING = _Nothing()


class NoMetrics(Metrics):
    """The catalogue's metrics, none of which is kept."""

    def __init__(self) -> None:
        """No registry is needed."""
        self.errors = RecentErrors()

    def counter(self, name: str) -> Any:
        """A counter that forgets."""
        return _NOTHING

    gauge = histogram = counter
