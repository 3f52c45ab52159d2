"""The records of a rehearsal, each at its time: the engine's source, without brokers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.estimate.feed import Alone


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.ports import Assignments
    from consumer.record import Partition, Record


__all__ = ["Arrival", "Arrivals"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that comes in.

    Attributes:
        record: What is read; no two of a rehearsal have the same place.
        as_json: Whether its value stands in JSON, whatever it is encoded in where it comes from.
        at_seconds: When it comes in, in seconds from the beginning.
    """

    record: Record
    as_json: bool = True
    at_seconds: float = 0.0


class Arrivals(Alone):
    """Hands out each record when its time comes; those of a partition stand in the order of their times."""

    def __init__(self, arrivals: Sequence[Arrival], clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[Partition, deque[Arrival]] = {}
        for arrival in arrivals:
            self._lanes.setdefault(arrival.record.partition, deque()).append(arrival)

    @property
    def exhausted(self) -> bool:
        """Whether all have come in."""
        return not any(self._lanes.values())

    async def start(self, assignments: Assignments) -> None:
        """All partitions are the engine's from now on."""
        assignments.assigned(list(self._lanes))

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """What has come in of these partitions, or what comes first within the time; cancelled, it loses nothing."""
        found = self._there(ready)
        if found or not timeout_seconds:
            return found
        times = [lane[0].at_seconds for partition in ready if (lane := self._lanes[partition])]
        next_in = min(times) - self._clock.monotonic() if times else timeout_seconds
        await asyncio.sleep(min(timeout_seconds, next_in))
        return self._there(ready)

    def _there(self, ready: Collection[Partition]) -> dict[Partition, list[Record]]:
        now = self._clock.monotonic()
        found: dict[Partition, list[Record]] = {}
        for partition in ready:
            lane = self._lanes[partition]
            while lane and lane[0].at_seconds <= now:
                found.setdefault(partition, []).append(lane.popleft().record)
        return found
