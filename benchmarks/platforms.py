"""Invented traffic of other platforms than the chat of `benchmarks.corpora`: a forum, profiles, and long articles."""

from __future__ import annotations

import random
import re
from itertools import count
from typing import TYPE_CHECKING

from consumer.event import Author, Event, Image
from consumer.simulator import truth


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.event import Origin


__all__ = ["articles", "forum", "profiles"]


_WORDS = re.findall(
    r"\w+",
    "the a of my your this that red old new small long first last best good quiet busy warm cold early late north "
    "south river road garden kitchen market train station camera window letter book song season morning evening "
    "summer winter house bread coffee mountain island village harbour bridge forest field keeps makes finds takes "
    "brings leaves opens walks runs sings waits turns grows again never always often slowly ",
)
_RISKY = tuple(word.text for word in truth.WORDS if word.mainland is not None)
_RISK = 0.02
_NAMES = ("kim", "ana", "lee", "max", "zoe", "ivy", "leo", "mia", "noa", "eva")
_ALIVE = 12


def forum(seed: int) -> Iterator[Event]:
    """Posts with up to three pictures, and comments and replies to the last of them; a few draw most of these."""
    dice = random.Random(f"forum {seed}")
    posts: list[tuple[str, float, list[str]]] = []
    for number in count():
        name = f"f{seed}-{number}"
        if not posts or dice.random() < 0.12:
            posts = [*posts, (name, dice.paretovariate(1.0), [])][-_ALIVE:]
            images = tuple(_picture(name, at) for at in range(dice.choice((0, 0, 1, 1, 2, 3))))
            yield Event(name, "post", _text(dice, 30), _text(dice, 5), images, _author(dice), name)
            continue
        post, _, comments = dice.choices(posts, [appeal for _, appeal, _ in posts])[0]
        parent = dice.choice(comments) if comments and dice.random() < 0.3 else None
        images = (_picture(name, 0),) if dice.random() < 0.05 else ()
        comments.append(name)
        yield Event(name, "comment", _text(dice, 12), "", images, _author(dice), post, parent)


def profiles(seed: int) -> Iterator[Event]:
    """New and changed profiles: a nickname, often an avatar, now and then a description."""
    dice = random.Random(f"profiles {seed}")
    for number in count():
        name = f"p{seed}-{number}"
        avatar = (_picture(name, 0),) if dice.random() < 0.7 else ()
        nickname = f"{dice.choice(_NAMES)}{dice.randrange(100)}"
        yield Event(name, "profile", nickname, _text(dice, 10) if dice.random() < 0.3 else "", avatar, _author(dice))


def articles(seed: int) -> Iterator[Event]:
    """Texts by people and by models, most of them longer than one call takes, with pictures; and short messages."""
    dice = random.Random(f"articles {seed}")
    for number in count():
        name = f"a{seed}-{number}"
        words = round(dice.lognormvariate(5.5, 1.0))
        images = tuple(_picture(name, at) for at in range(dice.choice((0, 0, 0, 1, 2))))
        origin: Origin = "ai" if dice.random() < 0.3 else "human"
        yield Event(
            name,
            "message",
            _text(dice, words),
            _text(dice, 6),
            images,
            _author(dice),
            origin=origin,
        )


def _text(dice: random.Random, words: int) -> str:
    said = " ".join(dice.choices(_WORDS, k=max(1, words))).capitalize()
    text = ". ".join(part for part in said.split(" again "))
    return f"{text} {dice.choice(_RISKY)}" if dice.random() < _RISK else f"{text}."


def _picture(name: str, number: int) -> Image:
    return Image(f"https://cdn.example/{name}/{number}.jpg")


def _author(dice: random.Random) -> Author:
    return Author(f"u{dice.randrange(500)}")
