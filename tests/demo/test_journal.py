"""The journal: what was sent and what was read back, matched in any order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from consumer.demo.generator import Expectation
from consumer.demo.journal import Answer, Journal, Place
from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Callable


HIGH = Expectation("verdict", "high")
TORN = Expectation("dead_letter", stage="decode")
TOMBSTONE = Expectation("skipped")
RIGHT = {HIGH: Answer(dead_letter=False, detail="high"), TORN: Answer(dead_letter=True, detail="decode")}


def place(offset: int, partition: int = 0) -> Place:
    return Place(Partition("events", partition), offset)


@given(st.data())
def test_every_order_of_sending_and_answering_comes_to_the_same(data: st.DataObject) -> None:
    """However acknowledgements and answers overtake each other, all is answered once and nothing is amiss."""
    expectations = data.draw(st.lists(st.sampled_from([HIGH, TORN, TOMBSTONE]), max_size=12))
    journal = Journal()
    steps: list[Callable[[], None]] = []
    for offset, expectation in enumerate(expectations):
        where = place(offset // 2, offset % 2)
        steps.append(partial(journal.fed, where, expectation))
        if expectation in RIGHT:
            steps.append(partial(journal.answered, where, RIGHT[expectation]))
    for step in data.draw(st.permutations(steps)):
        step()
    assert journal.sent == len(expectations)
    assert journal.answers == len(expectations) - expectations.count(TOMBSTONE)
    assert (journal.missing, journal.twice, journal.unknown, journal.wrong) == ([], [], [], [])


def test_an_event_without_an_answer_is_named() -> None:
    """What is missing is said by topic, partition and offset."""
    journal = Journal()
    journal.fed(place(0), HIGH)
    journal.fed(place(1), HIGH)
    journal.answered(place(1), RIGHT[HIGH])
    assert journal.missing == ["events/0@0"]
    assert journal.unanswered == 1


def test_an_unanswered_event_below_the_committed_offset_is_lost() -> None:
    """An offset that was committed over an unanswered event means that nobody will ever judge it."""
    journal = Journal()
    for offset in range(3):
        journal.fed(place(offset), HIGH)
    journal.answered(place(0), RIGHT[HIGH])
    assert journal.below({Partition("events", 0): 2}) == ["events/0@1"]
    assert journal.below({Partition("events", 0): 1}) == []


def test_a_second_answer_is_noticed_however_late() -> None:
    """A second verdict counts as a duplicate, also before the first is known to have been asked for."""
    journal = Journal()
    journal.fed(place(0), HIGH)
    for _ in range(2):
        journal.answered(place(0), RIGHT[HIGH])
        journal.answered(place(5), RIGHT[HIGH])
    assert journal.twice == ["events/0@0", "events/0@5"]
    assert journal.unknown == ["events/0@5"]


def test_another_answer_than_the_right_one_is_wrong() -> None:
    """A verdict of another risk, a dead letter in its place, or an answer to a tombstone are each said in words."""
    journal = Journal()
    journal.fed(place(0), HIGH)
    journal.fed(place(1), HIGH)
    journal.answered(place(0), Answer(dead_letter=False, detail="none"))
    journal.answered(place(1), Answer(dead_letter=True, detail="route"))
    journal.answered(place(2), RIGHT[HIGH])
    journal.fed(place(2), TOMBSTONE)
    assert journal.wrong == [
        "events/0@0 became a verdict with risk none instead of a verdict with risk high",
        "events/0@1 became a dead letter of stage route instead of a verdict with risk high",
        "events/0@2 became a verdict with risk high instead of nothing",
    ]
