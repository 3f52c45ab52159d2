"""Tests of the note beside a committed offset: what it says comes back, and it never outgrows what brokers take."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.notes import Note, budget_bytes, read, write
from consumer.engine.offset_map import BUDGET_BYTES, OffsetMap, fits
from consumer.engine.offsets import OffsetTracker, Slot


@given(
    base=st.integers(0, 2**62),
    relative=st.sets(st.integers(0, 30_000), max_size=300),
    beyond=st.integers(1, 100_000),
)
def test_what_was_noted_comes_back(base: int, relative: set[int], beyond: int) -> None:
    """Every offset above the commit is known as done or unfinished exactly as it was."""
    unfinished = sorted(base + one for one in relative)
    end = (unfinished[-1] if unfinished else base) + beyond
    note = read(base, write(base, Note(OffsetMap(end, unfinished))))
    assert note is not None
    found = note.done
    assert found is not None
    assert found.end == end
    assert found.unfinished == tuple(unfinished)
    assert not found.done(end)
    assert found.done(end - 1) == (end - 1 not in relative and end - 1 not in unfinished)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()))
def test_foreign_and_damaged_notes_say_nothing(note: str) -> None:
    """Whatever stands in a commit's metadata, reading it fails no start; what is not ours is ignored."""
    found = read(1000, note)
    if found is not None and found.done is not None:
        assert all(1000 <= offset < found.done.end for offset in found.done.unfinished)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_note_cut_short_says_nothing(cut: int) -> None:
    """A note that lost its end is ignored as a whole, since half of it would call unfinished records done."""
    raw = base64.b64decode(write(0, Note(OffsetMap(64, list(range(0, 64, 2))))))
    found = read(0, base64.b64encode(raw[:-cut]).decode())
    assert found is None or found.done is None


def test_notes_of_other_versions_say_nothing() -> None:
    """A note by a later version of this program is not guessed at."""
    raw = base64.b64decode(write(0, Note(OffsetMap(8, [0, 3]))))
    assert read(0, base64.b64encode(bytes((3,)) + raw[1:]).decode()) is None


@given(
    base=st.integers(0, 2**62),
    deaths=st.integers(0, 255),
    suspect=st.none() | st.integers(0, 2**40),
    mapped=st.booleans(),
)
def test_deaths_and_suspects_come_back(base: int, deaths: int, suspect: int | None, *, mapped: bool) -> None:
    """How often the process died without progress, and which record was tried alone, is read as it was written."""
    note = Note(
        OffsetMap(base + 9, [base + 1]) if mapped else None, deaths, None if suspect is None else base + suspect
    )
    found = read(base, write(base, note))
    assert found is not None
    assert (found.deaths, found.suspect) == (note.deaths, note.suspect)
    assert (found.done is None) == (note.done is None)


def longest_note(tracker: OffsetTracker) -> str:
    """What a commit would say now, with all that can stand beside it."""
    position, done = tracker.outlook()
    return write(position, Note(done, 255, position + 2**62))


@pytest.mark.parametrize("seed", range(60))
def test_what_was_admitted_can_always_be_noted(seed: int) -> None:
    """In whatever order records finish, with gaps and stuck records, no note is longer than 4,096 characters."""
    chance = random.Random(seed)
    tracker = OffsetTracker(0)
    slots: list[Slot] = []
    offset, admitted = -1, 0
    stuck = chance.random() * chance.choice([0.01, 0.1, 0.5])
    for _ in range(chance.randrange(2_000, 40_000)):
        offset += chance.choice([1, 1, 1, 1, 2, 50]) if chance.random() < 0.2 else 1
        if not tracker.fits(offset):
            offset -= 1
            if not slots:
                break
            tracker.finish(slots.pop(chance.randrange(len(slots))))
            continue
        slot = tracker.admit(offset, 0.0)
        assert slot is not None
        admitted += 1
        if chance.random() < stuck:
            continue
        slots.append(slot)
        if len(slots) > chance.choice([1, 10, 500]):
            tracker.finish(slots.pop(chance.randrange(len(slots))))
    assert len(longest_note(tracker)) <= 4096
    for slot in slots:
        tracker.finish(slot)
    assert len(longest_note(tracker)) <= 4096
    assert admitted > 100


def test_the_budget_has_room_for_a_thousand_open_records() -> None:
    """Kafka's own limit leaves room for 1,014 unfinished records over any usual span, or any pattern over 24,384."""
    assert BUDGET_BYTES == budget_bytes(4096) == 3048
    assert fits(1_000_000, 1014)
    assert not fits(1_000_000, 1030)
    assert fits(24_384, 24_384)


def test_what_an_earlier_life_did_is_noted_again() -> None:
    """Records known as done from a note are in the next note too, as long as something below them is unfinished."""
    tracker = OffsetTracker(10, known=OffsetMap(15, [10, 13]))
    first = tracker.admit(10, 0.0)
    assert first is not None
    assert [tracker.admit(offset, 0.0) for offset in (11, 12)] == [None, None]
    position, done = tracker.outlook()
    assert done is not None
    assert position == 10
    assert [done.done(offset) for offset in range(10, 16)] == [False, True, True, False, True, False]
    tracker.finish(first)
    position, done = tracker.outlook()
    assert done is not None
    assert position == 13
    assert [done.done(offset) for offset in range(13, 16)] == [False, True, False]
    second = tracker.admit(13, 0.0)
    assert second is not None
    assert tracker.admit(14, 0.0) is None
    tracker.finish(second)
    assert tracker.outlook() == (15, None)


@given(st.data())
def test_lives_that_end_early_forget_nothing(data: st.DataObject) -> None:
    """Through any number of lives that each get on a little, no record that was done once is worked on again."""
    log = sorted(data.draw(st.sets(st.integers(0, 400), min_size=1, max_size=120)))
    done: set[int] = set()
    position, known = 0, None
    for _ in range(data.draw(st.integers(1, 5))):
        tracker = OffsetTracker(position, known=known)
        reach = data.draw(st.integers(0, len(log)))
        slots = []
        for offset in [one for one in log if one >= position][:reach]:
            if not tracker.fits(offset):
                break
            slot = tracker.admit(offset, 0.0)
            if slot is not None:
                assert offset not in done
                slots.append(slot)
        for slot in data.draw(st.permutations(slots)) if slots else []:
            if data.draw(st.booleans()):
                tracker.finish(slot)
                done.add(slot.offset)
        position, known = tracker.outlook()
        assert all(one in done for one in log if one < position)
        text = write(position, Note(known))
        note = read(position, text)
        assert note is not None
        known = note.done
