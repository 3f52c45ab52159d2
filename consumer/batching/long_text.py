"""Long text: cut at sentence ends with an overlap, and what was found in the pieces brought together again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.verdict import Label


__all__ = ["OVERLAP_CHARACTERS", "Piece", "cut", "join_labels", "length", "shifted"]


# Long enough for the phrases that a word list knows, short enough to cost little where characters are billed.
OVERLAP_CHARACTERS = 60

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？；।؟]+[”’」』）]*|\n+")
_WHITE_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that one call takes; `start` is where it begins in the whole, in code points."""

    start: int
    text: str


def length(text: str) -> int:
    """How long a text is for the service's limits, in UTF-16 code units.

    The pages say "characters" and not which. This count is never below that of code points, so a text that fits by it
    fits by either.
    """
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, limit: int, *, overlap: int = OVERLAP_CHARACTERS) -> list[Piece]:
    """The text in pieces of at most `limit` characters, each beginning with the last words of the one before.

    A cut is made at the end of a sentence where the second half of a piece has one, else between words, else anywhere.
    What stands across a cut stands whole in the overlap, if it is no longer than that.
    """
    if limit <= 2 * overlap:
        overlap = limit // 4
    pieces: list[Piece] = []
    start = 0
    while True:
        end = _reach(text, start, limit)
        if end == len(text):
            pieces.append(Piece(start, text[start:]))
            return pieces
        end = _good_end(text, start, end)
        pieces.append(Piece(start, text[start:end]))
        start = _good_start(text, max(start + 1, end - overlap), end)


def shifted(label: Label, by: int) -> Label:
    """The label of a piece, with its positions counted in the whole text."""
    if not by or not label.positions:
        return label
    positions = tuple(replace(one, start=one.start + by, end=one.end + by) for one in label.positions)
    return replace(label, positions=positions)


def join_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Each label once for each service and place it was found in, with all words and places, at its highest."""
    joined: dict[tuple[str, str, str], Label] = {}
    for label in labels:
        key = (label.label, label.service, label.found_in)
        known = joined.get(key)
        if known is None:
            joined[key] = label
            continue
        confidences = [one for one in (known.confidence, label.confidence) if one is not None]
        levels = [one for one in (known.risk_level, label.risk_level) if one is not None]
        joined[key] = replace(
            known,
            confidence=max(confidences, default=None),
            risk_level=max(levels, default=None),
            risk_words=tuple(dict.fromkeys(known.risk_words + label.risk_words)),
            positions=tuple(dict.fromkeys(known.positions + label.positions)),
            custom_hits=tuple(dict.fromkeys(known.custom_hits + label.custom_hits)),
        )
    return tuple(joined.values())


def _reach(text: str, start: int, limit: int) -> int:
    """How far a piece that begins at `start` may go."""
    end = min(len(text), start + limit)
    while (excess := length(text[start:end]) - limit) > 0:
        end -= (excess + 1) // 2
    return end


def _good_end(text: str, start: int, end: int) -> int:
    half = start + (end - start) // 2
    # One character beyond the reach may be looked at, to see that a full stop ends a sentence and not half a number.
    sentences = [found.end() for found in _SENTENCE_END.finditer(text, half, min(len(text), end + 1))]
    spaces = [found.end() for found in _WHITE_SPACE.finditer(text, half, end)]
    return next((at for ends in (sentences, spaces) for at in reversed(ends) if half < at <= end), end)


def _good_start(text: str, earliest: int, end: int) -> int:
    """The first beginning of a word in the overlap; where there is none, as in Chinese, the overlap's beginning."""
    found = _WHITE_SPACE.search(text, earliest, end)
    return found.end() if found is not None and found.end() < end else earliest
