"""One metric of the catalogue, and the buckets that histograms have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.meters import Counter, Gauge, Histogram


__all__ = ["FAST", "TASKS", "WHOLE", "Metric"]


FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TASKS = (0.1, 0.5, 2.0, 10.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 3600.0, 86400.0)
WHOLE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue. `name` is without prefix; `advice` says what to do when it looks wrong."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    help: str
    advice: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
