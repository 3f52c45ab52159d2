"""Weighted fair turns among those that wait; nothing here knows of time, or of what the turns are for."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar


if TYPE_CHECKING:
    from collections.abc import Hashable


__all__ = ["Fair", "FairQueue"]


K = TypeVar("K", bound="Hashable")
T = TypeVar("T", bound="Hashable")

# Sums of fractions are not exact: so much later is not later.
_SAME = 1e-9


class _Flow(Generic[K]):
    """One of those that share. `start` is when its next turn begins to be due, and `finish` when it should be over."""

    __slots__ = ("finish", "key", "number", "ripe", "start", "waits", "weight")

    def __init__(self, key: K, number: int) -> None:
        self.key = key
        self.number = number
        self.weight = 1
        self.start = 0.0
        self.finish = 0.0
        self.ripe = False
        self.waits = False

    @property
    def tag(self) -> tuple[float, float, int, _Flow[K]]:
        """Where it stands among the ripe ones, or among those that have had their part for now."""
        if self.ripe:
            return self.finish, self.start, self.number, self
        return self.start, self.finish, self.number, self


class Fair(Generic[K]):
    """Whose turn it is. Each of those that wait gets its part of the turns by weight, and is within one turn of it.

    Virtual time goes on by one for as many turns as all weights that wait add up to. In a unit of it each flow has as
    many turns as its weight, each with a time at which it begins to be due and one at which it should be over. Of the
    turns that are due, the one that should be over first is next (earliest eligible virtual deadline first). So a flow
    of little weight is never put off for more than its own part, nor one of great weight by many little ones.

    Who does not wait gains no credit, and keeps what it has had too much. All costs O(log n) comparisons for n flows.
    """

    __slots__ = ("_flows", "_later", "_ripe", "_time", "_weights")

    def __init__(self) -> None:
        self._flows: dict[K, _Flow[K]] = {}
        self._ripe: list[tuple[float, float, int, _Flow[K]]] = []
        self._later: list[tuple[float, float, int, _Flow[K]]] = []
        self._time = 0.0
        self._weights = 0

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return self._weights > 0

    def join(self, key: K, weight: int) -> None:
        """This one waits for turns from now on. For one that waits already, the weight counts from its next turn on.

        Raises:
            ValueError: the weight is less than one.
        """
        if weight < 1:
            raise ValueError(f"a weight is one or more, got {weight}")
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(key, len(self._flows))
        self._weights += weight - (flow.weight if flow.waits else 0)
        flow.weight = weight
        if not flow.waits:
            flow.waits = True
            flow.start = max(flow.start, self._time)
            self._place(flow)

    def leave(self, key: K) -> None:
        """This one waits no longer; one that does not wait may be named, too."""
        flow = self._flows.get(key)
        if flow is None or not flow.waits:
            return
        self._take_out(flow)
        flow.waits = False
        self._weights -= flow.weight
        if not self._weights:
            self._time = 0.0
            self._flows.clear()

    def first(self) -> K:
        """Whose turn is next; somebody has to wait."""
        return self._first().key

    def served(self) -> None:
        """The first has had its turn."""
        flow = self._first()
        self._take_out(flow)
        self._time = max(self._time, flow.start) + 1 / self._weights
        flow.start += 1 / flow.weight
        self._place(flow)
        while self._later and self._later[0][0] <= self._time + _SAME:
            self._place(self._later.pop(0)[3])

    def _first(self) -> _Flow[K]:
        # Where nobody's turn is due, virtual time jumps to the first that will be.
        return (self._ripe or self._later)[0][3]

    def _place(self, flow: _Flow[K]) -> None:
        flow.finish = flow.start + 1 / flow.weight
        flow.ripe = flow.start <= self._time + _SAME
        insort(self._ripe if flow.ripe else self._later, flow.tag)

    def _take_out(self, flow: _Flow[K]) -> None:
        tags = self._ripe if flow.ripe else self._later
        del tags[bisect_left(tags, flow.tag)]


class FairQueue(Generic[T]):
    """Items that wait for turns: flows get turns by weight, and the items of a flow in the order in which they came."""

    __slots__ = ("_fair", "_items", "_size")

    def __init__(self) -> None:
        self._fair: Fair[str] = Fair()
        self._items: dict[str, OrderedDict[T, None]] = {}
        self._size = 0

    def __len__(self) -> int:
        """How many items wait."""
        return self._size

    def push(self, item: T, flow: str, weight: int) -> None:
        """Have an item wait behind the others of its flow, whose weight is the one that was last given.

        Raises:
            ValueError: the weight is less than one.
        """
        self._fair.join(flow, weight)
        self._items.setdefault(flow, OrderedDict())[item] = None
        self._size += 1

    def first(self) -> T:
        """The item whose turn is next; something has to wait."""
        return next(iter(self._items[self._fair.first()]))

    def pop(self) -> T:
        """Take the first out: it has its turn now."""
        flow = self._fair.first()
        items = self._items[flow]
        item, _ = items.popitem(last=False)
        self._size -= 1
        self._fair.served()
        if not items:
            self._end(flow)
        return item

    def remove(self, item: T, flow: str) -> None:
        """An item waits no longer. It has cost its flow nothing."""
        items = self._items[flow]
        del items[item]
        self._size -= 1
        if not items:
            self._end(flow)

    def _end(self, flow: str) -> None:
        del self._items[flow]
        self._fair.leave(flow)
