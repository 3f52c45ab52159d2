"""Reading what a multimodal call carries, by the multimodal page's tables 1 to 6.

A parameter that is missing or empty is code 400, one of a wrong kind 401, one that is too long or too many 402. The
page calls mainData an array and shows an object in its examples: both are taken, the array with a single element. It
calls mainImages required and does not say what becomes of an empty list: no images are taken. Characters are code
points; the page does not say how it counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from consumer.simulator.operations.picture import picture_fault


__all__ = ["CHARACTERS", "IMAGES", "BadParameter", "Part", "Post", "read_post"]


CHARACTERS = 5000
"""In all fields of a call together."""
IMAGES = 30
"""In a call."""

_COMMENT_CHARACTERS = 1000
_COMMENT_IMAGES = 10
_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")


class BadParameter(Exception):
    """A call that is refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Part:
    """A main post, a profile, a comment or a reply: its texts, its images, and what was said to it."""

    texts: tuple[str, ...]
    images: tuple[dict[str, Any], ...]
    replies: tuple[Part, ...] = ()

    @property
    def characters(self) -> int:
        """Code points, those of the replies included."""
        return sum(map(len, self.texts)) + sum(reply.characters for reply in self.replies)

    @property
    def image_count(self) -> int:
        """Images, those of the replies included."""
        return len(self.images) + sum(reply.image_count for reply in self.replies)


@dataclass(frozen=True, slots=True)
class Post:
    """All that one call carries; `has_comments` says whether the field was there."""

    main: Part
    comments: tuple[Part, ...]
    has_comments: bool

    @property
    def characters(self) -> int:
        """Code points of all fields."""
        return self.main.characters + sum(comment.characters for comment in self.comments)

    @property
    def image_count(self) -> int:
        """Images of all fields."""
        return self.main.image_count + sum(comment.image_count for comment in self.comments)


def read_post(asked: dict[str, Any]) -> Post:
    """What a call carries.

    Raises:
        BadParameter: it is none that the page allows.
    """
    main = asked.get("mainData")
    if not main:
        raise BadParameter(400, "mainData is empty")
    if isinstance(main, list) and len(main) == 1:
        main = main[0]
    if not isinstance(main, dict):
        raise BadParameter(401, "mainData is neither an object nor a list of one")
    title = main.get("mainTitle") or ""
    if not isinstance(title, str):
        raise BadParameter(401, "mainTitle is not a string")
    content = _text(main, "mainContent")
    _check_time(main, "mainPostTime")
    comments = asked.get("commentDatas")
    post = Post(
        Part((title, content) if title else (content,), _images(main, "mainImages", IMAGES)),
        _comments(comments, may_have_replies=True),
        has_comments=bool(comments),
    )
    if post.characters > CHARACTERS:
        raise BadParameter(402, f"the text of all fields is longer than {CHARACTERS} characters")
    if post.image_count > IMAGES:
        raise BadParameter(402, f"there are more than {IMAGES} images")
    return post


def _comments(value: Any, *, may_have_replies: bool) -> tuple[Part, ...]:
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadParameter(401, "commentDatas is not a list of objects")
    return tuple(_comment(one, may_have_replies=may_have_replies) for one in value)


def _comment(value: dict[str, Any], *, may_have_replies: bool) -> Part:
    content = _text(value, "content")
    if len(content) > _COMMENT_CHARACTERS:
        raise BadParameter(402, f"content is longer than {_COMMENT_CHARACTERS} characters")
    _check_time(value, "postTime")
    images = _images(value, "images", _COMMENT_IMAGES)
    replies = value.get("commentDatas")
    if replies and not may_have_replies:
        raise BadParameter(401, "a reply has no commentDatas of its own")
    return Part((content,), images, _comments(replies, may_have_replies=False))


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if text is None or text == "":
        raise BadParameter(400, f"{name} is empty")
    if not isinstance(text, str):
        raise BadParameter(401, f"{name} is not a string")
    return text


def _images(value: dict[str, Any], name: str, limit: int) -> tuple[dict[str, Any], ...]:
    images = value.get(name) or []
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise BadParameter(401, f"{name} is not a list of objects")
    if len(images) > limit:
        raise BadParameter(402, f"{name} has more than {limit} images")
    for image in images:
        wrong = picture_fault(image, region_required=True)
        if wrong is not None:
            raise BadParameter(*wrong)
    return tuple(images)


def _check_time(value: dict[str, Any], name: str) -> None:
    time = value.get(name) or ""
    if time and not (isinstance(time, str) and _TIME.fullmatch(time)):
        raise BadParameter(401, f"{name} is not written as 2025-06-18 20:20:20")
