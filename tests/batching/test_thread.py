"""Tests of thread batching: every event in exactly one call, limits kept, and places that lead back to the event."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.long_text import length
from consumer.batching.thread import WORDLESS, plan
from consumer.event import Event, Image


if TYPE_CHECKING:
    from consumer.batching.thread import Batch, Path


@st.composite
def threads(draw: st.DrawFn) -> list[Event]:
    """Events of one thread: a post somewhere or nowhere, comments and replies, a few of them overlong."""
    events: list[Event] = []
    for n in range(draw(st.integers(1, 12))):
        characters = draw(st.sampled_from([0, 1, 20, 400, 999, 1000, 1001, 4999, 5000, 5001, 12_000]))
        images = draw(st.sampled_from([0, 0, 0, 1, 9, 10, 11, 30, 31, 65]))
        parent = draw(st.sampled_from([None, *(event.id for event in events)]))
        events.append(
            Event(
                id=f"e{n}",
                kind=draw(st.sampled_from(["comment", "comment", "comment", "post"])),
                text=draw(st.sampled_from(["x", "世", "😀"])) * characters,
                title=draw(st.sampled_from(["", "", "a title"])),
                images=tuple(Image(url=f"https://example.com/{n}/{i}.jpg") for i in range(images)),
                thread="t",
                parent=parent,
            )
        )
    return events


@given(threads())
def test_every_event_is_in_exactly_one_call(events: list[Event]) -> None:
    """Each event has one place in one call; only one that no call can hold has several calls, all its own."""
    batches = plan(events)
    for index in range(len(events)):
        mine = [batch for batch in batches if any(part.index == index for part in batch.parts)]
        assert mine
        if len(mine) > 1:
            assert all(len(batch.parts) == 1 for batch in mine)


@given(threads())
def test_limits_are_never_exceeded(events: list[Event]) -> None:
    """No call has more than 5,000 characters or 30 images, no comment more than 1,000 or 10."""
    for batch in plan(events):
        assert batch.characters <= 5000
        assert batch.images <= 30
        for part in batch.parts:
            if part.path:
                assert part.characters <= 1000
                assert len(part.images) <= 10
            assert len(part.path) <= 2


@given(threads())
def test_nothing_of_an_event_is_left_out(events: list[Event]) -> None:
    """All text and all images of an event are in its calls."""
    batches = plan(events)
    for index, event in enumerate(events):
        parts = [part for batch in batches for part in batch.parts if part.index == index]
        assert {image for part in parts for image in part.images} == set(event.images)
        if len(parts) == 1:
            assert event.title in parts[0].title + parts[0].text
            assert event.text in parts[0].text
            assert parts[0].text == "-" or event.text or event.title
        else:
            whole = f"{event.title}\n{event.text}" if event.title and event.text else event.title + event.text
            reached = 0
            for part in parts:
                if part.text != WORDLESS:
                    assert part.start <= reached
                    assert whole[part.start :].startswith(part.text)
                    reached = part.start + len(part.text)
            assert reached == len(whole)


@given(threads())
def test_places_are_a_tree_in_the_order_of_the_events(events: list[Event]) -> None:
    """The first part is the main post, comments and replies are numbered without holes, and order is kept."""
    indexes: list[int] = []
    for batch in plan(events):
        paths = [part.path for part in batch.parts]
        assert paths[0] == ()
        assert len(set(paths)) == len(paths)
        comments = [path[0] for path in paths if len(path) == 1]
        assert comments == list(range(len(comments)))
        for comment in comments:
            replies = [path[1] for path in paths if len(path) == 2 and path[0] == comment]
            assert replies == list(range(len(replies)))
        assert all(path[0] in comments for path in paths if len(path) == 2)
        indexes += [part.index for part in batch.parts]
    assert indexes == sorted(indexes)


@given(threads())
def test_no_part_is_without_a_text(events: list[Event]) -> None:
    """Each part has a text, as the page requires: the title where there is no other, and a dash where there is none."""
    for batch in plan(events):
        for part in batch.parts:
            assert part.text.strip()
            assert part.characters >= 1


def test_an_image_alone_is_sent_with_a_dash() -> None:
    """An image without a word, and one with a blank, stand in the call as a dash, and are counted as one character."""
    image = (Image(url="https://example.com/1.jpg"),)
    events = [Event(id="1", kind="post", images=image), Event(id="2", kind="comment", text=" ", images=image)]
    [batch] = plan(events)
    assert [(part.title, part.text) for part in batch.parts] == [("", "-"), ("", "-")]
    assert batch.characters == 2


def test_a_title_alone_is_the_text() -> None:
    """A post that has only a title is judged by it, as its text."""
    [batch] = plan([Event(id="1", kind="post", title="T")])
    assert [(part.title, part.text) for part in batch.parts] == [("", "T")]


def paths_of(batch: Batch, events: list[Event]) -> dict[str, Path]:
    """Where each event stands."""
    return {events[part.index].id: part.path for part in batch.parts}


def test_replies_stand_under_their_comment() -> None:
    """A reply goes under the comment it answers, and a reply to a reply beside it."""
    comment = Event(id="c1", kind="comment", text="first", thread="t", parent="p")
    events = [
        Event(id="p", kind="post", text="post", thread="t"),
        comment,
        replace(comment, id="c2"),
        replace(comment, id="r1", parent="c1"),
        replace(comment, id="r2", parent="r1"),
        replace(comment, id="c3", parent="somewhere else"),
        replace(comment, id="r3", parent="c2"),
    ]
    [batch] = plan(events)
    assert paths_of(batch, events) == {
        "p": (),
        "c1": (0,),
        "c2": (1,),
        "r1": (0, 0),
        "r2": (0, 1),
        "c3": (2,),
        "r3": (1, 0),
    }


def test_without_a_post_the_oldest_event_is_the_main_one() -> None:
    """Comments whose post is not among them are judged together, under the oldest."""
    comment = Event(id="c1", kind="comment", text="first", thread="t", parent="p")
    events = [comment, replace(comment, id="c2"), replace(comment, id="r1", parent="c1")]
    [batch] = plan(events)
    assert paths_of(batch, events) == {"c1": (), "c2": (0,), "r1": (1,)}


def test_a_post_is_always_the_main_one() -> None:
    """A post that comes later begins a call of its own."""
    events = [Event(id="c", kind="comment", text="c"), Event(id="p", kind="post", text="p")]
    assert [paths_of(batch, events) for batch in plan(events)] == [{"c": ()}, {"p": ()}]


def test_a_full_call_is_followed_by_another() -> None:
    """Six comments of a thousand characters need two calls: five and one."""
    events = [Event(id=f"c{n}", kind="comment", text="x" * 1000) for n in range(6)]
    assert [len(batch.parts) for batch in plan(events)] == [5, 1]
    assert all(length(part.text) == 1000 for batch in plan(events) for part in batch.parts)
