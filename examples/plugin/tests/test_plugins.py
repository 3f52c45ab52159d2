"""What the forum's plugins make of its records: each is a function, and needs nothing around it to be tried."""

from __future__ import annotations

import pytest
from acme_forum.codec import read_lines
from acme_forum.mapping import to_event
from acme_forum.policy import trust_staff
from acme_forum.rules import by_a_newcomer

from consumer.errors import DecodeError, MappingError
from consumer.event import Author, Event, Image
from consumer.record import Partition, Record
from consumer.verdict import Judgement, Label, RiskLevel


RECORD = Record(Partition("forum.posts", 0), 7, 1_767_225_600_000, b"4711", b"")
POST = Event("1", "post", text="hello", author=Author("2026-17"))


def test_a_post_is_read_from_its_blocks() -> None:
    """The text is that of its paragraphs; quotes are left out, and images are kept."""
    document = {
        "post_no": 4711,
        "by": "2019-3",
        "blocks": [
            {"type": "quote", "text": "what another said"},
            {"type": "paragraph", "text": "I think"},
            {"type": "paragraph", "text": "otherwise"},
            {"type": "image", "src": "https://img.example/1.png"},
        ],
    }
    assert to_event(document, RECORD) == Event(
        "forum.posts-4711",
        "post",
        text="I think\notherwise",
        images=(Image(url="https://img.example/1.png"),),
        author=Author("2019-3"),
    )


def test_a_post_without_a_number_is_refused() -> None:
    """It becomes a dead letter that says so."""
    with pytest.raises(MappingError, match="post_no"):
        to_event({"by": "2019-3"}, RECORD)


def test_newcomers_are_known_by_their_number() -> None:
    """Who came this year is one, but not on the staff's own board."""
    assert by_a_newcomer(POST, "forum.posts")
    assert not by_a_newcomer(POST, "forum.staff")


@pytest.mark.parametrize(("author", "action"), [("2019-3", "block"), ("1999-1-staff", "review")])
def test_people_look_at_what_the_staff_wrote(author: str, action: str) -> None:
    """A harsh word of the staff is reviewed where that of others is blocked."""
    label = Label("profanity_heavy", "profanity", "ugc_moderation_byllm_cb", "text")
    judgement = Judgement(RiskLevel.HIGH, ("ugc_moderation_byllm_cb",), (label,))
    assert trust_staff(judgement, Event("1", "post", author=Author(author)), "block") == action


def test_old_records_are_lines() -> None:
    """Fields come first, and the text behind an empty line; the header says how it is written."""
    value = "post_no=12\nby = 2019-3\n\nschön".encode("latin-1")
    assert read_lines(value, (("charset", b"latin-1"),)) == {
        "post_no": "12",
        "by": "2019-3",
        "blocks": [{"type": "paragraph", "text": "schön"}],
    }
    with pytest.raises(DecodeError, match="line 2"):
        read_lines(b"post_no=12\nwhat is this", ())
