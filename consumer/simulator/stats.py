"""What the simulator saw: requests by operation and code, and the busiest second of each quota class."""

from __future__ import annotations

from collections import Counter
from typing import Any

from consumer.simulator.window import Peak


__all__ = ["Stats"]


class Stats:
    """Counters since the start or the last reset.

    `codes[operation][code]` counts answers; a code is a number, a gateway's word, or the name of the fault that left
    the call without a readable answer. `arrived[class]` has every call that reached a service, `admitted[class]`
    those within the quota. `callbacks` counts the deliveries `posted` and those `delivered`, and the tasks whose
    callback was `withheld` by a fault or `given_up` after the last attempt.
    """

    __slots__ = ("admitted", "arrived", "callbacks", "codes", "in_flight", "most_in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything but the calls under way."""
        self.codes: dict[str, Counter[str]] = {}
        self.arrived: dict[str, Peak] = {}
        self.admitted: dict[str, Peak] = {}
        self.callbacks: Counter[str] = Counter()
        self.most_in_flight = self.in_flight

    @property
    def requests(self) -> int:
        """Requests answered, or left unanswered by a fault."""
        return sum(codes.total() for codes in self.codes.values())

    def count(self, code: str) -> int:
        """How often this code was answered, by any operation."""
        return sum(codes[code] for codes in self.codes.values())

    def saw(self, operation: str, code: str) -> None:
        """Count one request by how it ended."""
        codes = self.codes.get(operation)
        if codes is None:
            codes = self.codes[operation] = Counter()
        codes[code] += 1

    def entered(self) -> None:
        """A request is under way."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def left(self) -> None:
        """A request has ended."""
        self.in_flight -= 1

    def quota_asked(self, quota: str, now: float, *, admitted: bool) -> None:
        """A call of this quota class arrived at `now` (seconds)."""
        self.arrived.setdefault(quota, Peak()).saw(now)
        if admitted:
            self.admitted.setdefault(quota, Peak()).saw(now)

    def to_dict(self) -> dict[str, Any]:
        """For `/stats`."""
        return {
            "requests": self.requests,
            "codes": {operation: dict(codes) for operation, codes in sorted(self.codes.items())},
            "quota": {
                quota: {
                    "arrived": peak.total,
                    "admitted": self.admitted[quota].total if quota in self.admitted else 0,
                    "refused": peak.total - (self.admitted[quota].total if quota in self.admitted else 0),
                    "most_arrived_in_a_second": peak.most,
                    "most_admitted_in_a_second": self.admitted[quota].most if quota in self.admitted else 0,
                }
                for quota, peak in sorted(self.arrived.items())
            },
            "callbacks": dict(self.callbacks),
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
        }
