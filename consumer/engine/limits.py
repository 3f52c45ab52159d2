"""How much the engine holds, how long its steps may take, and which guarantee it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.engine.order import Ordering
    from consumer.engine.ports import Sink, Unit
    from consumer.record import Partition


__all__ = ["AtLeast", "Exactly", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the engine holds, and how long its steps may take. `fetch_bytes` is what one poll may bring a lane.

    `takeover_seconds` is how long new lanes stay shut, since their last owner may just have used the quota.
    """

    max_in_flight: int
    memory_budget_bytes: int
    commit_interval_seconds: float
    drain_seconds: float
    flush_seconds: float
    skip_null: bool
    fetch_bytes: int = 256 * 1024
    poll_seconds: float = 0.5
    idle_poll_seconds: float = 0.1
    takeover_seconds: float = 0.0
    ordering: Ordering = "unordered"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least once: a sink for verdicts, and one for dead letters."""

    verdicts: Sink
    dead_letters: Sink


@dataclass(frozen=True, slots=True)
class Exactly:
    """Exactly once: makes the unit of a name, and names the unit of a partition."""

    units: Callable[[str], Unit]
    unit_of: Callable[[Partition], str]
