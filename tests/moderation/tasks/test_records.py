"""Properties of the records of the state topic: what is written comes back, and any bytes are harmless."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.tasks.records import (
    VERSION,
    CallbackKey,
    Note,
    NoteKey,
    TaskKey,
    Tombstone,
    Unreadable,
    decode,
    encode_callback,
    encode_key,
    encode_note,
    encode_task,
    is_note,
)
from consumer.moderation.tasks.task import Callback, Place, Task, fingerprint
from consumer.record import Partition, Record
from consumer.verdict import Billed


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAME = TEXT.filter(bool)
PLACES = st.builds(Place, TEXT, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
MOMENTS = st.floats(0, 4e9)
PATHS = st.lists(st.integers(0, 1000), max_size=2).map(tuple)
AMOUNTS = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False) | st.just(Decimal(1) / 3)
BILLS = st.builds(Billed, TEXT, st.integers(0, 10**6), AMOUNTS, TEXT, AMOUNTS)
TASKS = st.builds(
    Task,
    place=PLACES,
    fingerprint=NAME,
    service=TEXT,
    task_id=TEXT,
    path=PATHS,
    submitted_at=MOMENTS,
    next_poll_at=MOMENTS,
    attempts=st.integers(1, 100),
    billed=st.lists(BILLS, max_size=2).map(tuple),
    request_id=st.none() | TEXT,
    last_path=st.none() | PATHS,
)
CALLBACKS = st.builds(Callback, PLACES, NAME, st.binary(min_size=1, max_size=200))
NOTES = st.builds(Note, st.builds(NoteKey, st.lists(TEXT, min_size=1, max_size=4).map(tuple)), st.binary(max_size=50))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

TASK = Task(
    Place("ugc.posts", 7, 2**40),
    "0f" * 16,
    "post_text_image_detection",
    "t1",
    (2, 0),
    1_767_323_045.25,
    1_767_323_075.25,
    3,
    (Billed("multimodal", 2, Decimal("0.0125"), "CNY", Decimal("2.5")),),
    "R-1",
    (2, 4),
)


def changed(**values: Any) -> bytes:
    """The value of a task's record with other values."""
    return orjson.dumps(orjson.loads(encode_task(TASK)[1]) | values)


def read(key: bytes | None, value: bytes | None) -> str:
    """Whether a record is read, or why not."""
    try:
        decode(key, value)
    except Unreadable as unreadable:
        return unreadable.reason
    return "read"


@given(task=TASKS)
def test_a_task_comes_back_as_it_was_written(task: Task) -> None:
    """Every field of a task survives being written and read, to the last digit."""
    key, value = encode_task(task)
    assert decode(key, value) == task
    assert decode(key, None) == Tombstone(TaskKey(task.place, task.fingerprint))


@given(callback=CALLBACKS)
def test_a_callback_comes_back_byte_for_byte(callback: Callback) -> None:
    """Place, task and content of a callback survive, whatever characters its id is made of."""
    key, value = encode_callback(callback)
    assert decode(key, value) == callback
    assert decode(key, None) == Tombstone(CallbackKey(callback.place, callback.task_id))


@given(note=NOTES)
def test_a_note_comes_back_as_it_was_written(note: Note) -> None:
    """Key and value of a note survive, whatever characters the parts of its key are made of."""
    key, value = encode_note(note)
    assert is_note(key)
    assert decode(key, value) == note
    assert decode(key, None) == Tombstone(note.key)


@given(one=TASKS, other=TASKS, callback=CALLBACKS)
def test_keys_are_told_apart(one: Task, other: Task, callback: Callback) -> None:
    """Two events, or two parts of an event, never share a key, and a callback never has a task's."""
    keys = [encode_task(one)[0], encode_task(other)[0], encode_callback(callback)[0]]
    same = (one.place, one.fingerprint) == (other.place, other.fingerprint)
    assert len(set(keys)) == (2 if same else 3)


def test_keys_are_written_for_people() -> None:
    """A key says in plain words what it is of, so that the topic can be looked through with Kafka's own tools."""
    assert encode_task(TASK)[0] == f"task/ugc.posts/7/{2**40}/{'0f' * 16}".encode()
    assert encode_callback(Callback(TASK.place, "t/1", b"{}"))[0] == f"callback/ugc.posts/7/{2**40}/t%2F1".encode()
    assert encode_key(NoteKey(("budget", "chat", "CNY"))) == b"note/budget/chat/CNY"


def test_every_field_of_a_task_is_written() -> None:
    """No field of a task is left out of its record: each is in the value, or in the key."""
    written = set(orjson.loads(encode_task(TASK)[1])) | {"place", "fingerprint"}
    assert written == {field.name for field in fields(Task)} | {"version"}


