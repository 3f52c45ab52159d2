"""A record of the forum → an event: what no path can say, since a post's texts lie in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.errors import MappingError
from consumer.event import Author, Event, Image


if TYPE_CHECKING:
    from consumer.plugins import MappingFunction
    from consumer.record import Record


__all__ = ["to_event"]


def to_event(document: dict[str, Any], record: Record) -> Event:
    """The event in a post: its paragraphs one below the other, without the quotes of others.

    Raises:
        MappingError: it has no number.
    """
    number = document.get("post_no")
    if not number:
        raise MappingError("the post has no `post_no`")
    blocks: list[dict[str, Any]] = document.get("blocks", [])
    return Event(
        id=f"{record.partition.topic}-{number}",
        kind="comment" if document.get("answers") else "post",
        text="\n".join(str(block["text"]) for block in blocks if block["type"] == "paragraph"),
        images=tuple(Image(url=str(block["src"])) for block in blocks if block["type"] == "image"),
        author=Author(id=document["by"], nickname=document.get("signature")),
    )


if TYPE_CHECKING:
    _checked: MappingFunction = to_event
