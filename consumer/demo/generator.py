"""Lifelike events: pure and seeded, each with what should become of it. No Kafka, no clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import orjson

from consumer.demo.phrases import EMOJI, LANGUAGES, NICKNAMES, VIRAL
from consumer.demo.spoilt import SPOILT, Spoilt
from consumer.simulator import truth


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.demo.phrases import Language
    from consumer.record import Headers


__all__ = ["Expectation", "Generator", "Sample", "timeline"]


Level = Literal["none", "low", "medium", "high"]
Outcome = Literal["verdict", "dead_letter", "skipped"]

_RANK: dict[Level, int] = {"none": 0, "low": 1, "medium": 2, "high": 3}

# Shares of all events, in per mille; what is left is content like any other.
_SPOILT = 15
_TOMBSTONES = 4
# Shares of texts and of images.
_RISKY_TEXTS = 0.025
_RISKY_IMAGES = 0.03
_VIRAL_TEXTS = 0.2
_BY_AI = 0.04
_AI_IMAGES_THAT_SHOW = 0.5
_LONG_POSTS = 0.12

_KINDS = ("message", "comment", "post", "image", "profile")
_KIND_SHARES = (40, 18, 12, 24, 6)

_STREAMS = 12
_LIVE_FACTOR = 5
_LIVE_SECONDS = 1.0
_LIVE_EVERY_SECONDS = 15.0

_RISKY_IMAGE_PATHS = (
    "low/tattoo",
    "low/inappropriate_drinking",
    "medium/beach",
    "medium/sexual_cleavage",
    "high/violent_bloody",
    "violent_gun",
    "contraband_drug",
    "contraband_gamble_tii",
    "violent_explosion_lib",
)

_RISK_WORDS: dict[str, tuple[str, ...]] = {
    language.tag: tuple(
        word.text for word in truth.WORDS if word.language == language.tag and word.international is not None
    )
    for language in LANGUAGES
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should become of an event under the built-in routes: a verdict with this risk level, a dead letter of this
    stage, or nothing (a record without a value).
    """

    outcome: Outcome
    risk_level: Level = "none"
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One record to be produced; `excerpt` is what a person would see of its content."""

    key: bytes
    value: bytes | None
    headers: Headers
    expectation: Expectation
    excerpt: str


class Generator:
    """An endless platform: the same seed gives the same records.

    Texts are copied around, a few of them very often; about one in forty is risky, in any of the languages that the
    simulator's word list knows. Images are risky by their URL. About two records in a hundred cannot be judged.
    """

    def __init__(self, seed: int, *, epoch_seconds: float = 1_767_225_600.0) -> None:
        self._dice = random.Random(f"events {seed}")
        self._epoch_seconds = epoch_seconds
        self._ids = count(1)
        self._prefix = f"{self._dice.getrandbits(24):06x}"
        self._spoilt = _in_turn(self._dice)

    def sample(self, at_seconds: float = 0.0) -> Sample:
        """The next record of the mix, posted `at_seconds` after the start."""
        lot = self._dice.randrange(1000)
        if lot < _SPOILT:
            return self._spoil(at_seconds)
        if lot < _SPOILT + _TOMBSTONES:
            return Sample(self._id("m").encode(), None, self._headers(), Expectation("skipped"), "")
        kind = self._dice.choices(_KINDS, _KIND_SHARES)[0]
        if kind == "comment":
            document = self._comment()
        elif kind == "post":
            document = self._post()
        elif kind == "image":
            document = self._image()
        elif kind == "profile":
            document = self._profile()
        else:
            document = self._message(self._stream())
        return self._whole(document, at_seconds)

    def message(self, at_seconds: float, stream: str) -> Sample:
        """A chat message in a stream."""
        return self._whole(self._message(stream), at_seconds)

    def stream(self) -> str:
        """A stream that is about to go live."""
        return f"live-{self._dice.randrange(16**4):04x}"

    # What users post

    def _message(self, stream: str) -> dict[str, Any]:
        language = self._language()
        text = self._text(language, language.messages)
        return {"id": self._id("m"), "kind": "message", "text": text, "thread": stream, "language": language.tag}

    def _comment(self) -> dict[str, Any]:
        language = self._language()
        document = {
            "id": self._id("c"),
            "kind": "comment",
            "text": self._text(language, language.comments),
            "thread": f"post-{self._zipf(200)}",
            "language": language.tag,
        }
        if self._dice.random() < 0.3:
            document["parent"] = f"c-{self._prefix}-{self._dice.randrange(1, 400)}"
        if self._dice.random() < _BY_AI:
            document["origin"] = "ai"
        return document

    def _post(self) -> dict[str, Any]:
        language = self._language()
        post = self._dice.choice(language.posts)
        text = post.text
        if self._dice.random() < _RISKY_TEXTS:
            text = self._risky(language)
        elif self._dice.random() < _LONG_POSTS:
            text = " ".join([text] * (1_100 // len(text) + 1))
        images = [self._image_url() for _ in range(self._dice.choices((1, 2, 3, 4), (4, 3, 2, 1))[0])]
        identity = self._id("p")
        return {
            "id": identity,
            "kind": "post",
            "title": post.title,
            "text": text,
            "images": images,
            "thread": identity,
            "language": language.tag,
        }

    def _image(self) -> dict[str, Any]:
        by_ai = self._dice.random() < _BY_AI
        images = [self._image_url(by_ai=by_ai) for _ in range(self._dice.choices((1, 2, 3, 4), (5, 3, 2, 2))[0])]
        document: dict[str, Any] = {"id": self._id("i"), "kind": "image", "images": images}
        if by_ai:
            document["origin"] = "ai"
        return document

    def _profile(self) -> dict[str, Any]:
        return {
            "id": self._id("u"),
            "kind": "profile",
            "text": f"{self._dice.choice(NICKNAMES)}{self._dice.choice(('', '', '_', '.tv', '2000'))}",
            "images": [{"url": self._image_url(folder="avatars")}],
        }

    # What it is made of

    def _text(self, language: Language, phrases: tuple[str, ...]) -> str:
        dice = self._dice.random()
        if dice < _RISKY_TEXTS:
            return self._risky(language)
        if dice < _RISKY_TEXTS + _VIRAL_TEXTS:
            return VIRAL[self._zipf(len(VIRAL))]
        text = self._dice.choice(phrases)
        if self._dice.random() < 0.35:
            text += f" {self._dice.choice(EMOJI) * self._dice.choice((1, 1, 2, 3))}"
        return text

    def _risky(self, language: Language) -> str:
        return self._dice.choice(language.risky).format(word=self._dice.choice(_RISK_WORDS[language.tag]))

    def _image_url(self, *, folder: str = "photos", by_ai: bool = False) -> str:
        name = f"{self._dice.getrandbits(40):010x}.jpg"
        if by_ai and self._dice.random() < _AI_IMAGES_THAT_SHOW:
            return f"https://cdn.example/aigc/{name}"
        if self._dice.random() < _RISKY_IMAGES:
            return f"https://cdn.example/{folder}/{self._dice.choice(_RISKY_IMAGE_PATHS)}_{name}"
        return f"https://cdn.example/{folder}/{name}"

    def _language(self) -> Language:
        return self._dice.choices(LANGUAGES, [language.share for language in LANGUAGES])[0]

    def _stream(self) -> str:
        return f"stream-{self._zipf(_STREAMS)}"

    def _zipf(self, size: int) -> int:
        """A number below `size`; number k about as often as 1 / (k + 1), as popularity is spread."""
        return int((size + 1) ** self._dice.random()) - 1

    def _id(self, letter: str) -> str:
        return f"{letter}-{self._prefix}-{next(self._ids)}"

    def _headers(self) -> Headers:
        trace, span = self._dice.getrandbits(128), self._dice.getrandbits(64)
        return (("traceparent", f"00-{trace:032x}-{span:016x}-01".encode()), ("app", b"demo"))

    def _whole(self, document: dict[str, Any], at_seconds: float) -> Sample:
        document["author"] = {"id": f"u{self._zipf(5000)}", "nickname": self._dice.choice(NICKNAMES)}
        document["posted_at"] = datetime.fromtimestamp(self._epoch_seconds + at_seconds, UTC).isoformat(
            timespec="milliseconds"
        )
        key = str(document.get("thread") or document["author"]["id"]).encode()
        expectation = Expectation("verdict", _level(document))
        return Sample(key, orjson.dumps(document), self._headers(), expectation, _excerpt(document))

    def _spoil(self, at_seconds: float) -> Sample:
        spoilt = next(self._spoilt)
        whole = self.message(at_seconds, self._stream())
        document = orjson.loads(whole.value or b"{}")
        document["text"] = self._dice.choice(LANGUAGES[0].messages)
        value = spoilt.make(document)
        if spoilt.stage:
            expectation = Expectation("dead_letter", stage=spoilt.stage)
        else:
            expectation = Expectation("verdict", _level(orjson.loads(value)))
        return Sample(whole.key, value, whole.headers, expectation, spoilt.name)


def timeline(generator: Generator, *, rate: float, seed: int) -> Iterator[tuple[float, Sample]]:
    """When each record is posted, in seconds from the start, and the record; endless.

    Records come by chance, `rate` of them a second in the long run. Every 15 s or so, for the first time after about
    5 s, a stream goes live, and for one second its chat brings four times as many as everything else together.
    """
    dice = random.Random(f"times {seed}")
    extra = (_LIVE_FACTOR - 1) * _LIVE_SECONDS / _LIVE_EVERY_SECONDS
    usual = rate / (1 + extra)
    at = 0.0
    live_from = dice.uniform(4.5, 5.5)
    stream = generator.stream()
    while True:
        live = live_from <= at < live_from + _LIVE_SECONDS
        at += dice.expovariate(usual * _LIVE_FACTOR if live else usual)
        if at >= live_from + _LIVE_SECONDS:
            live_from += dice.uniform(0.8, 1.2) * _LIVE_EVERY_SECONDS
            stream = generator.stream()
        chat = live and dice.random() >= 1 / _LIVE_FACTOR
        yield at, generator.message(at, stream) if chat else generator.sample(at)


def _in_turn(dice: random.Random) -> Iterator[Spoilt]:
    """Every way of being spoilt once, in an order of chance, then all over again."""
    while True:
        ways = list(SPOILT)
        dice.shuffle(ways)
        yield from ways


def _level(document: dict[str, Any]) -> Level:
    """The highest risk in a document, as the services of the built-in routes find it. Zero characters hide nothing."""
    text = "\n".join(part for part in (document.get("title"), document.get("text")) if part).replace("\0", "")
    levels = [truth.text(text, "text_international").risk_level] if text else []
    by_ai = document.get("origin") == "ai"
    levels.extend(_picture_level(image, by_ai=by_ai) for image in document.get("images", ()))
    return max(levels, key=_RANK.__getitem__, default="none")


def _picture_level(image: str | dict[str, str], *, by_ai: bool) -> Level:
    url = image if isinstance(image, str) else image["url"]
    levels = [truth.image(url).risk_level]
    if by_ai:
        levels.append(truth.image(url, "image_aigc").risk_level)
    return max(levels, key=_RANK.__getitem__)


def _excerpt(document: dict[str, Any]) -> str:
    """What a list shows of it: its title or text, else its riskiest picture, and how many more there are."""
    images = document.get("images", ())
    words = document.get("title") or document.get("text")
    if not words:
        shown = max(images, key=lambda image: _RANK[_picture_level(image, by_ai=document.get("origin") == "ai")])
        more = f" +{len(images) - 1}" if len(images) > 1 else ""
        return str(shown).removeprefix("https://cdn.example/") + more
    if document["kind"] == "post":
        words = f"{words}: {document['text']}"
    return f"{words} [+{len(images)} img]" if images else str(words)
