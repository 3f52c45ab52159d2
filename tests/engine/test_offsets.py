"""Tests of the offset tracker: a commit never passes an unfinished record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.offsets import OffsetTracker


@given(
    gaps=st.lists(st.integers(1, 5), max_size=60),
    order=st.randoms(use_true_random=False),
    start=st.integers(0, 10**12),
)
def test_the_position_never_passes_an_unfinished_offset(gaps: list[int], order: object, start: int) -> None:
    """In whatever order records finish, and whatever gaps the log has, the position is the lowest unfinished offset."""
    tracker = OffsetTracker(start)
    offset, slots = start - 1, []
    for gap in gaps:
        offset += gap
        slot = tracker.admit(offset, 0.0)
        assert slot is not None
        slots.append(slot)
    left = list(slots)
    order.shuffle(left)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    while left:
        assert tracker.position == min(slot.offset for slot in left)
        assert tracker.unfinished == len(left)
        tracker.finish(left.pop())
    assert tracker.position == (offset + 1 if slots else start)
    assert tracker.oldest is None


def test_what_was_delivered_before_is_not_taken_twice() -> None:
    """A record that comes again, as after a rebalance, is dropped."""
    tracker = OffsetTracker(5)
    assert tracker.admit(4, 0.0) is None
    assert tracker.admit(7, 0.0) is not None
    assert tracker.admit(7, 0.0) is None
    assert tracker.admit(6, 0.0) is None


def test_finishing_twice_is_finishing_once() -> None:
    """A second acknowledgement of the same record changes nothing."""
    tracker = OffsetTracker(0)
    first, second = tracker.admit(0, 1.0), tracker.admit(1, 2.0)
    assert first is not None
    assert second is not None
    tracker.finish(second)
    tracker.finish(second)
    assert (tracker.position, tracker.unfinished) == (0, 1)
    assert tracker.oldest is first
    tracker.finish(first)
    assert (tracker.position, tracker.unfinished) == (2, 0)
