"""Tests of reading records from files: what is a record, and what is said where there is none."""

from __future__ import annotations

import gzip
import io

import pytest

from consumer.estimate.corpus import Corpus
from consumer.estimate.reading import FileError, read_file
from consumer.record import Partition


Found = list[tuple[Partition, int, int, bytes | None, bytes | None]]


def read(content: bytes, name: str = "records.jsonl", *, envelope: bool = False, since: int = -1) -> Found:
    with Corpus() as corpus:
        read_file(
            io.BytesIO(content),
            name,
            corpus,
            topic="ugc",
            envelope=envelope,
            wanted=lambda timestamp: timestamp >= since,
        )
        corpus.close()
        return [
            (*corpus.place(number), (record := corpus.read(number, 0)).timestamp, record.key, record.value)
            for number in range(len(corpus))
        ]


def test_each_line_is_a_value_at_the_place_of_its_line() -> None:
    """Lines are values as they are, JSON or not; empty ones are none, and places count all lines from 1."""
    assert read(b'{"id": 1}\n\n  \r\nnot JSON\n{"id": 2}') == [
        (Partition("ugc", 0), 1, -1, None, b'{"id": 1}'),
        (Partition("ugc", 0), 4, -1, None, b"not JSON"),
        (Partition("ugc", 0), 5, -1, None, b'{"id": 2}'),
    ]


def test_a_name_in_gz_is_unpacked() -> None:
    """A file whose name says so is unpacked, and one that is damaged is named with the line it broke at."""
    packed = gzip.compress(b"".join(b'{"id": %d}\n' % number for number in range(5000)))
    assert len(read(packed, "records.jsonl.gz")) == 5000
    with pytest.raises(FileError, match=r"records\.jsonl\.gz:\d+: "):
        read(packed[:-400], "records.jsonl.gz")
    with pytest.raises(FileError, match=r"records\.jsonl\.gz:1: "):
        read(b'{"id": 1}\n', "records.jsonl.gz")


def test_lines_of_kcat_and_rpk_are_whole_records() -> None:
    """`--envelope` reads what kcat -J and rpk print, null values, values that are JSON, and only what is known."""
    kcat = b'{"topic":"a","partition":3,"offset":7,"tstype":"create","ts":99,"key":"k","payload":"{\\"id\\":1}"}'
    rpk = b'{"topic":"b","key":"k","value":"{}","timestamp":1000,"partition":1,"offset":2}'
    assert read(b"\n".join((kcat, rpk, b'{"payload":null}', b'{"value":{"id":1}}')), envelope=True) == [
        (Partition("a", 3), 7, 99, b"k", b'{"id":1}'),
        (Partition("b", 1), 2, 1000, b"k", b"{}"),
        (Partition("ugc", 0), 3, -1, None, None),
        (Partition("ugc", 0), 4, -1, None, b'{"id":1}'),
    ]


def test_only_what_is_wanted_is_kept() -> None:
    """Records of other times are left out."""
    lines = b"\n".join(b'{"value":"{}","timestamp":%d}' % at for at in (1, 5, 9))
    assert [found[2] for found in read(lines, envelope=True, since=5)] == [5, 9]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id": 1', "not JSON"),
        (b'{"id": "secret words"}', "without --envelope"),
        (b'["secret words"]', "without --envelope"),
        (b'{"value": "x", "partition": "1"}', "partition is no whole number"),
        (b'{"value": "x", "partition": true}', "partition is no whole number"),
        (b'{"value": "x", "partition": 10000000}', "no topic has a partition"),
        (b'{"value": "x", "offset": -1}', "offset is no whole number"),
        (b'{"value": "x", "timestamp": "2026"}', "timestamp is no whole number"),
        (b'{"value": "x", "topic": 5}', "topic is no text"),
    ],
)
def test_a_line_that_is_no_record_is_named(line: bytes, said: str) -> None:
    """What cannot be a record is told with file and line, and without its content."""
    with pytest.raises(FileError, match=r"records\.jsonl:2: ") as caught:
        read(b'{"value": "{}"}\n' + line, envelope=True)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
