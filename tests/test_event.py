"""What a user posted: the id as the service takes it, and names for people."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from consumer.event import Image, OssObject, data_id


@given(st.text(), st.integers(1, 200))
def test_a_data_id_is_always_one_that_the_service_takes(event_id: str, limit: int) -> None:
    """Whatever an id is made of, the service gets only letters, digits, `_`, `-`, `.`, and no more than the limit."""
    made = data_id(event_id, limit=limit)
    assert re.fullmatch(r"[A-Za-z0-9_.-]*", made)
    assert len(made) == min(len(event_id), limit)


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_a_clean_id_is_its_own_data_id(event_id: str) -> None:
    """An id that the service takes as it is can be found in its console under its own name."""
    assert data_id(event_id) == event_id


def test_a_data_id_has_64_characters_at_most() -> None:
    """The limit of the text and image services is the default."""
    assert data_id("评论/17:" + "x" * 100) == "___17_" + "x" * 58


def test_an_image_is_named_by_its_url_or_its_object() -> None:
    """An image is called by its URL, or by bucket and object."""
    assert Image(url="https://cdn.example.com/a.png").name == "https://cdn.example.com/a.png"
    assert Image(oss=OssObject("pics", "u/1.png", "cn-shanghai")).name == "oss://pics/u/1.png"
