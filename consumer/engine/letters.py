"""Dead letters, written and read back: the original record, byte for byte, with headers that say what failed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer import __version__
from consumer.record import OutRecord, Partition


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.errors import RecordError
    from consumer.record import Headers, Record


__all__ = [
    "HEADERS_BYTES",
    "HEADER_PREFIX",
    "LEAST_LIMIT_BYTES",
    "REPLAY_COUNT",
    "TRACE_HEADERS",
    "Letter",
    "dead_letter",
    "letter_of",
    "shortened",
]


HEADER_PREFIX = "moderation-"

HEADERS_BYTES = 16 * 1024
"""How much larger records a topic of dead letters should take than those that are read; ours need less than that."""

TRACE_HEADERS = ("traceparent", "tracestate")
"""Behind ours they say which trace the letter belongs to; those of the original go on with it where it is replayed."""

LEAST_LIMIT_BYTES = 8 * 1024
"""A shortened letter fits in so much, whatever the record was."""

REPLAY_COUNT = HEADER_PREFIX + "replay-count"
"""How often a record was replayed, in a header of the record itself; its dead letter has it among the original's."""

# The bounds that LEAST_LIMIT_BYTES rests on. What is longer is cut, and ends in an ellipsis.
ERROR_BYTES = 2048
NOTE_BYTES = 512
ELLIPSIS = "…".encode()

# Ours begin with the topic and stand behind the original's, which may have such names as well.
FIRST = HEADER_PREFIX + "topic"
NAMES = frozenset(
    HEADER_PREFIX + name
    for name in (
        "topic",
        "partition",
        "offset",
        "timestamp",
        "stage",
        "reason",
        "error",
        "attempts",
        "version",
        "request-id",
        "null-value",
        "truncated",
        "sha256",
        "headers-dropped",
        "key-dropped",
    )
)

_OURS = NAMES | frozenset(TRACE_HEADERS)


def dead_letter(topic: str, record: Record, error: RecordError) -> OutRecord:
    """The dead letter of a record: its key, value and headers unchanged, ours after them.

    Kafka takes no record without key and value, so a missing value is written empty and said in a header.
    """
    notes = {
        "topic": record.partition.topic,
        "partition": str(record.partition.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
        "stage": error.stage,
        "reason": error.reason,
        "error": str(error),
        "attempts": str(error.attempts),
        "version": __version__,
    }
    if error.request_id is not None:
        notes["request-id"] = error.request_id
    if record.value is None:
        notes["null-value"] = "true"
    return OutRecord(topic, record.key, record.value or b"", record.headers + _headers(notes))


def shortened(letter: OutRecord, limit_bytes: int, size: Callable[[OutRecord], int]) -> OutRecord:
    """A dead letter that its topic takes: as it is where it fits, else with less of the original in it.

    The value is cut as far as it must be, with its whole length and SHA-256 in headers. Where even no value is short
    enough, the original's headers are left out, and then its key; headers say that too. Such a letter cannot be
    replayed: what is left of it only helps to find the original.

    Args:
        letter: As `dead_letter` made it.
        limit_bytes: What the topic takes. From LEAST_LIMIT_BYTES on the result fits; below, it is as small as can be.
        size: What a record counts for against the limit; no byte of the value may count for less than one.
    """
    if size(letter) <= limit_bytes:
        return letter
    begin = _begin(letter.headers)
    value, original, ours = letter.value or b"", letter.headers[:begin], letter.headers[begin:]
    ours += _headers({"truncated": str(len(value)), "sha256": hashlib.sha256(value).hexdigest()})
    short = OutRecord(letter.topic, letter.key, b"", original + ours)
    if size(short) > limit_bytes and original:
        ours += _headers({"headers-dropped": str(len(original))})
        short = OutRecord(letter.topic, letter.key, b"", ours)
    if size(short) > limit_bytes and letter.key is not None:
        ours += _headers({"key-dropped": str(len(letter.key))})
        short = OutRecord(letter.topic, None, b"", ours)
    kept = min(len(value), limit_bytes - size(short))
    while kept > 0:
        cut = OutRecord(short.topic, short.key, value[:kept], short.headers)
        over = size(cut) - limit_bytes
        if over <= 0:
            return cut
        kept -= over  # the length of the value takes a few bytes too, more of them for a longer one
    return short


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that was read back.

    Attributes:
        record: The letter as it lies in its topic, our headers included.
        origin: The partition that the original came from.
        offset: The original's offset there.
        headers: The original's headers.
        notes: What our headers say, by their names without the prefix.
    """

    record: Record
    origin: Partition
    offset: int
    headers: Headers
    notes: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where the letter lies in its topic, as people name it: `partition@offset`."""
        return f"{self.record.partition.partition}@{self.record.offset}"

    @property
    def value(self) -> bytes | None:
        """The original's value, or what is left of it."""
        return None if "null-value" in self.notes else self.record.value or b""

    @property
    def truncated(self) -> bool:
        """Whether a part of the original is missing."""
        return "truncated" in self.notes

    @property
    def replays(self) -> int:
        """How often the original had been replayed when it became a dead letter."""
        counts = [value or b"" for name, value in self.headers if name == REPLAY_COUNT]
        return int(counts[-1]) if counts and counts[-1].isdigit() and len(counts[-1]) <= len("999999999") else 0

    @property
    def replayed_headers(self) -> Headers:
        """The headers of the original when it is replayed once more."""
        kept = tuple(header for header in self.headers if header[0] != REPLAY_COUNT)
        return (*kept, (REPLAY_COUNT, str(self.replays + 1).encode()))


def letter_of(record: Record) -> Letter | None:
    """The dead letter in a record that was read, or None where it is none of ours.

    Headers that others have put behind ours, such as what mirrors topics does, count as the original's.
    """
    begin = _begin(record.headers)
    theirs = record.headers[:begin] + tuple(header for header in record.headers[begin:] if header[0] not in _OURS)
    notes = {
        name.removeprefix(HEADER_PREFIX): (value or b"").decode(errors="replace")
        for name, value in record.headers[begin:]
        if name in NAMES
    }
    try:
        origin = Partition(notes["topic"], int(notes["partition"]))
        return Letter(record, origin, int(notes["offset"]), theirs, notes)
    except (KeyError, ValueError):
        return None


def _begin(headers: Headers) -> int:
    """Where our headers begin among those of a letter; behind the last one where there are none."""
    return next((at for at in range(len(headers) - 1, -1, -1) if headers[at][0] == FIRST), len(headers))


def _headers(notes: Mapping[str, str]) -> Headers:
    return tuple(
        (HEADER_PREFIX + name, _bounded(text, ERROR_BYTES if name == "error" else NOTE_BYTES))
        for name, text in notes.items()
    )


def _bounded(text: str, most_bytes: int) -> bytes:
    """The text in UTF-8, cut between two characters where it is too long."""
    encoded = text.encode(errors="backslashreplace")
    if len(encoded) <= most_bytes:
        return encoded
    return encoded[: most_bytes - len(ELLIPSIS)].decode(errors="ignore").encode() + ELLIPSIS
