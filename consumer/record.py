"""A Kafka record and its place, as plain data, so that nothing but `consumer.kafka` needs a Kafka client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


__all__ = ["Headers", "OutRecord", "Partition", "Position", "Record"]


Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Position(NamedTuple):
    """What a group has committed for a partition: the next offset to read, and a note of ours beside it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read; `timestamp` is in milliseconds since the epoch, as Kafka has it."""

    partition: Partition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        """What this record costs in memory while it waits: its key and value, headers, and the objects around them."""
        return (
            256
            + len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(value or b"") for name, value in self.headers)
        )

    def __str__(self) -> str:
        return f"{self.partition.topic}/{self.partition.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class OutRecord:
    """One record to be written; the broker gives it its timestamp."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
