"""What is remembered of tasks, callbacks and notes: the view that the records of the state topic add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.moderation.tasks.records import CallbackKey, Note, NoteKey, TaskKey, Tombstone
from consumer.moderation.tasks.task import Callback, Task


if TYPE_CHECKING:
    from consumer.moderation.tasks.task import Place


__all__ = ["KEPT_SECONDS", "Remembered"]


# The service keeps results for 24 hours; what is older, and an hour for clocks that differ, is of no use to anybody.
KEPT_SECONDS: Final = 25 * 3600.0


@dataclass(slots=True)
class _Kept:
    """All that is kept for one place, each with the time it was written, in seconds since the epoch."""

    tasks: dict[str, tuple[float, Task]]
    callbacks: dict[str, tuple[float, Callback]]


class Remembered:
    """The tasks and callbacks that were written and not deleted, by the places of their events, and the notes.

    Records may be applied in any order that keeps the order of each key, and any number of times.
    """

    __slots__ = ("_at", "_called", "_known", "_notes")

    def __init__(self) -> None:
        self._at: dict[Place, _Kept] = {}
        # How many events are remembered of a task, and where callbacks came to that are said to be of it.
        self._known: Counter[str] = Counter()
        self._called: dict[str, set[Place]] = {}
        self._notes: dict[NoteKey, tuple[float, bytes]] = {}

    def __len__(self) -> int:
        """How many tasks, callbacks and notes are kept."""
        return len(self._notes) + sum(len(kept.tasks) + len(kept.callbacks) for kept in self._at.values())

    def apply(self, item: Task | Callback | Note | Tombstone, written_at: float, now: float) -> None:
        """Take in one record that was written at this time; one that is too old counts as deleted, if it is no note."""
        if isinstance(item, Tombstone):
            self._remove(item.key)
            return
        if isinstance(item, Note):
            self._notes[item.key] = (min(written_at, now), item.value)
            return
        key = TaskKey(item.place, item.fingerprint) if isinstance(item, Task) else CallbackKey(item.place, item.task_id)
        self._remove(key)
        if written_at < now - KEPT_SECONDS:
            return
        kept = self._at.setdefault(item.place, _Kept({}, {}))
        at = min(written_at, now)
        if isinstance(item, Task):
            kept.tasks[item.fingerprint] = (at, item)
            self._known[item.task_id] += 1
        else:
            kept.callbacks[item.task_id] = (at, item)
            self._called.setdefault(item.task_id, set()).add(item.place)

    def find(self, place: Place, fingerprint: str, now: float) -> Task | None:
        """The task of the record at this place; None where there is none, or it is another record's, or too old."""
        kept = self._at.get(place)
        found = None if kept is None else kept.tasks.get(fingerprint)
        return None if found is None or found[0] < now - KEPT_SECONDS else found[1]

    def callbacks(self, task_id: str) -> list[Callback]:
        """The callbacks that are said to be of this task."""
        return [self._at[place].callbacks[task_id][1] for place in self._called.get(task_id, ())]

    def has(self, callback: Callback) -> bool:
        """Whether one was taken in that came to the same place, said to be of the same task."""
        return callback.place in self._called.get(callback.task_id, ())

    def knows(self, task_id: str) -> bool:
        """Whether any event is remembered to be in this task."""
        return task_id in self._known

    def keys(self, place: Place) -> list[TaskKey | CallbackKey]:
        """Everything that is kept for this place."""
        kept = self._at.get(place)
        if kept is None:
            return []
        tasks = [TaskKey(place, fingerprint) for fingerprint in kept.tasks]
        return [*tasks, *(CallbackKey(place, task_id) for task_id in kept.callbacks)]

    def notes(self, kind: str) -> list[Note]:
        """All notes of a kind."""
        return [Note(key, value) for key, (_, value) in self._notes.items() if key.parts[0] == kind]

    def old_notes(self, before: float) -> list[Note]:
        """The notes that were written before this time, and by nobody since."""
        return [Note(key, value) for key, (at, value) in self._notes.items() if at < before]

    def drop_old(self, now: float) -> None:
        """Forget all that is too old to be of use; its records go by the topic's retention."""
        for place, kept in list(self._at.items()):
            for fingerprint, (at, _) in list(kept.tasks.items()):
                if at < now - KEPT_SECONDS:
                    self._remove(TaskKey(place, fingerprint))
            for task_id, (at, _) in list(kept.callbacks.items()):
                if at < now - KEPT_SECONDS:
                    self._remove(CallbackKey(place, task_id))

    def _remove(self, key: TaskKey | CallbackKey | NoteKey) -> None:
        if isinstance(key, NoteKey):
            self._notes.pop(key, None)
            return
        kept = self._at.get(key.place)
        if kept is None:
            return
        if isinstance(key, TaskKey):
            task = kept.tasks.pop(key.fingerprint, None)
            if task is not None:
                self._known[task[1].task_id] -= 1
                if not self._known[task[1].task_id]:
                    del self._known[task[1].task_id]
        elif kept.callbacks.pop(key.task_id, None) is not None:
            self._called[key.task_id].discard(key.place)
            if not self._called[key.task_id]:
                del self._called[key.task_id]
        if not kept.tasks and not kept.callbacks:
            del self._at[key.place]
