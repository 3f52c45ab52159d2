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


def test_an_event_that_no_rule_takes_has_no_route() -> None:
    """An event is not given to a service that was not meant for it."""
    assert Router([Route("posts", ("a",), When(kinds=frozenset({"post"})))]).route(TEXT, "ugc") is None
    assert Router([]).route(TEXT, "ugc") is None
