"""Invented traffic, seeded and lifelike, with the truth about it: what benchmarks and estimates are tried on."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import orjson

from consumer.event import Event, Image
from consumer.simulator import truth


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["Posted", "as_record", "chat"]


# What people say most, the most frequent first; the rest of the vocabulary is made of it.
_SAYINGS = (  # noqa: SIM905  # a line each would fill two pages
    "gg,lol,😂,W,L,hi,+1,ok,haha,lmao,no,yes,nice,gg wp,???,wow,first,pog,KEKW,F,omg,what,same,😍,🔥,hello,rip,lets go,"
    "thanks,good one,true,bro,wtf happened,ez,hype,clip it,❤️,👏,LUL,again,so good,nooo,yesss,love it,brb,gn,sup,mods,"
    "666,哈哈哈,前排,来了,好听,jaja,vamos,hola,kkkk,boa,bonjour,mdr,привет,лол,ㅋㅋㅋ,草,おつ,888"
).split(",")
_TAILS = ("", "!", "!!", " 😂", " lol", " bro", "...", " 🔥", " chat", " fr")
_WHO = (
    "the boss",
    "my brother",
    "this guy",
    "the new map",
    "our team",
    "that song",
    "the camera",
    "your cat",
    "he",
    "she",
)
_DOES = (
    "never saw",
    "just beat",
    "looks like",
    "should try",
    "forgot about",
    "needs",
    "reminds me of",
    "broke",
    "loves",
)
_WHAT = (
    "the second level",
    "a better headset",
    "my old teacher",
    "the red one",
    "that recipe",
    "season two",
    "the bus",
)
_WHEN = (
    "yesterday",
    "since 2019",
    "at 3 am",
    "for the whole game",
    "in the last round",
    "before lunch",
    "again",
    "today",
)
_TOPICS = ("market haul", "trail report", "new shelf", "first loaf", "old camera", "garden in May", "night train")
_RISKY_FRAMES = ("{} here, ask me", "guys {} and nobody stops it", "{}", "for real, {}, message me", "who said {}?")

# Shares of all events; the rest are messages.
_COMMENTS = 0.22
_POSTS = 0.03
# Shares of texts.
_RISKY = 0.02
_RISKY_COPIES = 0.3
_SAYINGS_OF_MESSAGES = 0.55
_SAYINGS_OF_COMMENTS = 0.25
_LONG = 0.01
_POSTS_WITH_IMAGE = 0.3
_REPLIES = 0.25

_VOCABULARY = 600
_SPAM = 40
_POSTS_ALIVE = 300
_ATTENTION_SECONDS = 240.0
_WORDS = tuple(word.text for word in truth.WORDS if word.mainland is not None and word.international is not None)


@dataclass(frozen=True, slots=True)
class Posted:
    """An event, and when it was posted, in seconds from the start."""

    at_seconds: float
    event: Event


@dataclass(slots=True)
class _Post:
    name: str
    at_seconds: float
    appeal: float
    comments: list[str]


def chat(seed: int, *, rate: float = 50.0) -> Iterator[Posted]:
    """An endless platform with `rate` events a second on average: the same seed gives the same events.

    Three quarters are messages of a chat. Over half of these are sayings: a vocabulary of hundreds, used as words of a
    language are, number k about as often as 1 / k; the others are unique. The rest are posts and comments. Few posts
    draw most of the comments, and each is forgotten within minutes. 2 % of all texts are risky by the simulator's word
    list, in any of its languages; a third of these are copies of some lines of spam. One text in a hundred is long.
    """
    return _Platform(seed).posted(rate)


def as_record(event: Event) -> bytes:
    """The event as a record of the default mapping."""
    return orjson.dumps(
        {
            "id": event.id,
            "kind": event.kind,
            "text": event.text,
            "title": event.title,
            "images": [image.url for image in event.images],
            "thread": event.thread,
            "parent": event.parent,
        }
    )


class _Platform:
    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"chat {seed}")
        self._names = (f"{seed}-{number}" for number in count())
        plain = [saying + tail for tail in _TAILS for saying in _SAYINGS]
        self._vocabulary = plain[:_VOCABULARY]
        self._spam = [self._risky_line() for _ in range(_SPAM)]
        self._posts: deque[_Post] = deque(maxlen=_POSTS_ALIVE)

    def posted(self, rate: float) -> Iterator[Posted]:
        at = 0.0
        while True:
            at += self._dice.expovariate(rate)
            yield Posted(at, self._event(at))

    def _event(self, at: float) -> Event:
        dice = self._dice.random()
        name = next(self._names)
        if dice < _POSTS or not self._posts:
            self._posts.append(_Post(name, at, self._dice.paretovariate(1.0), []))
            return self._post(name)
        if dice < _POSTS + _COMMENTS:
            return self._comment(name, at)
        return Event(name, "message", text=self._text(_SAYINGS_OF_MESSAGES))

    def _post(self, name: str) -> Event:
        text = self._risky() if self._dice.random() < _RISKY else " ".join(self._sentence() for _ in range(3))
        images = (Image(f"https://cdn.example/photos/{name}.jpg"),) if self._dice.random() < _POSTS_WITH_IMAGE else ()
        return Event(name, "post", text=text, title=self._dice.choice(_TOPICS), images=images, thread=name)

    def _comment(self, name: str, at: float) -> Event:
        weights = [post.appeal * math.exp((post.at_seconds - at) / _ATTENTION_SECONDS) for post in self._posts]
        post = self._dice.choices(self._posts, weights)[0]
        reply = post.comments and self._dice.random() < _REPLIES
        parent = self._dice.choice(post.comments[-20:]) if reply else None
        post.comments.append(name)
        return Event(name, "comment", text=self._text(_SAYINGS_OF_COMMENTS), thread=post.name, parent=parent)

    def _text(self, sayings: float) -> str:
        if self._dice.random() < _RISKY:
            return self._risky()
        if self._dice.random() < sayings:
            return self._vocabulary[self._rank(_VOCABULARY)]
        if self._dice.random() < _LONG:
            return " ".join(self._sentence() for _ in range(self._dice.randrange(15, 30)))
        return self._sentence()

    def _risky(self) -> str:
        copied = self._dice.random() < _RISKY_COPIES
        return self._spam[self._rank(_SPAM)] if copied else f"{self._risky_line()} {self._dice.randrange(10**6)}"

    def _risky_line(self) -> str:
        return self._dice.choice(_RISKY_FRAMES).format(self._dice.choice(_WORDS))

    def _sentence(self) -> str:
        parts = [self._dice.choice(part) for part in (_WHO, _DOES, _WHAT, _WHEN)]
        return f"{' '.join(parts)}, {self._dice.randrange(10**5)} times"

    def _rank(self, size: int) -> int:
        """A number below `size`; number k about as often as 1 / (k + 1)."""
        return int((size + 1) ** self._dice.random()) - 1
