"""Reading back what a run left: topics, commits, the service's journal."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Self

import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

from chaos.history import Call, Commit, Outcome, Recorded, Stall
from consumer.engine import notes
from consumer.moderation.tasks import records
from consumer.moderation.tasks.task import Task


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from chaos.history import Place
    from consumer.engine.offset_map import OffsetMap


__all__ = ["COMMITS", "Journal", "Read", "Reader", "commit", "outcome", "place_of", "recorded"]


COMMITS = "__consumer_offsets"
"""The topic in which Kafka keeps what groups commit."""

_PREFIX = "moderation-"
_TAIL_BYTES = 8192
_STAMP = re.compile(r"^p\d+;")


class Read:
    """One record as it was read, with its time in seconds since the epoch."""

    __slots__ = ("at", "headers", "key", "offset", "partition", "topic", "value")

    def __init__(self, message: Any) -> None:
        self.topic: str = message.topic()
        self.partition: int = message.partition()
        self.offset: int = message.offset()
        self.at: float = message.timestamp()[1] / 1000
        self.key: bytes | None = message.key()
        self.value: bytes | None = message.value()
        self.headers: tuple[tuple[str, bytes], ...] = tuple(message.headers() or ())


class Reader:
    """Reads topics from their first records, or from a moment on, as a context manager; only what is committed."""

    def __init__(self, bootstrap: str, topics: Sequence[str], *, since: float = 0.0) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "audit",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        found = self._consumer.list_topics(timeout=30).topics
        self.partitions = [(topic, number) for topic in topics for number in found[topic].partitions]
        self._ended: set[tuple[str, int]] = set()
        starts = [TopicPartition(topic, number, int(since * 1000)) for topic, number in self.partitions]
        self._consumer.assign(self._consumer.offsets_for_times(starts, timeout=30) if since else starts)

    def read(self, seconds: float) -> list[Read]:
        """What there is after at most so long."""
        found = []
        for message in self._consumer.consume(2000, seconds):
            error = message.error()
            if error is None:
                self._ended.discard((message.topic(), message.partition()))
                found.append(Read(message))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's own name of it
                self._ended.add((message.topic(), message.partition()))
        return found

    def read_all(self, *, quiet_reads: int = 20) -> list[Read]:
        """Everything up to the end of each partition, or until so many half seconds brought nothing."""
        found: list[Read] = []
        quiet = 0
        while len(self._ended) < len(self.partitions) and quiet < quiet_reads:
            more = self.read(0.5)
            quiet = 0 if more else quiet + 1
            found += more
        return found

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def place_of(read: Read) -> Place:
    """Which input a verdict or a dead letter says it is of."""
    headers = dict(read.headers)
    if _PREFIX + "offset" in headers:
        return int(headers[_PREFIX + "partition"]), int(headers[_PREFIX + "offset"])
    record = orjson.loads(read.value or b"")["record"]
    return record["partition"], record["offset"]


def outcome(read: Read) -> Outcome:
    """A verdict or a dead letter."""
    where = (read.topic, read.partition, read.offset)
    theirs = tuple((name, value) for name, value in read.headers if not name.startswith(_PREFIX))
    if len(theirs) < len(read.headers):
        return Outcome("dead letter", place_of(read), where, read.at, read.key, theirs, read.value or b"")
    said = orjson.loads(read.value or b"")
    units: dict[str, int] = {}
    for bill in said["billed"]:
        units[bill["moderation_type"]] = units.get(bill["moderation_type"], 0) + bill["units"]
    return Outcome(
        "verdict",
        place_of(read),
        where,
        read.at,
        read.key,
        theirs,
        event_id=said["event_id"],
        action=said["action"],
        request_ids=tuple(said["request_ids"]),
        task_id=said["task_id"],
        units=units,
        known=said["source"] in {"cache", "joined"},
    )


def commit(read: Read, group: str, topic: str) -> Commit | None:
    """A position that this group committed in this topic, out of a record of `COMMITS`; None for all other records."""
    if read.key is None or read.value is None:
        return None
    (version,) = struct.unpack_from(">h", read.key)
    if version not in {0, 1}:
        return None
    whose, at = _string(read.key, 2)
    what, at = _string(read.key, at)
    if (whose, what) != (group, topic):
        return None
    (partition,) = struct.unpack_from(">i", read.key, at)
    (version, offset) = struct.unpack_from(">hq", read.value)
    metadata, at = _string(read.value, 10 if version < 3 else 14, compact=version >= 4)
    (milliseconds,) = struct.unpack_from(">q", read.value, at)
    return Commit(milliseconds / 1000, partition, offset, _above(offset, metadata))


def recorded(read: Read) -> Recorded | None:
    """What a record of the state topic says of an event's task; None where it is about something else."""
    try:
        said = records.decode(read.key, read.value)
    except records.Unreadable:
        return None
    return Recorded(read.at, said.place[1:], said.task_id) if isinstance(said, Task) else None


def _string(raw: bytes, at: int, *, compact: bool = False) -> tuple[str, int]:
    if compact:
        length, shift = 0, 0
        while True:
            byte = raw[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
        length -= 1
    else:
        (length,) = struct.unpack_from(">h", raw, at)
        at += 2
    return raw[at : at + length].decode(), at + length


def _above(offset: int, metadata: str) -> OffsetMap | None:
    note = notes.read(offset, _STAMP.sub("", metadata))
    return None if note is None else note.done


class Journal:
    """The service's journal while it grows; `members` are named by the ports of their proxies."""

    def __init__(self, path: Path, members: Mapping[int, str]) -> None:
        self.path = path
        self._members = members

    def stalls(self) -> list[Stall]:
        """When the service's process stood still."""
        return [Stall(said["at"], said["late"]) for said in self._said() if "late" in said]

    def calls(self) -> list[Call]:
        """All calls so far, in the order in which they were made."""
        asked: dict[str, dict[str, Any]] = {}
        answered: dict[str, dict[str, Any]] = {}
        for said in self._said():
            if "in" in said:
                asked[said["in"]] = said
            elif "out" in said:
                answered[said["out"]] = said
        return [self._call(name, request, answered.get(name, {})) for name, request in asked.items()]

    def _said(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield orjson.loads(line)

    def last_caller(self) -> str | None:
        """Who called last."""
        with self.path.open("rb") as journal:
            journal.seek(max(0, journal.seek(0, 2) - _TAIL_BYTES))
            lines = journal.read().splitlines()
        for line in reversed(lines):
            if b'"port"' in line and line.startswith(b"{") and line.endswith(b"}"):
                return self._members.get(orjson.loads(line)["port"])
        return None

    def _call(self, name: str, request: dict[str, Any], reply: dict[str, Any]) -> Call:
        code = request.get("code")
        return Call(
            name,
            self._members.get(request["port"], "?"),
            request["at"],
            request["at"] if code else reply.get("at"),
            request["operation"],
            tuple(request["tags"]),
            code or reply.get("code") or reply.get("way", ""),
            reply.get("fault"),
            code is not None and code.isdecimal(),
            reply.get("units", {}),
            request.get("task") or reply.get("task"),
        )
