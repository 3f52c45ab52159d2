"""How tasks, callbacks and notes are written down in the state topic: keys, values, and a tolerant reader."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import orjson

from consumer.moderation.tasks.task import Callback, Place, Task
from consumer.verdict import Billed


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = [
    "VERSION",
    "CallbackKey",
    "Note",
    "NoteKey",
    "TaskKey",
    "Tombstone",
    "Unreadable",
    "decode",
    "encode_callback",
    "encode_key",
    "encode_note",
    "encode_task",
    "is_note",
]


# The version of task records that is written; readers take it and all before it.
VERSION: Final = 1

_NOTE = b"note/"
_KEY = re.compile(r"(task|callback)/([^/]*)/(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,18})/([^/]+)")
# No bill comes near it. A damaged number that is written with a few characters may have a billion digits.
_DIGITS: Final = 100


@dataclass(frozen=True, slots=True)
class TaskKey:
    """What a task is remembered under: an event that no single call takes has several tasks at its place."""

    place: Place
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CallbackKey:
    """What a callback is kept under: the event whose address it came to, and the task it is said to be of."""

    place: Place
    task_id: str


@dataclass(frozen=True, slots=True)
class NoteKey:
    """What a note is kept under: its kind, and what tells it apart from others of that kind."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What the processes of a group tell each other, or themselves after a restart; its value is its kind's own."""

    key: NoteKey
    value: bytes


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Nothing is remembered under this key any more."""

    key: TaskKey | CallbackKey | NoteKey


class Unreadable(Exception):
    """A record that cannot be used, as if it were not there. `reason` is a word for the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_note(key: bytes | None) -> bool:
    """Whether a record with this key is a note, or the end of one: all notes are in one partition, so in one order."""
    return key is not None and key.startswith(_NOTE)


def encode_key(key: TaskKey | CallbackKey | NoteKey) -> bytes:
    """The key as bytes: `task/<topic>/<partition>/<offset>/<fingerprint>`, `callback/…`, or `note/<kind>/…`."""
    if isinstance(key, NoteKey):
        return _NOTE + "/".join(map(_quoted, key.parts)).encode()
    kind, last = ("task", key.fingerprint) if isinstance(key, TaskKey) else ("callback", key.task_id)
    topic, partition, offset = key.place
    return f"{kind}/{_quoted(topic)}/{partition}/{offset}/{_quoted(last)}".encode()


def encode_task(task: Task) -> tuple[bytes, bytes]:
    """A task's key and value. There is nothing of the content in it: ids, numbers, and what it cost."""
    value = {
        "version": VERSION,
        "service": task.service,
        "task_id": task.task_id,
        "path": task.path,
        "last_path": task.last_path,
        "submitted_at": task.submitted_at,
        "next_poll_at": task.next_poll_at,
        "attempts": task.attempts,
        "request_id": task.request_id,
        "billed": [_bill(one) for one in task.billed],
    }
    return encode_key(TaskKey(task.place, task.fingerprint)), orjson.dumps(value)


def encode_callback(callback: Callback) -> tuple[bytes, bytes]:
    """A callback's key, and its content as it was received."""
    return encode_key(CallbackKey(callback.place, callback.task_id)), callback.content


def encode_note(note: Note) -> tuple[bytes, bytes]:
    """A note's key, and its value as it is."""
    return encode_key(note.key), note.value


def decode(key: bytes | None, value: bytes | None) -> Task | Callback | Note | Tombstone:
    """What one record says, whatever its bytes are.

    Fields that are not known here are ignored: a later version may have added them.

    Raises:
        Unreadable: it is of another kind, of a later version, or damaged.
    """
    found = _key(key)
    if value is None:
        return Tombstone(found)
    if isinstance(found, CallbackKey):
        return Callback(found.place, found.task_id, value)
    if isinstance(found, NoteKey):
        return Note(found, value)
    try:
        return _task(found, orjson.loads(value))
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable("damaged") from error


def _key(key: bytes | None) -> TaskKey | CallbackKey | NoteKey:
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError as error:
        raise Unreadable("damaged") from error
    found: TaskKey | CallbackKey | NoteKey
    if is_note(key):
        found = NoteKey(tuple(map(unquote, text.split("/")[1:])))
    elif (match := _KEY.fullmatch(text)) is not None:
        place = Place(unquote(match[2]), int(match[3]), int(match[4]))
        found = (TaskKey if match[1] == "task" else CallbackKey)(place, unquote(match[5]))
    else:
        raise Unreadable("unknown")
    # A key that is spelt in another way could never be deleted, since a tombstone is spelt in ours.
    if encode_key(found) != key:
        raise Unreadable("damaged")
    return found


def _task(key: TaskKey, value: Any) -> Task:
    """The task in a value that was parsed; ValueError, KeyError or TypeError where it is none."""
    version = _whole(value["version"])
    if version > VERSION:
        raise Unreadable("version")
    return Task(
        place=key.place,
        fingerprint=key.fingerprint,
        service=_text(value["service"]),
        task_id=_text(value["task_id"]),
        path=_path(value["path"]),
        last_path=None if value["last_path"] is None else _path(value["last_path"]),
        submitted_at=_moment(value["submitted_at"]),
        next_poll_at=_moment(value["next_poll_at"]),
        attempts=_whole(value["attempts"]),
        request_id=None if value["request_id"] is None else _text(value["request_id"]),
        billed=tuple(_billed(one) for one in value["billed"]),
    )


def _bill(billed: Billed) -> dict[str, Any]:
    """Amounts are written as text, to the last digit."""
    return {
        "moderation_type": billed.moderation_type,
        "units": billed.units,
        "cost": str(billed.cost),
        "currency": billed.currency,
        "plan_units": str(billed.plan_units),
    }


def _billed(value: Any) -> Billed:
    return Billed(
        moderation_type=_text(value["moderation_type"]),
        units=_whole(value["units"]),
        cost=_amount(value["cost"]),
        currency=_text(value["currency"]),
        plan_units=_amount(value["plan_units"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _moment(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(_text(value))
    except InvalidOperation as error:
        raise ValueError from error
    if not amount.is_finite() or len(value) > _DIGITS or abs(amount.adjusted()) > _DIGITS:
        raise ValueError
    return amount


def _path(value: Iterable[Any]) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_whole(one) for one in value)


def _quoted(part: str) -> str:
    return quote(part, safe="")
