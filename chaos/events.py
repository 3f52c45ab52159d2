"""What users post during a run: texts, posts with their comments, records without a value, and malformed ones."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from consumer.simulator import truth


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["MALFORMED", "NUMBER", "TAG", "Mix", "Posted", "malformed", "plain", "posted"]


TAG = re.compile(r"\be\d{7}x\b")
"""How an event is known by its content alone, in the service's journal."""
NUMBER = "number"
"""The header with an event's number."""

_RISKY = tuple(
    word.text for word in truth.WORDS if word.language == "en" and truth.text(word.text).risk_level == "high"
)
_WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "nobody",
    "reads",
    "at",
    "night",
)
_KEYS = 20


@dataclass(frozen=True, slots=True)
class Mix:
    """How many in a hundred are what; the others are texts."""

    malformed: float = 8
    null: float = 3
    thread: float = 10
    risky: float = 5


@dataclass(frozen=True, slots=True)
class Posted:
    """One record that is to be written `at` seconds after the start.

    `event_id` is None for what cannot be read as an event; `way` says in which way a malformed one is.
    """

    number: int
    at: float
    key: bytes | None
    value: bytes | None
    event_id: str | None = None
    tag: str = ""
    risky: bool = False
    way: str = ""


def posted(seed: int, seconds: float, mix: Mix | None = None) -> list[Posted]:
    """All records of a run, in the order of their time: the same for the same seed.

    They come in waves, and their keys are skewed: of about twenty, the first have most.
    """
    dice = random.Random(f"events {seed}")
    mix = mix or Mix()
    # All moments are drawn first, so that what is posted does not change when it is posted.
    return [_one(dice, mix, number, at) for number, at in enumerate(list(_moments(dice, seconds)))]


def _moments(dice: random.Random, seconds: float) -> Iterator[float]:
    """Waves: for a few seconds a rate between 15 and 120 a second, then another one."""
    at, until, rate = 0.0, 0.0, 0.0
    while True:
        if at >= until:
            rate, until = dice.choice((15.0, 40.0, 60.0, 80.0, 120.0)), at + dice.uniform(0.5, 3)
        at += dice.expovariate(rate)
        if at >= seconds:
            return
        yield at


def _one(dice: random.Random, mix: Mix, number: int, at: float) -> Posted:
    key = None if dice.random() < 0.03 else f"k{min(int(dice.expovariate(0.25)), _KEYS - 1)}".encode()
    drawn = dice.uniform(0, 100)
    if drawn < mix.malformed:
        way = dice.choice(tuple(MALFORMED))
        return Posted(number, at, key, malformed(way, number), way=way)
    if drawn < mix.malformed + mix.null:
        return Posted(number, at, key or b"k0", None)
    risky = dice.uniform(0, 100) < mix.risky
    tag = f"e{number:07d}x"
    words = dice.choices(_WORDS, k=dice.randrange(3, 12)) + ([dice.choice(_RISKY)] if risky else [])
    event: dict[str, Any] = {"id": f"e{number:07d}", "text": f"{tag} {' '.join(words)}", "author": {"id": f"u{number}"}}
    if drawn < mix.malformed + mix.null + mix.thread:
        thread = f"t{dice.randrange(12)}"
        event |= {"kind": dice.choice(("post", "comment", "comment", "comment")), "thread": thread, "parent": thread}
    return Posted(number, at, key, orjson.dumps(event), event["id"], tag, risky)


def plain(number: int, at: float) -> Posted:
    """A text without any risk."""
    tag = f"e{number:07d}x"
    event = {"id": f"e{number:07d}", "text": f"{tag} nothing to see here"}
    return Posted(number, at, f"k{number % _KEYS}".encode(), orjson.dumps(event), event["id"], tag)


def malformed(way: str, number: int) -> bytes:
    """A record that is no event in this way, one of `MALFORMED`."""
    return MALFORMED[way](number)


def _spoilt(**members: Any) -> Callable[[int], bytes]:
    """An event with these members instead of its own."""
    return lambda number: orjson.dumps({"id": f"m{number}", "text": "so far so good"} | members)


def _whole(number: int) -> bytes:
    return orjson.dumps({"id": f"m{number}", "text": "so far so good"})


MALFORMED: dict[str, Callable[[int], bytes]] = {
    "no bytes": lambda _: b"",
    "only spaces": lambda _: b"  \n ",
    "no JSON": lambda number: b"<event id='%d'/>" % number,
    "cut off": lambda number: _whole(number)[:-7],
    "two in one": lambda number: _whole(number) * 2,
    "a trailing comma": lambda number: _whole(number)[:-1] + b",}",
    "a list": lambda number: b"[" + _whole(number) + b"]",
    "a string": lambda number: b'"event %d"' % number,
    "a number": lambda number: b"%d" % number,
    "null": lambda _: b"null",
    "not UTF-8": lambda number: b'{"id": "m%d", "text": "caf\xe9"}' % number,
    "a schema registry's frame": lambda number: b"\x00\x00\x00\x00\x07" + _whole(number),
    "too deep": lambda _: b'{"id": "m", "text": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "no id": lambda number: orjson.dumps({"text": f"nobody's {number}"}),
    "an empty id": _spoilt(id=""),
    "an id that is an object": _spoilt(id={"a": 1}),
    "an id that is a fraction": _spoilt(id=1.5),
    "a text that is a number": _spoilt(text=7),
    "a text that is a list": _spoilt(text=["a", "b"]),
    "an unknown kind": _spoilt(kind="hologram"),
    "a kind that is not moderated": _spoilt(kind="video"),
    "an unknown origin": _spoilt(origin="martian"),
    "images that are a number": _spoilt(images=3),
    "an image without a place": _spoilt(images=[{"width": 3}]),
    "an image that is no base64": _spoilt(images=[{"content": "!!!"}]),
    "an incomplete bucket": _spoilt(images=[{"oss": {"bucket": "b"}}]),
    "a thread that is a list": _spoilt(thread=[]),
    "nothing to judge": _spoilt(text="  "),
}
"""The ways in which a record can be no event: of each, a function from a number to its bytes."""
