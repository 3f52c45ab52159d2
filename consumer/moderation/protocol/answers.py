"""Bytes → answer: who answered, with which code and which data, in every dialect and without ever failing."""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from consumer.frozen import frozen
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = [
    "Answer",
    "Layer",
    "is_judged",
    "level_in",
    "member",
    "number_in",
    "objects_in",
    "read",
    "read_content",
    "text_in",
    "word_in",
    "words_in",
]


class Layer(Enum):
    """Who answered."""

    BUSINESS = "business"
    """The moderation service, with a number for a code."""
    GATEWAY = "gateway"
    """The gateway before it, with a word for a code."""
    UNREADABLE = "unreadable"
    """Something else, or nothing that can be read."""


@frozen
class Answer:
    """One answer. `data` is empty where there is none."""

    layer: Layer
    http_status: int
    code: int | str | None = None
    request_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


_LEVELS: Final = {level.word: level for level in RiskLevel if level is not RiskLevel.UNKNOWN}
_LONGEST_CODE: Final = 6
# Both are named in logs, metrics and dead letters: what has any other form may be anything that was sent to us.
_WORD: Final = re.compile(r"[\w.:/*-]{1,128}", re.ASCII)


def read(body: bytes, http_status: int) -> Answer:
    """Read one answer, whatever its bytes are.

    A number as `Code` is the service's own answer, a word is the gateway's. "200" counts only where HTTP agrees that
    the request succeeded.
    """
    parsed = _object(body)
    if parsed is None:
        return Answer(Layer.UNREADABLE, http_status)
    code = _code(member(parsed, "Code"))
    request_id = _request_id(parsed)
    if code is None or (code == 200 and not 200 <= http_status < 300):
        return Answer(Layer.UNREADABLE, http_status, request_id=request_id)
    if isinstance(code, str):
        return Answer(Layer.GATEWAY, http_status, code, request_id)
    data = member(parsed, "Data")
    return Answer(Layer.BUSINESS, http_status, code, request_id, data if isinstance(data, dict) else {})


def read_content(content: bytes) -> Answer:
    """Read the `Content` of a callback: the whole answer to a query, or only its data.

    The page on callbacks says "the same structure as the result", and not whether the code and its like stand around
    it. Content without a code is taken for data if it names a risk level: a callback is sent when a task has ended.
    """
    parsed = _object(content)
    if parsed is not None and member(parsed, "Code") is None and member(parsed, "RiskLevel") is not None:
        return Answer(Layer.BUSINESS, 200, 200, _request_id(parsed), parsed)
    return read(content, 200)


def is_judged(answer: Answer) -> bool:
    """Whether it has code 200, so that its data is a judgement."""
    return answer.layer is Layer.BUSINESS and answer.code == 200


def member(value: Any, *names: str) -> Any:
    """The first member of one of these names, in any letter case; None where there is none."""
    if not isinstance(value, dict):
        return None
    for name in names:
        if name in value:
            return value[name]
    lowered = _lowered(names)
    if lowered.isdisjoint(map(str.lower, value)):
        return None
    for name, found in value.items():
        if name.lower() in lowered:
            return found
    return None


@cache
def _lowered(names: tuple[str, ...]) -> frozenset[str]:
    """The names that the program asks for, of which there are a few dozen."""
    return frozenset(name.lower() for name in names)


def objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; an object that stands where a list should be counts as one."""
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, dict):
            yield one


def level_in(value: Any) -> RiskLevel:
    """The risk level of this name, in any letter case; everything else is `UNKNOWN`."""
    return _LEVELS.get(value.strip().lower(), RiskLevel.UNKNOWN) if isinstance(value, str) else RiskLevel.UNKNOWN


def number_in(value: Any) -> float | None:
    """A number, also one written as a string; only what JSON can carry on."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 2**53 else None


def text_in(value: Any) -> str:
    """A string; everything else is empty."""
    return value if isinstance(value, str) else ""


def words_in(value: Any) -> tuple[str, ...]:
    """Words separated by commas, or in a list."""
    parts = value if isinstance(value, list) else text_in(value).split(",")
    return tuple(word for part in parts if (word := text_in(part).strip()))


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def word_in(value: Any) -> str | None:
    """A code or an id as it may be repeated in logs and errors; None where it has not the form of one."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _request_id(parsed: dict[str, Any]) -> str | None:
    return word_in(member(parsed, "RequestId"))


def _code(value: Any) -> int | str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        word = value.strip()
        if word.isascii() and word.isdigit() and len(word) <= _LONGEST_CODE:
            return int(word)
        return word_in(word)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 10**_LONGEST_CODE else None
    return value if isinstance(value, int) else None
