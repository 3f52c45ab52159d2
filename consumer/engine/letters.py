"""Dead letters: the original record, byte for byte, with headers that say what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer import __version__
from consumer.record import OutRecord


if TYPE_CHECKING:
    from consumer.errors import RecordError
    from consumer.record import Record


__all__ = ["HEADER_PREFIX", "dead_letter"]


HEADER_PREFIX = "moderation-"


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
    ours = tuple((HEADER_PREFIX + name, text.encode()) for name, text in notes.items())
    return OutRecord(topic, record.key, record.value or b"", record.headers + ours)
