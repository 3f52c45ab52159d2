"""An event becomes the calls that judge all of it, and their exact bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.long_text import cut
from consumer.errors import ContentRefused, RouteError
from consumer.event import Event, Image, OssObject
from consumer.moderation.protocol.requests import Call, calls
from consumer.moderation.protocol.services import KNOWN, resolve
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
    """A text over the limit becomes several calls, cut after sentences, each knowing where it begins in the whole."""
    sentences = [f"Sentence number {number} is here to be judged. " for number in range(100)]
    text = "".join(sentences)
    found = calls(Event("1", "post", text=text), [TEXT])
    assert len(found) == 3
    for call in found:
        content = sent(call)["content"]
        assert text[call.offset :].startswith(content)
        assert call.characters == len(content) <= 2000
    assert all(sent(call)["content"].rstrip().endswith(".") for call in found)
    assert [call.offset for call in found[1:]] < [call.offset + call.characters for call in found[:-1]]


def test_a_piece_is_short_enough_however_characters_are_counted() -> None:
    """Emoji count twice where characters are UTF-16 units: no piece has more than 2,000 of those."""
    found = calls(Event("1", "post", text="\U0001f600" * 1500), [TEXT])
    assert [call.characters for call in found] == [1000, 560]
    assert found[1].offset == 940


def test_white_space_alone_is_not_paid_for() -> None:
    """A piece of a long text that is only white space is left out."""
    text = "word. " * 300 + " " * 6000 + "end"
    contents = [sent(call)["content"].strip() for call in calls(Event("1", "post", text=text), [TEXT])]
    assert all(contents)
    assert contents[-1] == "end"
    assert len(contents) < len(cut(text, 2000))


def test_half_a_surrogate_pair_does_not_keep_a_text_from_being_judged() -> None:
    """What has no UTF-8 is replaced, and all the rest is judged."""
    (call,) = calls(Event("1", "message", text="bad \ud83d word"), [TEXT])
    assert sent(call)["content"] == "bad \ufffd word"


@given(st.text(min_size=1).filter(lambda text: not text.isspace()))
def test_any_text_arrives_as_it_is(text: str) -> None:
    """Whatever the characters, the service reads the text that the user wrote."""
    (call,) = calls(Event("1", "message", text=text), [TEXT])
    assert sent(call)["content"] == text


@given(st.text(st.sampled_from("ab 世。.\n😀"), min_size=600, max_size=1200).filter(lambda text: not text.isspace()))
def test_nothing_of_a_long_text_is_left_out(text: str) -> None:
    """Each character that is no white space is in a piece, at the place that the piece's offset says."""
    rules = KNOWN["comment_detection_pro"]
    covered: set[int] = set()
    for call in calls(Event("1", "message", text=text), [rules]):
        content = sent(call)["content"]
        assert text.startswith(content, call.offset)
        assert len(content.encode("utf-16-le")) <= 2 * rules.max_characters
        covered.update(range(call.offset, call.offset + len(content)))
    assert all(index in covered or character.isspace() for index, character in enumerate(text))


def test_a_referer_is_sent_with_images_only() -> None:
    """Where images are protected from hot-linking the service says whom it comes from."""
    text, image = calls(Event("1", "post", text="x", images=(CAT,)), [TEXT, IMAGE], referer="www.example.com")
    assert sent(image) == {"imageUrl": CAT.url, "dataId": "1", "referer": "www.example.com"}
    assert "referer" not in sent(text)


def test_an_uploaded_image_is_named_without_a_region() -> None:
    """An object in the service's own bucket goes out as the guide to uploads has it: bucket and object."""
    (call,) = calls(Event("1", "image", images=(Image(oss=OssObject("up", "a/1.png", "")),)), [IMAGE])
    assert sent(call) == {"ossBucketName": "up", "ossObjectName": "a/1.png", "dataId": "1"}


@pytest.mark.parametrize("image", [Image(file="/x.png"), Image(content=b"x")])
def test_a_local_image_is_never_sent_by_itself(image: Image) -> None:
    """An image that was not uploaded cannot be judged: it is refused, and nothing passes without it."""
    with pytest.raises(ContentRefused, match="neither a URL nor an object"):
        calls(Event("1", "image", images=(image,)), [IMAGE])
