"""What a user posted, as the rest of the program sees it: pure data, free of Kafka and of the vendor's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from consumer.frozen import frozen


__all__ = ["KINDS", "MAX_IMAGE_BYTES", "ORIGINS", "Author", "Event", "Image", "Kind", "Origin", "OssObject", "data_id"]


Kind = Literal["message", "comment", "post", "image", "profile"]
Origin = Literal["human", "ai"]

KINDS: frozenset[str] = frozenset(get_args(Kind))
ORIGINS: frozenset[str] = frozenset(get_args(Origin))

MAX_IMAGE_BYTES = 20 * 1_048_576
"""The largest image: 20 MB, say the image and the multimodal page."""

_NOT_IN_A_DATA_ID = re.compile(r"[^A-Za-z0-9_.\-]")


@dataclass(frozen=True, slots=True)
class OssObject:
    """An image in an object-storage bucket that the moderation service may read."""

    bucket: str
    object: str
    region: str


@dataclass(frozen=True, slots=True)
class Image:
    """One picture: a public URL, an object in a bucket, a file on this machine, or its bytes; exactly one is set."""

    url: str | None = None
    oss: OssObject | None = None
    file: str | None = None
    content: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What a person would call this picture in a list."""
        if self.oss is not None:
            return f"oss://{self.oss.bucket}/{self.oss.object}"
        if self.content is not None:
            return f"{len(self.content)} bytes"
        return self.url or self.file or ""


@frozen
class Author:
    """Who posted it, in the platform's own ids."""

    id: str | None = None
    nickname: str | None = None


@frozen
class Event:
    """One thing a user posted.

    `id` is unique for the content; `thread` and `parent` place a comment or a reply; `posted_at` is what the platform
    wrote, unparsed; `language` is a BCP 47 tag; `origin` says whether a person or a model wrote it.
    """

    id: str
    kind: Kind
    text: str = ""
    title: str = ""
    images: tuple[Image, ...] = ()
    author: Author = Author()
    thread: str | None = None
    parent: str | None = None
    posted_at: str | None = None
    language: str | None = None
    origin: Origin = "human"


def data_id(event_id: str, *, limit: int = 64) -> str:
    """The event's id as the service takes it: letters, digits, `_`, `-`, `.`; at most `limit` characters.

    Source: the tables "ServiceParameters" of the text and image pages (64) and the multimodal page (128).
    """
    return _NOT_IN_A_DATA_ID.sub("_", event_id)[:limit]
