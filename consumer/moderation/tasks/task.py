"""What is remembered of a submitted task, for each event that is in it: enough to go on after a restart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self


if TYPE_CHECKING:
    from consumer.record import Record
    from consumer.verdict import Billed


__all__ = ["Callback", "Place", "Task", "fingerprint"]


class Place(NamedTuple):
    """Where an event's record stands in its log: the key of all that is remembered about it."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, record: Record) -> Self:
        """The place of a record."""
        return cls(record.partition.topic, record.partition.partition, record.offset)


@dataclass(frozen=True, slots=True)
class Task:
    """One event's share in a submitted task; the events of one call share `task_id`.

    `path` is where the event stands in the call: () the main post, (2,) the third comment, (2, 0) its first reply.
    `last_path` is that of the last in the same list, by which an answer that is too short is known.
    `fingerprint` tells the record apart from another one that later has the same place, in a topic made anew.
    `submitted_at` and `next_poll_at` are seconds since the epoch. `billed` is what the submission cost: on one of the
    call's events only, so that sums are right.
    """

    place: Place
    fingerprint: str
    service: str
    task_id: str
    path: tuple[int, ...]
    submitted_at: float
    next_poll_at: float
    attempts: int = 1
    billed: tuple[Billed, ...] = ()
    request_id: str | None = None
    last_path: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """What the service reported of a task, at the address of the event at `place`; `content` is as it was received.

    Its checksum was verified. It covers the place and the content, and not the task's id.
    """

    place: Place
    task_id: str
    content: bytes


def fingerprint(record: Record, route: str, group_id: str) -> str:
    """A short digest of what makes a record itself: its key, value and timestamp, and the route that judges it.

    It is keyed with the consumer group, so that groups that read the same records do not take each other's tasks, and
    nobody who sees it can tell whether two groups read the same content.
    """
    key = hashlib.blake2b(group_id.encode(), digest_size=32).digest()
    digest = hashlib.blake2b(digest_size=16, key=key)
    for part in (record.key or b"", record.value or b"", str(record.timestamp).encode(), route.encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
