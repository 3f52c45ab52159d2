"""Images on this machine: their bytes from a file or an event, and what they are by how they begin."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consumer.errors import ContentRefused
from consumer.event import MAX_IMAGE_BYTES


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.event import Image


__all__ = ["Format", "LocalImage", "check", "format_of", "is_local", "load"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format that the services take: how its files are named, what HTTP calls it, and how they begin."""

    suffix: str
    content_type: str
    begins: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image in memory. `md5` is in base64, as HTTP has it; `digest` tells contents apart."""

    content: bytes = field(repr=False)
    format: Format
    md5: str
    digest: bytes


_HEAD_BYTES = 4096
# The list of the image and the multimodal page; the brands are those of HEIF with still images.
_FORMATS = tuple(
    Format(suffix, content_type, re.compile(begins, re.DOTALL))
    for suffix, content_type, begins in (
        (".jpg", "image/jpeg", rb"\xff\xd8\xff"),
        (".png", "image/png", rb"\x89PNG\r\n\x1a\n"),
        (".webp", "image/webp", rb"RIFF....WEBP"),
        (".gif", "image/gif", rb"GIF8[79]a"),
        (".bmp", "image/bmp", rb"BM"),
        (".tiff", "image/tiff", rb"II\*\x00|MM\x00\*"),
        (".heic", "image/heic", rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)"),
        (".ico", "image/x-icon", rb"\x00\x00\x01\x00"),
        (".svg", "image/svg+xml", rb"(?:\xef\xbb\xbf)?\s*(?:<svg\b|<[?!].*<svg\b)"),
    )
)


def is_local(image: Image) -> bool:
    """Whether the image has to be uploaded before the service can see it."""
    return image.file is not None or image.content is not None


def format_of(content: bytes) -> Format | None:
    """The format of an image by how it begins; None where it is none that the services take."""
    head = content[:_HEAD_BYTES]
    return next((one for one in _FORMATS if one.begins.match(head)), None)


def check(images: Iterable[Image]) -> None:
    """Find out whether all of these can be uploaded, without reading more than their beginnings. It blocks on disk.

    Raises:
        ContentRefused: one is missing, empty, too large or of no format that the services take.
    """
    for image in images:
        _format(_bytes(image, _HEAD_BYTES))


def load(image: Image) -> LocalImage:
    """Read an image that is local. It blocks on disk.

    Raises:
        ContentRefused: as `check`.
    """
    content = _bytes(image, MAX_IMAGE_BYTES)
    return LocalImage(
        content,
        _format(content),
        # A checksum of what travels, not a secret.
        base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode("ascii"),
        hashlib.sha256(content).digest(),
    )


def _format(content: bytes) -> Format:
    if not content:
        raise ContentRefused("an image is empty", code="image_empty")
    found = format_of(content)
    if found is None:
        raise ContentRefused(
            "an image is of no supported format: PNG, JPEG, WEBP, GIF, BMP, TIFF, SVG, HEIF, ICO", code="image_format"
        )
    return found


def _bytes(image: Image, most: int) -> bytes:
    """The image's bytes, or the first `most` of them."""
    if image.content is not None:
        _check_size(len(image.content))
        return image.content[:most]
    try:
        # A pipe must not keep a thread waiting for somebody to write into it.
        handle = os.open(image.file or "", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123  # opened by its number
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise ContentRefused("an image's file is no regular file", code="image_file")
            _check_size(about.st_size)
            return file.read(most)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name is none"
        raise ContentRefused(f"an image's file cannot be read: {why}", code="image_file") from None


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_IMAGE_BYTES:
        raise ContentRefused(f"an image is larger than {MAX_IMAGE_BYTES} bytes", code="image_too_large")
