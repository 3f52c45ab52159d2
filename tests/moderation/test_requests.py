"""An event becomes the calls that judge all of it, and their exact bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ContentRefused, RouteError
from consumer.event import Event, Image, OssObject
from consumer.moderation.requests import Call, calls, pieces
from consumer.moderation.services import KNOWN, resolve
from consumer.settings.models import Service as ServiceSettings


TEXT = KNOWN["ugc_moderation_byllm"]
IMAGE = KNOWN["baselineCheck_global"]
SECOND = KNOWN["aigcDetector_global"]
CAT = Image("https://img.example/cat.jpg")


def sent(call: Call) -> dict[str, Any]:
    form = parse_qs(call.body.decode(), strict_parsing=True)
    assert form["Service"] == [call.service.name]
    parameters: dict[str, Any] = orjson.loads(form["ServiceParameters"][0])
    return parameters


def test_the_bytes_of_a_text_call() -> None:
    """A text goes out as the form the official SDK would send, with compact JSON."""
    (call,) = calls(Event("text0424-1", "message", text="hello 世界 a+b=c&d~*/"), [TEXT])
    assert call.body == (
        b"Service=ugc_moderation_byllm&ServiceParameters=%7B%22content%22%3A%22hello+%E4%B8%96%E7%95%8C+a%2Bb%3Dc%26d~"
        b"%2A%2F%22%2C%22dataId%22%3A%22text0424-1%22%7D"
    )
    assert (call.characters, call.images) == (19, 0)


def test_title_and_text_are_judged_together() -> None:
    """A title stands in a line of its own before the text; no account is named."""
    (call,) = calls(Event("a/b", "post", title="T", text="x"), [TEXT])
    assert sent(call) == {"content": "T\nx", "dataId": "a_b"}


def test_an_image_and_an_object_in_a_bucket() -> None:
    """An image goes out by its URL, or by its place in a bucket with the object's raw name."""
    event = Event("1", "image", images=(CAT, Image(oss=OssObject("b", "a b/ü.jpg", "cn-beijing"))))
    by_url, by_object = calls(event, [IMAGE])
    assert sent(by_url) == {"imageUrl": CAT.url, "dataId": "1"}
    assert sent(by_object) == {
        "ossBucketName": "b",
        "ossObjectName": "a b/ü.jpg",
        "ossRegionId": "cn-beijing",
        "dataId": "1",
    }
    assert by_url.images == 1


def test_every_image_goes_to_every_image_service() -> None:
    """Two images and two services are four calls, beside the text's; the same image twice is judged once."""
    event = Event("1", "post", text="x", images=(CAT, Image("http://img.example/dog.png"), CAT))
    found = calls(event, [TEXT, IMAGE, SECOND])
    assert [call.service.name for call in found] == [TEXT.name, *[IMAGE.name] * 2, *[SECOND.name] * 2]


def test_additional_information_is_asked_for_as_configured() -> None:
    """`info_type` becomes the parameter infoType, with commas."""
    table = resolve({"copy": ServiceSettings(like="baselineCheck_global", info_type=["customImage", "textInImage"])})
    (call,) = calls(Event("1", "image", images=(CAT,)), [table["copy"]])
    assert sent(call)["infoType"] == "customImage,textInImage"


@pytest.mark.parametrize("event", [Event("1", "message"), Event("1", "message", text=" \n\t", title="")])
def test_nothing_to_judge_is_an_error(event: Event) -> None:
    """An event without any text and image is no clean event: it becomes a dead letter."""
    with pytest.raises(RouteError, match="nothing to judge"):
        calls(event, [TEXT, IMAGE])


@pytest.mark.parametrize(
    ("event", "service", "part"),
    [
        (Event("1", "image", text="a caption", images=(CAT,)), IMAGE, "text"),
        (Event("1", "message", text="see", images=(CAT,)), TEXT, "image"),
    ],
)
def test_no_part_passes_unjudged(event: Event, service: Any, part: str) -> None:
    """Where the route has no service for a part of the event, the event becomes a dead letter that says so."""
    with pytest.raises(RouteError, match=f"this event's {part} would go unjudged"):
        calls(event, [service])


@pytest.mark.parametrize(
    "image",
    [
        Image("ftp://h/x.jpg"),
        Image("/x.jpg"),
        Image("https://h/" + "x" * 2039),
        Image(),
        Image(oss=OssObject("", "o", "r")),
    ],
)
def test_an_image_that_no_service_would_take_is_never_sent(image: Image) -> None:
    """An image without a usable address is refused before anything of the event is paid for."""
    with pytest.raises(ContentRefused) as caught:
        calls(Event("1", "post", text="x", images=(CAT, image)), [TEXT, IMAGE])
    assert caught.value.attempts == 0


def test_a_url_of_the_greatest_length_is_sent() -> None:
    """2,048 characters are allowed."""
    assert len(calls(Event("1", "image", images=(Image("https://h/" + "x" * 2038),)), [IMAGE])) == 1


def test_a_long_text_is_judged_whole() -> None:
    """A text over the limit becomes several calls that together hold all of it, each knowing where it begins."""
    text = "ab" * 1500 + " " * 2000 + "end"
    found = calls(Event("1", "post", text=text), [TEXT])
    assert [(call.offset, call.characters) for call in found] == [(0, 2000), (2000, 2000), (4000, 1003)]
    assert "".join(sent(call)["content"] for call in found) == text


def test_white_space_alone_is_not_paid_for() -> None:
    """A piece of a long text that is only white space is left out."""
    found = calls(Event("1", "post", text="a" * 2000 + " " * 2000 + "end"), [TEXT])
    assert [call.offset for call in found] == [0, 4000]


@given(st.text(st.sampled_from("ab 世😀\U00010000"), max_size=60), st.integers(2, 20))
def test_pieces_are_whole_and_short_enough(text: str, limit: int) -> None:
    """Pieces put together are the text; none is over the limit in UTF-16 units, and none could hold more."""
    found = pieces(text, limit)
    assert "".join(found) == text
    sizes = [len(piece.encode("utf-16-le")) for piece in found]
    assert all(size <= 2 * limit for size in sizes)
    following = [len(piece[0].encode("utf-16-le")) for piece in found[1:]]
    assert all(size + more > 2 * limit for size, more in zip(sizes, following, strict=False))


def test_half_a_surrogate_pair_does_not_keep_a_text_from_being_judged() -> None:
    """What has no UTF-8 is replaced, and all the rest is judged."""
    (call,) = calls(Event("1", "message", text="bad \ud83d word"), [TEXT])
    assert sent(call)["content"] == "bad \ufffd word"


@given(st.text(min_size=1).filter(lambda text: not text.isspace()))
def test_any_text_arrives_as_it_is(text: str) -> None:
    """Whatever the characters, the service reads the text that the user wrote."""
    found = calls(Event("1", "message", text=text), [TEXT])
    assert "".join(sent(call)["content"] for call in found) == text
