"""The stamp in front of a commit's metadata, and what it says of partitions that came later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.stamps import STAMP_CHARACTERS, Survey, stamp, survey, unstamped
from consumer.record import Position


counts = st.integers(1, 999_999)


@given(counts, st.text())
def test_a_stamp_comes_off_as_it_was_put_on(count: int, note: str) -> None:
    """Count and note come back, whatever the note is, and no stamp is longer than is allowed for."""
    stamped = stamp(count, note)
    assert unstamped(stamped) == (count, note)
    assert len(stamped) - len(note) <= STAMP_CHARACTERS


@given(st.text() | st.from_regex(r"p-?[0-9٣]*;?.*"))
def test_foreign_metadata_is_left_as_it_is(metadata: str) -> None:
    """What is no stamp of ours is a note without a count, and nothing of any metadata is lost."""
    count, note = unstamped(metadata)
    assert metadata == (note if count is None else f"p{count};{note}")


def test_damaged_stamps_are_not_read() -> None:
    """A count of nothing, one that is too long, or one that is cut off counts as none."""
    for metadata in ("", "p;", "p0;", "p03;x", "p1234567;x", "p3", "P3;", " p3;", "p٣;"):
        assert unstamped(metadata) == (None, metadata)


def test_a_group_without_offsets_starts_for_the_first_time() -> None:
    """Where nothing is committed no partition is new, and the topic's size of today is the count."""
    assert survey({0: None, 1: None, 2: None}) == Survey(3, unknown=True)


def test_partitions_from_the_count_on_are_new() -> None:
    """Without an offset, a partition below the count is no new one; the smallest of several counts is believed."""
    committed = {0: Position(9, "p3;x"), 1: None, 2: Position(1, "p5;"), 3: None, 4: None}
    assert survey(committed) == Survey(3, frozenset({3, 4}))


def test_without_a_readable_count_all_without_an_offset_are_new() -> None:
    """Where stamps were lost, whatever has no offset is read from its start, and goes on being new for others."""
    assert survey({0: Position(9, "foreign"), 1: None, 2: Position(1), 3: None}) == Survey(1, frozenset({1, 3}))
    assert survey({0: Position(9), 1: Position(3)}) == Survey(2)


@given(st.dictionaries(st.integers(0, 20), st.none() | st.builds(Position, st.integers(0), st.text(max_size=6))))
def test_no_partition_with_an_offset_is_new(committed: dict[int, Position | None]) -> None:
    """Only partitions without an offset can be new, and only from the count on."""
    found = survey(committed)
    assert all(committed[number] is None and number >= found.count for number in found.new)
