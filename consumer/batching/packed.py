"""Packed texts: how many go into one call, how they are joined, and what a call that is not clean costs more."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from consumer.batching.long_text import length


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence


__all__ = [
    "SEPARATOR",
    "RiskRate",
    "Room",
    "best_size",
    "expected_calls",
    "halves",
    "joined",
    "longest_packed",
    "parts",
]


T = TypeVar("T")

SEPARATOR = "\n---\n"
"""What stands between two texts: a line that no word list and no reader takes for a part of either."""

# A text is short if a call has room for so many of its length.
_SHARES = 4
# What is taken for the risk rate before anything is known, and how many texts this counts as.
_USUAL_RATE = 0.05
_USUAL_TEXTS = 50.0
# After so many more texts what was seen counts only a third.
_MEMORY_TEXTS = 1000.0


def expected_calls(texts: int, risk: float) -> float:
    """How many calls it takes, on average, to clear or find each of so many texts.

    All are asked about in one call; if it is not clean, both halves are, and so on. A text that stands alone has its
    own verdict. Each is risky with probability `risk`, by itself.

    A call about n texts is followed by those about its halves, unless it is clean: then each half would have been one
    clean call. So E(n) = 1 + E(⌈n/2⌉) + E(⌊n/2⌋) - 2·(1 - risk)ⁿ, and E(1) = 1. Answers that name what they found take
    fewer calls than that, see `parts`.
    """
    clean = 1.0 - risk
    known: dict[int, float] = {1: 1.0}

    def calls(count: int) -> float:
        if count not in known:
            known[count] = 1.0 + calls(count - count // 2) + calls(count // 2) - 2.0 * clean**count
        return known[count]

    return calls(texts)


@lru_cache(maxsize=4096)
def best_size(risk: float, most: int) -> int:
    """How many texts, at most `most`, make a call cost least for each of them: 1 where packing saves nothing."""
    return min(range(1, most + 1), key=lambda texts: expected_calls(texts, risk) / texts)


class RiskRate:
    """The share of texts that were found risky of late: a thousand or two, and a usual rate before there are any.

    `risky` and `texts` are what it remembers, and what it can be made from again.
    """

    __slots__ = ("risky", "texts")

    def __init__(self, risky: float = 0.0, texts: float = 0.0) -> None:
        self.risky = risky
        self.texts = texts

    @property
    def value(self) -> float:
        """The share, to a thousandth: no finer difference matters for a size."""
        return round((_USUAL_RATE * _USUAL_TEXTS + self.risky) / (_USUAL_TEXTS + self.texts), 3)

    def saw(self, texts: int, risky: int) -> None:
        """So many texts were judged, and so many of them were risky."""
        kept = (1.0 - 1.0 / _MEMORY_TEXTS) ** texts
        self.texts = self.texts * kept + texts
        self.risky = self.risky * kept + risky


class Room:
    """Fills one call text by text, and says when the next one does not fit. Characters are counted as for the limit."""

    __slots__ = ("_left", "_texts_left")

    def __init__(self, characters: int, texts: int) -> None:
        self._left = characters + len(SEPARATOR)
        self._texts_left = texts

    @property
    def full(self) -> bool:
        """Whether there is room for no other text."""
        return self._texts_left <= 0 or self._left <= len(SEPARATOR)

    def take(self, text: str) -> bool:
        """Make room for a text; False, and nothing changed, where there is none."""
        needed = length(text) + len(SEPARATOR)
        if self._texts_left <= 0 or needed > self._left:
            return False
        self._left -= needed
        self._texts_left -= 1
        return True


def longest_packed(max_characters: int) -> int:
    """How long a text may be to be packed, where a call takes so many characters.

    A piece that a longer text was cut into is longer: see `consumer.batching.long_text.cut`.
    """
    return max_characters // _SHARES


def joined(texts: Iterable[str]) -> str:
    """The text of one call about all of these."""
    return SEPARATOR.join(texts)


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The two calls that follow one which was not clean; the first is the larger, if they differ."""
    middle = len(items) - len(items) // 2
    return items[:middle], items[middle:]


def parts(items: Sequence[T], text_of: Callable[[T], str], words: Collection[str]) -> list[Sequence[T]]:
    """What is asked about next, after a call about all of these was not clean: its halves.

    Where the answer names words that it found, and at most half of the texts hold one, each of these is asked about
    alone, and all others in one call: mostly that is all that is needed. No text is cleared by not being named.
    """
    named = [word.casefold() for word in words if word]
    suspected: list[Sequence[T]] = []
    others: list[T] = []
    for item in items:
        text = text_of(item).casefold()
        if any(word in text for word in named):
            suspected.append([item])
        else:
            others.append(item)
    return [*suspected, others] if 0 < len(suspected) <= len(items) // 2 else list(halves(items))
