"""Records from a file: the value of one in each line, or all of one as kcat and rpk print them."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Any

import orjson

from consumer.record import Partition, Record


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.estimate.corpus import Corpus


__all__ = ["FileError", "read_file"]


_NO_TIME = -1
_MOST_PARTITIONS = 1_000_000


class FileError(Exception):
    """A file cannot be read: its message says where and why."""


def read_file(
    file: IO[bytes],
    name: str,
    corpus: Corpus,
    *,
    topic: str,
    envelope: bool,
    wanted: Callable[[int], bool],
    tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Add all records of a file to a corpus. Lines without anything are passed over.

    A line is the value of a record of `topic`, at partition 0 and at the line's number, without key and timestamp. With
    `envelope` it is a JSON object that has all of these: `value` or `payload` (text, JSON, or null), and, if known,
    `key`, `timestamp` or `ts` in milliseconds, `topic`, `partition` and `offset`.

    Args:
        file: The file, which is unpacked if its name ends in `.gz`.
        name: What people call it.
        corpus: Where its records go.
        topic: The topic of records that name none.
        envelope: Whether lines are whole records.
        wanted: Whether a record of this timestamp is to be added; not asked of those without one.
        tell: Told of the bytes that were read since.

    Raises:
        FileError: it cannot be read, or a line is no such record; content is not quoted.
    """
    told = 0
    for number, line in _lines(file, name):
        record = (
            _record(line, f"{name}:{number}", topic, number)
            if envelope
            else Record(Partition(topic, 0), number, _NO_TIME, None, line)
        )
        if record.timestamp == _NO_TIME or wanted(record.timestamp):
            corpus.add(record)
        if number % 1000 == 0 and file.seekable():
            tell((at := file.tell()) - told)
            told = at


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    lines: IO[bytes] = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file  # type: ignore[assignment]  # it is one
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if whole := line.strip():
                yield number, whole
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{name}:{number + 1}: {error}") from error


def _record(line: bytes, at: str, topic: str, number: int) -> Record:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise FileError(f"{at}: not JSON: {error.msg}") from None
    if not isinstance(found, dict) or not ("value" in found or "payload" in found):
        raise FileError(f"{at}: no object with a value or payload; without --envelope each line is a record's value")
    place = Partition(
        _is(str, found.get("topic", topic), at, "topic"), _count(found.get("partition", 0), at, "partition")
    )
    if place.partition >= _MOST_PARTITIONS:
        raise FileError(f"{at}: no topic has a partition {place.partition}")
    timestamp = found.get("timestamp", found.get("ts"))
    return Record(
        place,
        _count(found.get("offset", number), at, "offset"),
        _NO_TIME if timestamp is None else _count(timestamp, at, "timestamp"),
        _bytes(found.get("key")),
        _bytes(found["value"] if "value" in found else found["payload"]),
    )


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _is(kind: type[str], value: Any, at: str, name: str) -> str:
    if not isinstance(value, kind):
        raise FileError(f"{at}: {name} is no text")
    return value


def _count(value: Any, at: str, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise FileError(f"{at}: {name} is no whole number of 0 or more")
    return value
