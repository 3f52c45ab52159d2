"""The book of a run: what happened, what each event is, and which bills the faults explain."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from consumer.engine import notes
from tests.simulation.member import GROUP


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.record import Partition
    from tests.simulation.kafka import MemoryKafka
    from tests.simulation.schedule import Kind, Schedule


__all__ = ["ASKS", "Book", "Finding", "Line"]


ASKS = {
    "init": "asks to fence",
    "offset_fetch": "asks for offsets",
    "end": "asks to commit",
    "commit": "asks to commit",
}
"""Requests that takeovers and commits are made of, in words; whether they are granted is another matter."""


class Line(NamedTuple):
    """One line of what happened."""

    at: float
    who: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at:9.4f}  {self.who:10} {self.what:18} {self.detail}".rstrip()


class Finding(NamedTuple):
    """A promise that was broken: which, in words, and of which event, or when."""

    promise: str
    text: str
    event: str = ""
    at: float | None = None


class Book:
    """All that is known of a run and that no process knows.

    `excuses` has, for each event, the reasons for which it may be billed once more; `submit_excuses` the same for
    submissions of tasks.
    """

    def __init__(self, kafka: MemoryKafka, schedule: Schedule) -> None:
        self.lines: list[Line] = []
        self.findings: list[Finding] = []
        self.places: dict[str, tuple[Partition, int]] = {}
        self.kinds: dict[str, Kind] = {}
        self.keys: dict[str, bytes | None] = {}
        self.excuses: dict[str, list[str]] = defaultdict(list)
        self.submit_excuses: dict[str, list[str]] = defaultdict(list)
        self._kafka = kafka
        self._schedule = schedule

    def tell(self, who: str, what: str, detail: str = "") -> None:
        """Note something that happened."""
        self.lines.append(Line(self._kafka.network.loop.time(), who, what, detail))

    @property
    def trace(self) -> str:
        """A digest of all that happened: the same for the same seed."""
        digest = hashlib.blake2b(digest_size=8)
        for line in self.lines:
            digest.update(f"{line.at!r}{line.who}{line.what}{line.detail}\n".encode())
        return digest.hexdigest()

    def excuse(self, why: str, events: Iterable[str]) -> None:
        """Each of these events that is not committed may be billed once more, by whoever owns it next."""
        reason = f"{why} at {self._kafka.network.loop.time():.4f}"
        for event in events:
            partition, offset = self.places[event]
            if not self.committed(partition, offset):
                self.excuses[event].append(reason)
                if self.kinds[event] == "post" and not self._recorded(partition, offset):
                    self.submit_excuses[event].append(reason)

    def waits_for_a_task(self, event: str) -> bool:
        """Whether something before it in its order is judged by a task, which may take longer than any drain."""
        if self._schedule.ordering == "unordered":
            return False
        by_key, key = self._schedule.ordering == "key", self.keys[event]
        if by_key and key is None:
            return False
        partition, offset = self.places[event]
        return any(
            self.kinds[other] == "post"
            and at == partition
            and before < offset
            and not (by_key and self.keys[other] != key)
            and not self.committed(at, before)
            for other, (at, before) in self.places.items()
        )

    def committed(self, partition: Partition, offset: int) -> bool:
        """Whether the group has committed that this record is done."""
        at = self._kafka.groups[GROUP].offsets.get(partition)
        if at is None:
            return False
        if offset < at.offset:
            return True
        note = notes.read(at.offset, at.metadata)
        return note is not None and note.done is not None and note.done.done(offset)

    def _recorded(self, partition: Partition, offset: int) -> bool:
        """Whether a task of this event is in the state topic."""
        prefix = f"task/{partition.topic}/{partition.partition}/{offset}/".encode()
        entries = self._kafka.read(f"{GROUP}.state", committed=False)
        return any(entry.raw is not None and (entry.raw.key or b"").startswith(prefix) for _, entry in entries)
