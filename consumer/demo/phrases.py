"""What the invented users write, read from `phrases.yaml` beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import yaml


__all__ = ["EMOJI", "LANGUAGES", "NICKNAMES", "VIRAL", "Language", "Post"]


@dataclass(frozen=True, slots=True)
class Post:
    """A title and what is said under it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Language:
    """How one language is written here. `share` is its weight among all; `{word}` in `risky` takes a risk word."""

    tag: str
    share: int
    messages: tuple[str, ...]
    comments: tuple[str, ...]
    posts: tuple[Post, ...]
    risky: tuple[str, ...]


_DOCUMENT = yaml.safe_load(files(__package__).joinpath("phrases.yaml").read_text(encoding="utf-8"))

LANGUAGES: tuple[Language, ...] = tuple(
    Language(
        tag=tag,
        share=entry["share"],
        messages=tuple(entry["messages"]),
        comments=tuple(entry["comments"]),
        posts=tuple(Post(**post) for post in entry["posts"]),
        risky=tuple(entry["risky"]),
    )
    for tag, entry in _DOCUMENT["languages"].items()
)
VIRAL: tuple[str, ...] = tuple(_DOCUMENT["viral"])
NICKNAMES: tuple[str, ...] = tuple(_DOCUMENT["nicknames"])
EMOJI: tuple[str, ...] = tuple(_DOCUMENT["emoji"])