@given(key=st.none() | st.binary(max_size=60), value=st.none() | st.binary(max_size=60))
def test_any_bytes_are_harmless(key: bytes | None, value: bytes | None) -> None:
    """Whatever the bytes of a record are, it is read, or refused with a reason, and nothing else happens."""
    assert read(key, value) in {"read", "damaged", "unknown"}


@given(data=st.data(), damage=JSON)
def test_any_damage_to_a_task_is_harmless(data: st.DataObject, damage: Any) -> None:
    """Whatever JSON stands in place of a task's value or of one of its fields, a task comes out of it, or a reason."""
    name = data.draw(st.sampled_from(["", *orjson.loads(encode_task(TASK)[1])]))
    key, value = encode_task(TASK)[0], changed(**{name: damage}) if name else orjson.dumps(damage)
    if read(key, value) == "read":
        found = decode(key, value)
        assert isinstance(found, Task)
        assert decode(*encode_task(found)) == found
    else:
        assert read(key, value) in {"damaged", "version"}


@given(data=st.data())
def test_a_record_cut_short_is_damaged(data: st.DataObject) -> None:
    """A value that ends too early is never taken for a task."""
    key, value = encode_task(TASK)
    with pytest.raises(Unreadable, match="damaged"):
        decode(key, value[: data.draw(st.integers(0, len(value) - 1))])


def test_fields_of_a_later_version_are_ignored() -> None:
    """A field that is not known yet changes nothing: a newer process may have written it."""
    assert decode(encode_task(TASK)[0], changed(colour="blue", more={"a": [1]})) == TASK


@pytest.mark.parametrize("version", [VERSION + 1, 2**40])
def test_a_later_version_is_left_alone(version: int) -> None:
    """A record that says it is of a later version is not guessed at."""
    with pytest.raises(Unreadable, match="version"):
        decode(encode_task(TASK)[0], changed(version=version))


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "1e999999999", "1E-99999999", "0" * 200, "", "one", 1, None, ["1"]]
)
def test_an_amount_that_is_none_is_damage(amount: Any) -> None:
    """What is no amount of money, or one that would fill the memory when written out, does not get in."""
    bill = {"moderation_type": "m", "units": 1, "cost": amount, "currency": "CNY", "plan_units": "0"}
    with pytest.raises(Unreadable, match="damaged"):
        decode(encode_task(TASK)[0], changed(billed=[bill]))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "unknown"),
        (b"budget/2026-01-02", "unknown"),
        (b"task/ugc/0/1", "unknown"),
        (b"task/ugc/0/01/f", "unknown"),
        (b"task/ugc/-1/1/f", "unknown"),
        (b"task/ugc/0/1/a%2fb", "damaged"),
        (b"task/ugc/0/1/%41", "damaged"),
        (b"task/ugc/0/1/%ff", "damaged"),
        (b"callback/ugc/0/1/\xff", "damaged"),
    ],
)
def test_a_key_of_another_kind_or_spelling_is_not_used(key: bytes, reason: str) -> None:
    """A key that we would not have written like this could not be deleted by us, so it is as if it were not there."""
    with pytest.raises(Unreadable, match=reason):
        decode(key, encode_task(TASK)[1])


def test_nothing_of_the_content_is_in_a_task() -> None:
    """A fingerprint tells records apart by each of its parts and by group, and shows nothing of them."""
    record = Record(Partition("ugc", 0), 1, 1000, b"key", b"the content", ())
    marks = {
        fingerprint(record, "posts", "group"),
        fingerprint(record, "posts", "another group"),
        fingerprint(record, "comments", "group"),
        fingerprint(replace(record, key=b"other"), "posts", "group"),
        fingerprint(replace(record, value=b"other"), "posts", "group"),
        fingerprint(replace(record, timestamp=1001), "posts", "group"),
        fingerprint(replace(record, key=b"keyt", value=b"he content"), "posts", "group"),
    }
    assert len(marks) == 7
    assert fingerprint(replace(record, offset=2), "posts", "group") in marks
    assert all(len(mark) == 32 for mark in marks)


def test_a_long_group_id_is_no_trouble() -> None:
    """A group id may be longer than the digest's own key."""
    record = Record(Partition("ugc", 0), 1, 1000, None, None, ())
    assert fingerprint(record, "r", "g" * 300) != fingerprint(record, "r", "g" * 301)


def test_keys_of_tombstones_are_those_of_their_records() -> None:
    """A tombstone deletes exactly the record that was written under its key."""
    assert encode_key(TaskKey(TASK.place, TASK.fingerprint)) == encode_task(TASK)[0]
    callback = Callback(TASK.place, "t1", b"x")
    assert encode_key(CallbackKey(TASK.place, "t1")) == encode_callback(callback)[0]
