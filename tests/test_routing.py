"""Event → route: the first rule that takes an event."""

from __future__ import annotations

import pytest

from consumer.event import Event, Image
from consumer.routing import Route, Router, When


TEXT = Event("1", "message", text="hi", language="en")
POST = Event("2", "post", title="a title", images=(Image(url="u"),), language="zh-Hant", origin="ai")
BARE = Event("3", "image", images=(Image(url="u"),))


@pytest.mark.parametrize(
    ("when", "taken"),
    [
        (When(), [TEXT, POST, BARE]),
        (When(kinds=frozenset({"message", "image"})), [TEXT, BARE]),
        (When(origins=frozenset({"ai"})), [POST]),
        (When(topics=frozenset({"ugc"})), [TEXT, POST, BARE]),
        (When(topics=frozenset({"other"})), []),
        (When(languages=frozenset({"en"})), [TEXT]),
        (When(languages=frozenset({"zh"})), [POST]),
        (When(languages=frozenset({"zh-hant"})), [POST]),
        (When(languages=frozenset({"zh-hans"})), []),
        (When(has_text=True), [TEXT, POST]),
        (When(has_text=False), [BARE]),
        (When(has_images=True), [POST, BARE]),
        (When(has_images=False), [TEXT]),
        (When(has_text=True, has_images=True), [POST]),
        (When(kinds=frozenset({"message"}), origins=frozenset({"ai"})), []),
    ],
)
def test_a_rule_takes_what_meets_all_its_conditions(when: When, taken: list[Event]) -> None:
    """A condition left out takes everything; those given must all hold; `zh` also takes `zh-Hant`."""
    assert [event for event in (TEXT, POST, BARE) if when.takes(event, "ugc")] == taken


def test_the_first_rule_that_takes_an_event_decides() -> None:
    """A later rule never sees what an earlier one took."""
    special = Route("special", ("a",), When(kinds=frozenset({"message"})))
    general = Route("general", ("b",))
    assert Router([special, general]).route(TEXT, "ugc") is special
    assert Router([special, general]).route(BARE, "ugc") is general
    assert Router([general, special]).route(TEXT, "ugc") is general


@pytest.mark.parametrize(
    ("routes", "weight"),
    [
        ([], 1),
        ([("chat", When(), 7)], 7),
        ([("other", When(topics=frozenset({"other"})), 9)], 1),
        ([("posts", When(kinds=frozenset({"post"})), 2), ("rest", When(), 1)], 2),
        ([("rest", When(has_text=True), 1), ("posts", When(kinds=frozenset({"post"})), 2)], 2),
        ([("ugc", When(topics=frozenset({"ugc"})), 1), ("rest", When(), 10)], 1),
        ([("rest", When(), 3), ("ugc", When(topics=frozenset({"ugc"})), 10)], 3),
    ],
)
def test_a_topic_weighs_what_the_heaviest_route_does_that_it_can_reach(
    routes: list[tuple[str, When, int]], weight: int
) -> None:
    """Routes of other topics do not count, nor those behind one that takes all of the topic."""
    assert Router([Route(name, ("a",), when, weight=one) for name, when, one in routes]).weight("ugc") == weight


def test_an_event_that_no_rule_takes_has_no_route() -> None:
    """An event is not given to a service that was not meant for it."""
    assert Router([Route("posts", ("a",), When(kinds=frozenset({"post"})))]).route(TEXT, "ugc") is None
    assert Router([]).route(TEXT, "ugc") is None
