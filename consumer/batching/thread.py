"""Thread batching: which events of a thread go into one call, and where each stands in it, so that it finds its answer.

A call holds one main post and comments with one level of replies. Limits, from the multimodal page: 5,000 characters
and 30 images in all; 1,000 characters and 10 images a comment or reply; no part without a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.batching.long_text import cut, length


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event, Image


__all__ = [
    "COMMENT_CHARACTERS",
    "COMMENT_IMAGES",
    "TOTAL_CHARACTERS",
    "TOTAL_IMAGES",
    "WORDLESS",
    "Batch",
    "Part",
    "Path",
    "Planner",
    "plan",
    "split",
]


TOTAL_CHARACTERS = 5000
TOTAL_IMAGES = 30
COMMENT_CHARACTERS = 1000
COMMENT_IMAGES = 10
WORDLESS = "-"
"""What stands for the text of a part that has none: the page requires one, and this says the least."""

# Where a part stands in a call: () is the main post, (2,) the third comment, (2, 0) the first reply to it.
Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What one event, or a part of an overlong one, brings to a call. `index` counts the planned events.

    `text` is never blank. A title stands beside it only in the main post, and only where there is a text as well.
    """

    index: int
    path: Path
    title: str
    text: str
    images: tuple[Image, ...]
    posted_at: str | None
    start: int = 0

    @property
    def characters(self) -> int:
        """How much of the call's characters it takes."""
        return length(self.title) + length(self.text)


@dataclass(frozen=True, slots=True)
class Batch:
    """One call: its parts in the order in which the events came; the first is the main post."""

    parts: tuple[Part, ...]

    @property
    def characters(self) -> int:
        """Characters of all parts, as they are billed."""
        return sum(part.characters for part in self.parts)

    @property
    def images(self) -> int:
        """Images of all parts, as they are billed."""
        return sum(len(part.images) for part in self.parts)


class Planner:
    """Grows one call event by event, and says when the next one does not fit."""

    __slots__ = ("_characters", "_comments", "_images", "_main_id", "_parts", "_path_of", "_replies")

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._characters = 0
        self._images = 0
        self._comments = 0
        self._replies: list[int] = []
        self._path_of: dict[str, Path] = {}
        self._main_id: str | None = None

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def batch(self) -> Batch:
        """The call as it stands."""
        return Batch(tuple(self._parts))

    @property
    def full(self) -> bool:
        """Whether even the shortest comment would no longer fit."""
        return self._characters >= TOTAL_CHARACTERS

    def add(self, index: int, event: Event) -> bool:
        """Take an event in; False, and nothing changed, where it does not fit and a new call must begin.

        A post that comes after its comments begins a call of its own, so that it is judged as the main post.
        """
        images = len(event.images)
        characters = length(_joined(event) or WORDLESS)
        if not self._parts:
            if characters > TOTAL_CHARACTERS or images > TOTAL_IMAGES:
                return False
            path: Path = ()
            self._main_id = event.id
        else:
            if event.kind == "post" or characters > COMMENT_CHARACTERS or images > COMMENT_IMAGES:
                return False
            if self._characters + characters > TOTAL_CHARACTERS or self._images + images > TOTAL_IMAGES:
                return False
            path = self._place(event)
        self._path_of[event.id] = path
        title, text = ("", _joined(event)) if path or not _says(event.text) else (_said(event.title), event.text)
        self._parts.append(Part(index, path, title, text or WORDLESS, event.images, event.posted_at))
        self._characters += characters
        self._images += images
        return True

    def _place(self, event: Event) -> Path:
        """Where the next comment or reply stands. A reply to a reply is put beside it: there is only one level."""
        parent = self._path_of.get(event.parent) if event.parent is not None else None
        if parent:
            comment = parent[0]
            reply = self._replies[comment]
            self._replies[comment] += 1
            return (comment, reply)
        self._comments += 1
        self._replies.append(0)
        return (self._comments - 1,)


def plan(events: Sequence[Event]) -> list[Batch]:
    """The calls for these events of one thread, in their order: each event in exactly one, unless it is overlong.

    An event that is too long for any call has calls of its own, and only its own, that together hold all of it.
    """
    batches: list[Batch] = []
    planner = Planner()
    for index, event in enumerate(events):
        if planner.add(index, event):
            continue
        if len(planner):
            batches.append(planner.batch)
        planner = Planner()
        if not planner.add(index, event):
            batches.extend(split(index, event))
    if len(planner):
        batches.append(planner.batch)
    return batches


def split(index: int, event: Event) -> list[Batch]:
    """The calls of one event with more text or images than one call takes."""
    pieces = cut(_joined(event), TOTAL_CHARACTERS)
    groups = [event.images[at : at + TOTAL_IMAGES] for at in range(0, len(event.images), TOTAL_IMAGES)] or [()]
    batches: list[Batch] = []
    for number in range(max(len(pieces), len(groups))):
        piece = pieces[number] if number < len(pieces) else None
        images = groups[number] if number < len(groups) else ()
        text, start = (piece.text, piece.start) if piece is not None and _says(piece.text) else (WORDLESS, 0)
        batches.append(Batch((Part(index, (), "", text, images, event.posted_at, start),)))
    return batches


def _joined(event: Event) -> str:
    return "\n".join(part for part in (event.title, event.text) if _says(part))


def _said(text: str) -> str:
    return text if _says(text) else ""


def _says(text: str) -> bool:
    """Whether there is more in it than white space."""
    return bool(text) and not text.isspace()
