"""Multimodal tasks as the service keeps them: submitted, in progress, ready, and forgotten after a day.

A task is ready once its latency has passed and it has answered as many queries with 280 as the settings ask for; its
callback heeds the latency alone. How often and how soon each task was asked for is kept, so that a test can tell
whether a client keeps to the multimodal page: the first query 30 s after the submission, then one every 30 s.
"""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.simulator.faults import Fault
    from consumer.simulator.settings import SimulatorSettings


__all__ = ["RETENTION_SECONDS", "Callback", "Task", "Tasks"]


RETENTION_SECONDS = 24 * 3600.0
"""How long a result can be had, counted from the submission: the multimodal page says up to 24 hours."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Where a result is to be reported, and what goes into the report's checksum."""

    url: str
    seed: str
    crypt_type: str = "SHA256"


@dataclass(slots=True, eq=False)
class Task:
    """One task. Times are seconds of the clock that never runs backwards.

    `polls` counts every query that reached the service, answered or not; `first_poll_seconds` is how long after the
    submission the first one came, and `shortest_poll_interval_seconds` the shortest time from an answer to the next
    query. `fault` is what goes wrong with the task later, if anything.
    """

    task_id: str
    service: str
    data: dict[str, Any]
    submitted_at: float
    ready_at: float
    callback: Callback | None = None
    fault: Fault | None = None
    polls: int = 0
    told_to_wait: int = 0
    fetched: bool = False
    first_poll_seconds: float | None = None
    shortest_poll_interval_seconds: float | None = None
    answered_at: float | None = None


class Tasks:
    """The tasks of the last day, by id; iterates in the order of their submission."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._latency = settings.task_latency
        self._wait_polls = settings.task_polls
        self._seed = settings.seed
        self.clear()

    def clear(self) -> None:
        """Forget them all, and start the dice of their latency anew."""
        self._dice = random.Random(f"task {self._seed}")
        self._tasks: dict[str, Task] = {}
        self.submitted = 0
        self.fetched = 0
        self.polls = 0
        self.most_polls = 0
        self.soonest_first_poll_seconds: float | None = None
        self.shortest_poll_interval_seconds: float | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __getitem__(self, task_id: str) -> Task:
        return self._tasks[task_id]

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._tasks

    def add(self, service: str, data: dict[str, Any], callback: Callback | None, now: float) -> Task:
        """A task submitted at `now`, with what will be its result; its id goes into the result."""
        while self._tasks and next(iter(self._tasks.values())).submitted_at <= now - RETENTION_SECONDS:
            del self._tasks[next(iter(self._tasks))]
        task_id = str(uuid.uuid4()).upper()
        ready_at = now + self._latency.draw_seconds(self._dice)
        task = Task(task_id, service, {"ReqId": task_id, **data}, now, ready_at, callback)
        self._tasks[task_id] = task
        self.submitted += 1
        return task

    def befall(self, task: Task, fault: Fault, now: float) -> None:
        """Let something go wrong with a task that was just submitted."""
        task.fault = fault
        if fault.kind == "task_lost":
            del self._tasks[task.task_id]
        elif fault.kind == "task_never":
            task.ready_at = math.inf
        elif fault.kind == "callback_early":
            task.ready_at = now

    def find(self, task_id: str, now: float) -> Task | None:
        """The task of this id, unless it is unknown or older than a day."""
        task = self._tasks.get(task_id)
        return task if task is not None and now - task.submitted_at < RETENTION_SECONDS else None

    def asked(self, task_id: str, now: float) -> None:
        """A query for this task arrived, whatever is answered to it."""
        self.polls += 1
        task = self._tasks.get(task_id)
        if task is None:
            return
        task.polls += 1
        self.most_polls = max(self.most_polls, task.polls)
        if task.first_poll_seconds is None:
            task.first_poll_seconds = now - task.submitted_at
            self.soonest_first_poll_seconds = _least(self.soonest_first_poll_seconds, task.first_poll_seconds)
        if task.answered_at is not None:
            interval = now - task.answered_at
            task.shortest_poll_interval_seconds = _least(task.shortest_poll_interval_seconds, interval)
            self.shortest_poll_interval_seconds = _least(self.shortest_poll_interval_seconds, interval)

    def is_ready(self, task: Task, now: float) -> bool:
        """Whether a query at `now` gets the result; from then on any other does too."""
        task.answered_at = now
        if now < task.ready_at or task.told_to_wait < self._wait_polls:
            task.told_to_wait += 1
            return False
        if not task.fetched:
            task.fetched = True
            self.fetched += 1
        return True

    def to_dict(self) -> dict[str, Any]:
        """For `/stats`."""
        return {
            "submitted": self.submitted,
            "kept": len(self._tasks),
            "fetched": self.fetched,
            "polls": self.polls,
            "most_polls": self.most_polls,
            "soonest_first_poll_seconds": self.soonest_first_poll_seconds,
            "shortest_poll_interval_seconds": self.shortest_poll_interval_seconds,
        }


def _least(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
