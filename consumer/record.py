"""A Kafka record and its place, as plain data, so that nothing but `consumer.kafka` needs a Kafka client."""

from __future__ import annotations

from typing import NamedTuple

from consumer.frozen import frozen


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


@frozen
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
        size_bytes = 256 + len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size_bytes += len(name) + len(value or b"")
        return size_bytes

    def __str__(self) -> str:
        return f"{self.partition.topic}/{self.partition.partition}@{self.offset}"


@frozen
class OutRecord:
    """One record to be written; the broker gives it its timestamp."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
