"""What refusals have taught, made visible: each limit as it is and as it is now, and a line when it is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.quota.bucket import Bucket


__all__ = ["Lessons"]


_LOOK_SECONDS = 1.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Lowered:
    """A limit that is lowered: since when (monotonic seconds), and how far it went."""

    since: float
    lowest: int


class Lessons:
    """Shows the buckets' limits in the metrics from now on. Keep `run` in a task for the log.

    However often a limit is lowered, it is told once, and once when it is whole again, which takes a minute at least.
    """

    def __init__(self, buckets: Iterable[tuple[str, Bucket]], *, clock: Clock, metrics: Metrics) -> None:
        self._buckets = dict(buckets)
        self._clock = clock
        self._lowered: dict[str, _Lowered] = {}
        for name, bucket in self._buckets.items():
            metrics.gauge("quota_limit").labels(name).set_function(partial(_now, bucket))
            metrics.gauge("quota_limit_full").labels(name).set_function(partial(_full, bucket))

    async def run(self) -> None:
        """Look at the limits every second until cancelled."""
        while True:
            for name, bucket in self._buckets.items():
                self._look(name, bucket.limit, bucket.limit_now)
            await self._clock.sleep(_LOOK_SECONDS)

    def _look(self, name: str, limit: int, limit_now: int) -> None:
        lowered = self._lowered.get(name)
        if limit_now < limit:
            if lowered is None:
                self._lowered[name] = _Lowered(self._clock.monotonic(), limit_now)
                _log.warning(
                    "quota lowered",
                    quota=name,
                    limit=limit,
                    limit_now=limit_now,
                    meaning="The service refused calls for being too many, though no more were sent than it allows.",
                    remedy="If it lasts, something else uses the account: give each its share in `quota`.",
                )
            else:
                lowered.lowest = min(lowered.lowest, limit_now)
        elif lowered is not None and limit:
            del self._lowered[name]
            seconds = round(self._clock.monotonic() - lowered.since)
            _log.info("quota whole again", quota=name, limit=limit, lowest=lowered.lowest, seconds=seconds)


def _now(bucket: Bucket) -> int:
    return bucket.limit_now


def _full(bucket: Bucket) -> int:
    return bucket.limit
