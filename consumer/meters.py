"""Counters, gauges and histograms that take next to no time to count with, and how a scrape reads them.

The Prometheus library's own take a lock and several calls for each count, and an event is counted a dozen times.
These belong to the event loop, where nothing needs a lock.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Self

from prometheus_client import Metric as Family
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


__all__ = ["Counter", "Gauge", "Histogram", "Meter"]


# As it has numbers written; it has no types.
_written: Callable[[float], str] = floatToGoString
_Sample = tuple[str, dict[str, str], float, Exemplar | None]


class Meter(ABC):
    """A metric. Where it has labels, `labels` gives what counts for their values, and it counts nothing itself.

    `buckets` are the bounds of a histogram's buckets; the other kinds have none.
    """

    __slots__ = ("_bounds", "_by_labels", "_names")

    kind: ClassVar[str]

    def __init__(self, labels: Sequence[str] = (), buckets: Sequence[float] = ()) -> None:
        self._names = tuple(labels)
        self._bounds = tuple(buckets)
        self._by_labels: dict[tuple[str, ...], Self] = {}
        if not labels:
            self._begin()

    def labels(self, *values: str) -> Self:
        """The one of these labels' values. Raises ValueError where the metric has other labels."""
        found = self._by_labels.get(values)
        if found is None:
            if not values or len(values) != len(self._names):
                raise ValueError(f"the labels are ({', '.join(self._names)}), which {values} are no values of")
            found = self._by_labels[values] = type(self)(buckets=self._bounds)
        return found

    def remove(self, *values: str) -> None:
        """Show these labels' values no longer."""
        self._by_labels.pop(values, None)

    def each(self) -> Iterator[tuple[tuple[str, ...], Self]]:
        """All that is shown, by the values of its labels."""
        if self._names:
            yield from list(self._by_labels.items())
        else:
            yield (), self

    def family(self, name: str, help_text: str) -> Family:
        """What it shows now, in the form of the Prometheus library."""
        family = Family(name, help_text, self.kind)
        for values, one in self.each():
            labels = dict(zip(self._names, values, strict=True))
            for ending, more, value, exemplar in one._samples():  # noqa: SLF001  # one of its own kind
                family.add_sample(name + ending, {**labels, **more}, value, None, exemplar)
        return family

    @abstractmethod
    def _begin(self) -> None:
        """Begin to count. What needs labels does not, so that counting without them is an error and not lost."""

    @abstractmethod
    def _samples(self) -> Iterator[_Sample]:
        """The end of each sample's name, its labels beside those of the metric, its value and its exemplar."""


class Counter(Meter):
    """Counts what happens; it never goes back."""

    __slots__ = ("_created_at", "value")

    kind = "counter"

    def inc(self, amount: float = 1.0) -> None:
        """Count so many. Raises ValueError where there are fewer than none."""
        if amount < 0:
            raise ValueError(f"a counter never goes back, as it would by {amount}")
        self.value += amount

    def _begin(self) -> None:
        self.value = 0.0
        self._created_at = time.time()

    def _samples(self) -> Iterator[_Sample]:
        yield "_total", {}, self.value, None
        yield "_created", {}, self._created_at, None


class Gauge(Meter):
    """Shows how much there is now."""

    __slots__ = ("_ask", "_value")

    kind = "gauge"

    def set(self, value: float) -> None:
        """There is so much now."""
        self._value = value

    def set_function(self, ask: Callable[[], float]) -> None:
        """Have it asked how much there is whenever somebody wants to know."""
        self._ask: Callable[[], float] | None = ask

    @property
    def value(self) -> float:
        """How much there is now."""
        return self._value if self._ask is None else self._ask()

    def _begin(self) -> None:
        self._value = 0.0
        self._ask = None

    def _samples(self) -> Iterator[_Sample]:
        yield "", {}, float(self.value), None


class Histogram(Meter):
    """Counts how long things take, by buckets; the last has no bound."""

    __slots__ = ("_counts", "_created_at", "_exemplars", "_sum")

    kind = "histogram"

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Count one that took so long; `exemplar` names it, as an example of its bucket."""
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        if exemplar is not None:
            self._exemplars[bucket] = Exemplar(exemplar, value, time.time())

    def _begin(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._exemplars: dict[int, Exemplar] = {}
        self._sum = 0.0
        self._created_at = time.time()

    def _samples(self) -> Iterator[_Sample]:
        for bucket, (bound, count) in enumerate(
            zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True)
        ):
            yield "_bucket", {"le": _written(bound)}, float(count), self._exemplars.get(bucket)
        yield "_count", {}, float(sum(self._counts)), None
        yield "_sum", {}, self._sum, None
        yield "_created", {}, self._created_at, None
