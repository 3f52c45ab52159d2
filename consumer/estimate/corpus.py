"""The records that an estimate is made of, kept where there is room for them and read as often as it takes."""

from __future__ import annotations

import os
import struct
from array import array
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Self

from consumer.frozen import frozen
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["Block", "Corpus", "Given"]


_HEAD = struct.Struct("<ii")
_NULL = -1


@frozen
class Given(Record):
    """A record as it is replayed: its number in the corpus, and its offset counted in its partition from 0."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A run of the corpus that is replayed by itself: numbers from `start` until before `stop`.

    What is counted are those from `first` until before `last`. The others are there so that these meet what they would
    have met: others of their threads, and a quota in use. From `known_from` until before `start` stands what may be
    known already when it begins.
    """

    known_from: int
    start: int
    first: int
    last: int
    stop: int

    @classmethod
    def whole(cls, records: int) -> Self:
        """All of so many records."""
        return cls(0, 0, 0, records, records)

    @property
    def counted(self) -> int:
        """How many records are counted."""
        return self.last - self.first


class Corpus:
    """Records in the order in which they come. Use it as a context manager: what it keeps goes with it.

    Keys and values are in a file without a name, on the disk of temporary files. It can be read by several processes
    that were forked after the last record was added.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  # closed by `__exit__`
        self._written = 0
        self._places = array("Q")
        self._sizes = array("I")
        self._stamps = array("q")
        self._offsets = array("q")
        self._lanes = array("H")
        self._numbers: dict[Partition, int] = {}
        self._partitions: list[Partition] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, record: Record) -> None:
        """Put a record behind the others; its headers are left out."""
        lane = self._numbers.get(record.partition)
        if lane is None:
            lane = self._numbers[record.partition] = len(self._partitions)
            self._partitions.append(record.partition)
        key, value = record.key, record.value
        entry = b"".join(
            (
                _HEAD.pack(_NULL if key is None else len(key), _NULL if value is None else len(value)),
                key or b"",
                value or b"",
            )
        )
        self._file.write(entry)
        self._places.append(self._written)
        self._sizes.append(len(entry))
        self._stamps.append(record.timestamp)
        self._offsets.append(record.offset)
        self._lanes.append(lane)
        self._written += len(entry)

    def close(self) -> None:
        """All records are there: they can be read now."""
        self._file.flush()

    def sort(self) -> None:
        """Put all records into the order of their timestamps."""
        stamps = self._stamps
        if any(stamps[at - 1] > stamps[at] for at in range(1, len(stamps))):
            order = sorted(range(len(stamps)), key=stamps.__getitem__)
            for column in (self._places, self._sizes, self._stamps, self._offsets, self._lanes):
                column[:] = array(column.typecode, [column[number] for number in order])

    def times(self, start: int, stop: int) -> tuple[int, int]:
        """The first and the last timestamp of some records, in milliseconds since the epoch; -1 where one has none."""
        stamps = self._stamps[start:stop]
        return min(stamps), max(stamps)

    def timestamp(self, number: int) -> int:
        """The timestamp of a record, in milliseconds since the epoch; -1 where it has none."""
        return self._stamps[number]

    def lanes(self, start: int, stop: int) -> dict[Partition, array[int]]:
        """The numbers of the records of each partition."""
        numbers = [array("Q") for _ in self._partitions]
        lanes = self._lanes
        for number in range(start, stop):
            numbers[lanes[number]].append(number)
        return {self._partitions[lane]: found for lane, found in enumerate(numbers) if found}

    def place(self, number: int) -> tuple[Partition, int]:
        """Where a record came from: its partition, and the offset that it was added with."""
        return self._partitions[self._lanes[number]], self._offsets[number]

    def read(self, number: int, offset: int) -> Given:
        """The record of this number, with this offset instead of its own."""
        entry = os.pread(self._file.fileno(), self._sizes[number], self._places[number])
        key_bytes, value_bytes = _HEAD.unpack_from(entry)
        value_at = _HEAD.size + max(0, key_bytes)
        return Given(
            self._partitions[self._lanes[number]],
            offset,
            self._stamps[number],
            None if key_bytes == _NULL else entry[_HEAD.size : value_at],
            None if value_bytes == _NULL else entry[value_at:],
            number=number,
        )
