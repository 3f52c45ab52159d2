"""Images on this machine are known by how they begin, and refused before anything is sent."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ContentRefused
from consumer.event import MAX_IMAGE_BYTES, Image
from consumer.moderation.images.local_images import check, format_of, is_local, load


if TYPE_CHECKING:
    from pathlib import Path


PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 5000
BEGINNINGS = [
    (b"\xff\xd8\xff\xe0..JFIF", ".jpg"),
    (b"\x89PNG\r\n\x1a\n....", ".png"),
    (b"RIFF\x10\x00\x00\x00WEBPVP8 ", ".webp"),
    (b"GIF89a..", ".gif"),
    (b"GIF87a..", ".gif"),
    (b"BM\x36\x00", ".bmp"),
    (b"II*\x00", ".tiff"),
    (b"MM\x00*", ".tiff"),
    (b"\x00\x00\x00\x18ftypheic", ".heic"),
    (b"\x00\x00\x00\x18ftypmif1", ".heic"),
    (b"\x00\x00\x01\x00\x01\x00", ".ico"),
    (b"<svg xmlns='x'/>", ".svg"),
    (b"\xef\xbb\xbf\n <?xml version='1.0'?>\n<!-- a --><svg/>", ".svg"),
    (b"<!DOCTYPE svg><svg width='1'/>", ".svg"),
]


@pytest.mark.parametrize(("content", "suffix"), BEGINNINGS)
def test_a_format_is_known_by_how_it_begins(content: bytes, suffix: str) -> None:
    """Each format of the image page is known whatever a file is called."""
    found = format_of(content)
    assert found is not None
    assert found.suffix == suffix
    assert found.content_type.startswith("image/")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"%PDF-1.7",
        b"RIFF\x10\x00\x00\x00WAVE",
        b"\x00\x00\x00\x18ftypisom",
        b"\x00\x00\x00\x18ftypavif",
        b"<html><body>",
        b"<?xml version='1.0'?><rss/>",
        b"root:x:0:0",
    ],
)
def test_what_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    """Anything else is refused, from a file as from an event, and is never uploaded."""
    (tmp_path / "a.png").write_bytes(content)
    for image in (Image(content=content), Image(file=str(tmp_path / "a.png"))):
        for look in (load, lambda one: check([one])):
            with pytest.raises(ContentRefused) as caught:
                look(image)
            assert caught.value.reason == ("image_format" if content else "image_empty")


@given(st.binary(max_size=64))
def test_any_bytes_are_an_image_or_refused(content: bytes) -> None:
    """No bytes make the reader fail in any other way."""
    try:
        assert load(Image(content=content)).content == content
    except ContentRefused:
        assert format_of(content) is None


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """A file and the same bytes in an event are the same image, with its checksum."""
    path = tmp_path / "cat"
    path.write_bytes(PNG)
    check([Image(file=str(path))])
    loaded = load(Image(file=str(path)))
    assert loaded == load(Image(content=PNG))
    assert (loaded.content, loaded.format.suffix) == (PNG, ".png")
    assert loaded.md5 == base64.b64encode(hashlib.md5(PNG, usedforsecurity=False).digest()).decode()
    assert "x" * 10 not in repr(loaded)


@pytest.mark.parametrize("name", ["missing.png", "folder", "pipe", "a\0b", "x" * 300])
def test_a_file_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    """A missing file, a folder and a pipe are refused at once, and the message does not name them."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContentRefused) as caught:
        check([Image(file=f"{tmp_path}/{name}")])
    assert caught.value.reason == "image_file"
    assert str(tmp_path) not in str(caught.value)


def test_the_largest_file(tmp_path: Path) -> None:
    """A file of 20 MB is taken, and a larger one is refused without being read."""
    path = tmp_path / "large.png"
    path.write_bytes(PNG)
    os.truncate(path, MAX_IMAGE_BYTES)
    assert len(load(Image(file=str(path))).content) == MAX_IMAGE_BYTES
    os.truncate(path, MAX_IMAGE_BYTES + 1)
    for image in (Image(file=str(path)), Image(content=PNG + bytes(MAX_IMAGE_BYTES))):
        with pytest.raises(ContentRefused) as caught:
            check([image])
        assert caught.value.reason == "image_too_large"


def test_which_images_are_local() -> None:
    """A file and bytes have to be uploaded, a URL has not."""
    assert [is_local(one) for one in (Image(file="x"), Image(content=b""), Image("http://h/x"))] == [True, True, False]
