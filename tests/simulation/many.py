"""Many schedules: played over both cores, counted, and the first that fails shown and shrunk."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from tests.simulation.audit import check
from tests.simulation.naive import turn_the_right_order_off
from tests.simulation.schedule import draw


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["Totals", "prepare", "run_many"]


# How many schedules a process is given at a time.
_BATCH = 25


@dataclass(slots=True)
class Totals:
    """What so many schedules come to. `failed` has the seed and the broken promises of those that failed."""

    schedules: int = 0
    events: int = 0
    faults: int = 0
    calls: int = 0
    submits: int = 0
    paid_twice: int = 0
    explained: int = 0
    virtual_seconds: float = 0.0
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Totals) -> None:
        """Count another's in."""
        for one in fields(self):
            if one.name == "failed":
                self.failed |= other.failed
            else:
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return (
            f"{self.schedules} schedules: {self.events} events, {self.faults} faults, "
            f"{self.virtual_seconds / 3600:.1f} h of virtual time; {self.calls} calls and {self.submits} tasks paid, "
            f"{self.paid_twice} of them twice (the faults explain up to {self.explained}); {len(self.failed)} failed"
        )


def prepare(*, naive: bool = False) -> None:
    """Make this process one that plays schedules and does nothing else: its log would take most of the time."""
    if naive:
        turn_the_right_order_off()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def run_many(
    seeds: Iterable[int], *, processes: int = 2, naive: bool = False, promise: str | None = None, **pinned: Any
) -> Iterator[Totals]:
    """Play the schedules of these seeds; yields the totals after each batch.

    Args:
        seeds: Which.
        processes: How many schedules at a time.
        naive: Turn the right takeover order off.
        promise: A schedule fails only if it breaks this promise.
        pinned: What is not drawn from the seeds.
    """
    numbers = list(seeds)
    batches = [numbers[at : at + _BATCH] for at in range(0, len(numbers), _BATCH)]
    totals = Totals()
    with ProcessPoolExecutor(processes, initializer=partial(prepare, naive=naive)) as pool:
        try:
            for batch in pool.map(partial(_play_all, promise=promise, pinned=pinned), batches):
                totals.add(batch)
                yield totals
        finally:
            pool.shutdown(cancel_futures=True)


def _play_all(seeds: list[int], promise: str | None, pinned: dict[str, Any]) -> Totals:
    totals = Totals()
    for seed in seeds:
        report = check(draw(seed, **pinned))
        broken = report.promises if promise is None else report.promises & {promise}
        totals.add(
            Totals(
                1,
                report.events,
                len(report.schedule.faults),
                report.calls,
                report.submits,
                report.paid_twice,
                report.explained,
                report.seconds,
                {seed: sorted(broken)} if broken else {},
            )
        )
    return totals
