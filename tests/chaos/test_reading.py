"""Tests of reading back what a run left: commits as Kafka keeps them, outcomes, and the service's journal."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import orjson
import pytest

from chaos.events import NUMBER
from chaos.history import Stall
from chaos.malformed import Checked, record
from chaos.reading import Journal, Read, commit, outcome
from consumer.engine import notes
from consumer.engine.letters import dead_letter
from consumer.engine.offset_map import OffsetMap
from consumer.errors import DecodeError
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from pathlib import Path


class Message:
    """A record as the client hands it over."""

    def __init__(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        self._key, self._value, self._headers = key, value, headers

    def topic(self) -> str:
        return "verdicts"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 42

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_500

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._headers)


def string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def committed(metadata: str, *, group: str = "g", version: int = 3) -> Read:
    """A commit of offset 100 of partition 2 of topic t, as brokers of several times keep it."""
    key = struct.pack(">h", 1) + string(group) + string("t") + struct.pack(">i", 2)
    value = struct.pack(">hq", version, 100)
    if version >= 3:
        value += struct.pack(">i", 5)  # the leader's epoch
    value += bytes((len(metadata) + 1,)) + metadata.encode() if version >= 4 else string(metadata)
    return Read(Message(key, value + struct.pack(">q", 1_600)))


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_commit_is_read_with_its_map(version: int) -> None:
    """Offset, time and map of a commit are read whatever version of the record the broker writes."""
    note = "p3;" + notes.write(100, notes.Note(OffsetMap(105, [100, 103])))
    found = commit(committed(note, version=version), "g", "t")
    assert found is not None
    assert (found.at, found.partition, found.offset) == (1.6, 2, 100)
    assert [offset for offset in range(98, 107) if found.covers(offset)] == [98, 99, 101, 102, 104]


def test_other_records_of_the_offsets_topic_are_left_out() -> None:
    """Commits of other groups, deleted ones, and the groups' own records are no commits of ours."""
    assert commit(committed("", group="other"), "g", "t") is None
    assert commit(Read(Message(committed("").key, None)), "g", "t") is None
    assert commit(Read(Message(struct.pack(">h", 2) + string("g"), b"members")), "g", "t") is None


def test_a_dead_letter_is_read_with_its_place_and_its_own_headers() -> None:
    """A dead letter says which record it is of, and has the record's own bytes, key and headers."""
    bad = Record(Partition("t", 3), 17, 0, b"k", b"{", (("number", b"5"),))
    made = dead_letter("letters", bad, DecodeError("no JSON"))
    found = outcome(Read(Message(made.key, made.value, made.headers)))
    assert (found.kind, found.place, found.value, found.key) == ("dead letter", (3, 17), b"{", b"k")
    assert found.headers == (("number", b"5"),)


def test_the_journal_tells_calls_and_who_made_them(tmp_path: Path) -> None:
    """Calls are joined with their answers; one that is still under way has none, and half a line is not there yet."""
    lines = [
        {"at": 1.0, "port": 7001, "operation": "TextModerationPlus", "tags": ["e1"], "in": "A", "task": None},
        {"at": 1.1, "port": 7002, "operation": "TextModerationPlus", "tags": ["e2"], "in": "B", "code": "588"},
        {"at": 1.2, "port": 7002, "operation": "TextModerationPlus", "tags": ["e3"], "in": "C", "task": None},
        {"late": 0.4, "at": 1.3},
        {"out": "A", "at": 1.4, "way": "whole", "units": {"text": 1}, "code": "200", "task": None},
    ]
    path = tmp_path / "service.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines) + b'{"at":1.5,"po')
    journal = Journal(path, {7001: "m1", 7002: "m2"})
    first, refused, hanging = journal.calls()
    assert (first.member, first.answered, first.code, first.billed) == ("m1", 1.4, "200", True)
    assert (refused.member, refused.refused, refused.billed) == ("m2", True, False)
    assert (hanging.answered, hanging.billed) == (None, False)
    assert journal.last_caller() == "m2"
    assert journal.stalls() == [Stall(1.3, 0.4)]


def test_each_of_many_records_is_held_against_what_was_written() -> None:
    """Verdicts and dead letters are taken by their numbers; other bytes, other kinds and missing ones are noticed."""
    checked = Checked(4)
    place: dict[str, object] = {
        "record": {"partition": 0, "offset": 1},
        "source": "service",
        "billed": [],
        "action": "pass",
        "request_ids": [],
        "task_id": None,
    }
    for number in (1, 2):
        _, key = record(number)
        value = orjson.dumps({"event_id": f"e{number:07d}", **place})
        checked.take(Read(Message(key, value, ((NUMBER, b"%d" % number),))))
    assert (checked.missing, checked.repeated, checked.wrong) == (2, 0, [])
    value, key = record(3)
    letter = dead_letter("letters", Record(Partition("t", 0), 3, 0, key, value + b" "), DecodeError("no"))
    for _ in range(2):
        checked.take(Read(Message(key, letter.value, ((NUMBER, b"3"), *letter.headers))))
    assert (checked.missing, checked.repeated) == (1, 1)
    assert checked.wrong == ["record 3 is a dead letter with other bytes"] * 2
