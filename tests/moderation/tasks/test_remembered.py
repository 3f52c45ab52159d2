"""The view of what is remembered against a plain model of it, under any history of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.tasks.records import CallbackKey, Note, NoteKey, TaskKey, Tombstone
from consumer.moderation.tasks.remembered import KEPT_SECONDS, Remembered
from consumer.moderation.tasks.task import Callback, Place, Task


if TYPE_CHECKING:
    from collections.abc import Iterable


PLACES = [Place("ugc", 0, 1), Place("ugc", 1, 1), Place("posts", 0, 1)]
MARKS = ["f1", "f2"]
IDS = ["t1", "t2"]
NOW = 1_000_000.0

TASKS = st.builds(
    lambda place, mark, task_id: Task(place, mark, "s", task_id, (), NOW, NOW),
    st.sampled_from(PLACES),
    st.sampled_from(MARKS),
    st.sampled_from(IDS),
)
CALLBACKS = st.builds(Callback, st.sampled_from(PLACES), st.sampled_from(IDS), st.binary(min_size=1, max_size=2))
TOMBSTONES = st.builds(
    Tombstone,
    st.builds(TaskKey, st.sampled_from(PLACES), st.sampled_from(MARKS))
    | st.builds(CallbackKey, st.sampled_from(PLACES), st.sampled_from(IDS)),
)
# The age of a record when it is read, in seconds: the first two are young enough.
AGES = st.sampled_from([0.0, KEPT_SECONDS - 100, KEPT_SECONDS + 100])
HISTORIES = st.lists(st.tuples(TASKS | CALLBACKS | TOMBSTONES, AGES), max_size=25)


def key_of(item: Task | Callback | Tombstone) -> TaskKey | CallbackKey | NoteKey:
    if isinstance(item, Tombstone):
        return item.key
    if isinstance(item, Task):
        return TaskKey(item.place, item.fingerprint)
    return CallbackKey(item.place, item.task_id)


def check(view: Remembered, model: dict[Any, tuple[Task | Callback, float]], now: float) -> None:
    """Every question that can be asked of the view has the model's answer."""
    assert len(view) == len(model)
    kept: Iterable[Task | Callback] = [item for item, _ in model.values()]
    for place in PLACES:
        assert set(view.keys(place)) == {key for key in model if key.place == place}
        for mark in MARKS:
            found, at = model.get(TaskKey(place, mark), (None, 0.0))
            assert view.find(place, mark, now) == (found if at >= now - KEPT_SECONDS else None)
        for task_id in IDS:
            callback = Callback(place, task_id, b"")
            assert view.has(callback) == (key_of(callback) in model)
    for task_id in IDS:
        assert view.knows(task_id) == any(isinstance(item, Task) and item.task_id == task_id for item in kept)
        called = [item for item in kept if isinstance(item, Callback) and item.task_id == task_id]
        assert sorted(view.callbacks(task_id), key=lambda one: one.place) == sorted(called, key=lambda one: one.place)


@given(history=HISTORIES, replayed=st.integers(0, 25))
def test_the_view_is_what_its_records_add_up_to(history: list[tuple[Any, float]], replayed: int) -> None:
    """The last record of each key counts, old ones are as if deleted, and reading records again changes nothing."""
    view = Remembered()
    model: dict[Any, tuple[Task | Callback, float]] = {}
    for item, age in [*history[:replayed], *history]:
        view.apply(item, NOW - age, NOW)
    for item, age in history:
        model.pop(key_of(item), None)
        if not isinstance(item, Tombstone) and age < KEPT_SECONDS:
            model[key_of(item)] = (item, NOW - age)
    check(view, model, NOW)
    later = NOW + 200
    check(view, model, later)
    view.drop_old(later)
    check(view, {key: (item, at) for key, (item, at) in model.items() if at >= later - KEPT_SECONDS}, later)


def test_notes_are_kept_however_old_they_are() -> None:
    """A note stays until it is deleted, and the ones that nobody has written for long are found."""
    view = Remembered()
    old, new = (Note(NoteKey(("a", name)), b"x") for name in ("old", "new"))
    view.apply(old, NOW - 10 * KEPT_SECONDS, NOW)
    view.apply(new, NOW, NOW)
    view.apply(Note(NoteKey(("b", "1")), b"y"), NOW, NOW)
    view.drop_old(NOW)
    assert view.notes("a") == [old, new]
    assert view.old_notes(NOW - KEPT_SECONDS) == [old]
    assert len(view) == 3
    view.apply(Tombstone(old.key), NOW, NOW)
    assert view.notes("a") == [new]


def test_a_clock_that_runs_ahead_keeps_nothing_for_longer() -> None:
    """A record that claims to come from the future grows old from the moment it is read."""
    view = Remembered()
    view.apply(Task(PLACES[0], "f1", "s", "t1", (), NOW, NOW), NOW + 10**6, NOW)
    assert view.find(PLACES[0], "f1", NOW + KEPT_SECONDS - 1) is not None
    assert view.find(PLACES[0], "f1", NOW + KEPT_SECONDS + 1) is None
