"""Shrinking: a schedule that breaks a promise loses faults and events one by one, for as long as it still breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.audit import check


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.audit import Report
    from tests.simulation.schedule import Schedule


__all__ = ["shrink"]


# Without one fault or event all that is drawn later falls differently: each candidate is tried with a few other draws.
_SALTS = 3
_MOST_RUNS = 400


def shrink(report: Report, *, promise: str, judge: Callable[[Schedule], Report] = check) -> Report:
    """The smallest schedule found that still breaks this promise, as `report` does."""
    runs = 0
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(report.schedule):
            for salt in range(_SALTS):
                if runs >= _MOST_RUNS:
                    return report
                runs += 1
                tried = judge(replace(candidate, salt=salt))
                if promise in tried.promises:
                    report, progress = tried, True
                    break
            if progress:
                break
    return report


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with a little less in them, the boldest first."""
    if schedule.mishaps:
        yield replace(schedule, trouble=0.0, mishaps=())
    for number in range(len(schedule.faults)):
        yield replace(schedule, faults=schedule.faults[:number] + schedule.faults[number + 1 :])
    size = len(schedule.inputs) // 2
    while size:
        for start in range(0, len(schedule.inputs), size):
            yield replace(schedule, inputs=schedule.inputs[:start] + schedule.inputs[start + size :])
        size //= 2
    if schedule.members > 1:
        yield replace(schedule, members=schedule.members - 1)
    if any(one.partition == schedule.partitions - 1 for one in schedule.inputs):
        return
    if schedule.partitions > 1:
        yield replace(schedule, partitions=schedule.partitions - 1)
