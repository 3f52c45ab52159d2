"""Where tasks are remembered and callbacks passed on: the seams to what outlives a process, and a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.moderation.tasks.task import Callback, Place, Task


__all__ = ["CallbackExchange", "MemoryTaskStore", "TaskStore"]


class TaskStore(Protocol):
    """Remembers submitted tasks by the places of their events, and their fingerprints.

    An event that no single call takes is in several tasks, each under a fingerprint of its own.
    """

    async def remember(self, tasks: Sequence[Task]) -> None:
        """Return when all of these are recorded so that a restart finds them. Called before anything else is done.

        When cancelled, some of them may be recorded.
        """
        ...

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """What is remembered of the record at this place; None where it is nothing, or another record's."""
        ...

    async def forget(self, places: Collection[Place]) -> None:
        """These events have their verdicts, acknowledged and committed: nothing of them is needed any more."""
        ...


class CallbackExchange(Protocol):
    """Passes callbacks between the processes of a group: each may get any of them, and one of them has the task."""

    async def forward(self, callback: Callback) -> bool:
        """Record a callback for whoever works on its task, now or later; False when it is not known to be recorded."""
        ...

    def forwarded(self, task_id: str) -> Sequence[Callback]:
        """The callbacks that any process has recorded for this task, as far as is known here."""
        ...

    def listen(self, receive: Callable[[Callback], bool]) -> None:
        """Have each callback that is recorded from now on handed over; true says that its task is over here."""
        ...


class MemoryTaskStore:
    """Remembers while the process lives: after a restart its events are submitted, and paid for, again."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[Place, dict[str, Task]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))

    async def remember(self, tasks: Sequence[Task]) -> None:
        """Keep these; a later task of the same place and fingerprint takes the earlier one's."""
        for task in tasks:
            self._tasks.setdefault(task.place, {})[task.fingerprint] = task

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """The task kept for this place, if it is this record's."""
        return self._tasks.get(place, {}).get(fingerprint)

    async def forget(self, places: Collection[Place]) -> None:
        """Drop what is kept for these."""
        for place in places:
            self._tasks.pop(place, None)
