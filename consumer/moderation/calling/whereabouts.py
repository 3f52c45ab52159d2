"""Where the results of tasks are asked for, and how often a task was not known there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.moderation.protocol.endpoints import Endpoint


__all__ = ["Whereabouts"]


# "Not known" may mean "not known yet" right after the submission, so it has to be said more than once.
_MISSES = 3
# Tasks that end by a callback are never told of here: the oldest notes make room for new ones.
_MOST_NOTES = 10_000


@dataclass(slots=True)
class _Note:
    endpoint: Endpoint | None = None
    misses: int = 0
    empty: int = 0


class Whereabouts:
    """Notes on the tasks that are not simply found at the first endpoint. A task belongs to the endpoint it was
    submitted to: with a fallback, one that is not known at one of the two is looked for at the other.
    """

    def __init__(self, endpoint: Endpoint, fallback: Endpoint | None) -> None:
        self._endpoint = endpoint
        self._fallback = fallback
        self._notes: OrderedDict[str, _Note] = OrderedDict()

    def __len__(self) -> int:
        return len(self._notes)

    def of(self, task_id: str) -> Endpoint | None:
        """Where this task is; None where nothing is known of it."""
        note = self._notes.get(task_id)
        return None if note is None else note.endpoint

    def submitted(self, task_id: str, endpoint: Endpoint) -> None:
        """A task was submitted to this endpoint."""
        if endpoint == self._fallback:
            self._note(task_id).endpoint = endpoint

    def missed(self, task_id: str, endpoint: Endpoint) -> bool:
        """A task is not known there; True when it has been said often enough to believe that it is lost."""
        note = self._note(task_id)
        note.misses += 1
        allowed = _MISSES
        if self._fallback is not None and endpoint in {self._endpoint, self._fallback}:
            allowed = 2 * _MISSES
            note.endpoint = self._endpoint if endpoint == self._fallback else self._fallback
        if note.misses < allowed:
            return False
        del self._notes[task_id]
        return True

    def empty(self, task_id: str) -> bool:
        """A task's result says nothing of the risk; True when it has been asked for often enough to take it so."""
        note = self._note(task_id)
        note.empty += 1
        return note.empty >= _MISSES

    def running(self, task_id: str) -> None:
        """A task is known, and still running."""
        note = self._notes.get(task_id)
        if note is not None:
            note.misses = 0

    def ended(self, task_id: str) -> None:
        """A task has its result: nothing more will be asked about it."""
        self._notes.pop(task_id, None)

    def _note(self, task_id: str) -> _Note:
        note = self._notes.setdefault(task_id, _Note())
        self._notes.move_to_end(task_id)
        while len(self._notes) > _MOST_NOTES:
            self._notes.popitem(last=False)
        return note
