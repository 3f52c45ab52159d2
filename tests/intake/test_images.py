"""Images in records: bytes in base64, and files below one directory."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import MappingError
from consumer.event import MAX_IMAGE_BYTES, Image
from consumer.intake.images import image_in
from consumer.intake.mapping import Mapper
from consumer.settings.models import Mapping


@given(st.binary(min_size=1))
def test_bytes_come_out_as_they_went_in(content: bytes) -> None:
    """Whatever the bytes of an image, the event has them."""
    event = Mapper(Mapping()).event({"id": "a", "images": {"content": base64.b64encode(content).decode()}})
    assert event.images == (Image(content=content),)


def test_bytes_are_not_printed() -> None:
    """An image's bytes stand in no message and no log."""
    image = Image(content=b"secret")
    assert "secret" not in repr(image)
    assert image.name == "6 bytes"


def test_the_largest_image_is_taken_and_a_larger_one_is_not() -> None:
    """20 MB are the limit, counted after decoding, and the message does not repeat them."""
    largest = base64.b64encode(bytes(MAX_IMAGE_BYTES)).decode()
    image = image_in({"content": largest}, None)
    assert image is not None
    assert image.content is not None
    assert len(image.content) == MAX_IMAGE_BYTES
    for size in (1, 5):
        with pytest.raises(ValueError, match=r"at most 20 MB are judged") as caught:
            image_in({"content": base64.b64encode(bytes(MAX_IMAGE_BYTES + size)).decode()}, None)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("cat.png", "/srv/images/cat.png"),
        ("a/./b/../cat.png", "/srv/images/a/cat.png"),
        ("/srv/images/a/cat.png", "/srv/images/a/cat.png"),
    ],
)
def test_a_file_below_the_directory_is_taken(file: str, path: str) -> None:
    """A path is taken from the directory on, or as it is where it is below it."""
    event = Mapper(Mapping(image_directory="/srv/images")).event({"id": "a", "images": [{"file": file}]})
    assert event.images == (Image(file=path),)
    assert event.images[0].name == path


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "../keys/cat.png", "a/../../cat.png", "/srv/images-2/cat.png", ".", "/srv/images", "a\0.png"],
)
def test_a_file_elsewhere_is_refused(file: str) -> None:
    """No record can name a file outside the directory, and the message does not repeat it."""
    with pytest.raises(MappingError, match=r"outside `mapping\.image_directory`") as caught:
        Mapper(Mapping(image_directory="/srv/images")).event({"id": "a", "images": [{"file": file}]})
    assert not any(part in str(caught.value) for part in ("etc", "cat", "srv"))


@pytest.mark.parametrize("nothing", [None, "", " ", {}, {"url": None}, {"content": "", "file": None}, {"oss": {}}])
def test_nothing_is_no_image(nothing: Any) -> None:
    """Empty strings and objects whose members are empty stand for no image."""
    assert image_in(nothing, None) is None
