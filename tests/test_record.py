"""A Kafka record as plain data: what it is called, and what it weighs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.record import Partition, Position, Record


def make(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(Partition("ugc", 3), 17, 1_700_000_000_000, key, value, headers)


def test_a_record_is_named_by_its_place() -> None:
    """Logs and errors name a record as topic/partition@offset, and a partition as topic/partition."""
    record = make(None, None)
    assert str(record) == "ugc/3@17"
    assert str(record.partition) == "ugc/3"


@given(
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.lists(st.tuples(st.text(), st.binary()), max_size=3).map(tuple),
)
def test_the_size_counts_all_that_a_record_holds(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    """A record weighs its bytes and a fixed amount more, so that a memory budget bounds even empty records."""
    held = len(key or b"") + len(value or b"") + sum(len(name) + len(data) for name, data in headers)
    assert make(key, value, headers).size_bytes - held == make(None, None).size_bytes > 0


def test_a_position_without_a_note_is_a_bare_offset() -> None:
    """Offsets that another client committed have no metadata and are read all the same."""
    assert Position(5) == (5, "")
