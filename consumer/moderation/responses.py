"""What comes back: bytes → answer → risk level and labels, in every dialect, without ever failing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import orjson

from consumer.verdict import CustomHit, Label, RiskLevel, RiskPosition


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.moderation.requests import Call
    from consumer.verdict import From


__all__ = ["Answer", "Finding", "Layer", "category_of", "read", "read_finding"]


class Layer(Enum):
    """Who answered."""

    BUSINESS = "business"
    """The moderation service, with a number for a code."""
    GATEWAY = "gateway"
    """The gateway before it, with a word for a code."""
    UNREADABLE = "unreadable"
    """Something else, or nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `data` is empty where there is none."""

    layer: Layer
    http_status: int
    code: int | str | None = None
    request_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What an answer with code 200 says of the content; `UNKNOWN` where it does not say how risky it is."""

    risk_level: RiskLevel
    labels: tuple[Label, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


_LEVELS: Final = {level.word: level for level in RiskLevel if level is not RiskLevel.UNKNOWN}
_NO_RISK: Final = "nonLabel"
_LONGEST_CODE: Final = 6
_DEEPEST_EXTRA: Final = 12
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Members of `Data` that go into a verdict's `extra`; `Ext` has more, each under its own name.
_EXTRA: Final = {
    "TranslatedContent": "translated_content",
    "DetectedLanguage": "detected_language",
    "ManualTaskId": "manual_task_id",
}


def read(body: bytes, http_status: int) -> Answer:
    """Read one answer, whatever its bytes are.

    A number as `Code` is the service's own answer, a word is the gateway's. "200" counts only where HTTP agrees that
    the request succeeded.
    """
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return Answer(Layer.UNREADABLE, http_status)
    if not isinstance(parsed, dict):
        return Answer(Layer.UNREADABLE, http_status)
    code = _code(_get(parsed, "Code"))
    request_id = _text(_get(parsed, "RequestId")) or None
    if code is None or (code == 200 and not 200 <= http_status < 300):
        return Answer(Layer.UNREADABLE, http_status, request_id=request_id)
    if isinstance(code, str):
        return Answer(Layer.GATEWAY, http_status, code, request_id)
    data = _get(parsed, "Data")
    return Answer(Layer.BUSINESS, http_status, code, request_id, data if isinstance(data, dict) else {})


def read_finding(answer: Answer, call: Call) -> Finding:
    """Read the data of an answer with code 200.

    The level is the highest that it states, of the whole or of a label. A missing or unknown level is `UNKNOWN`, never
    "no risk", whatever the labels are.
    """
    data = answer.data
    results = _get(data, "Result", "Results")
    level = _level(_get(data, "RiskLevel"))
    labels: list[Label] = []
    for result in _dicts(results):
        own = _get(result, "RiskLevel")
        if own is not None:
            level = max(level, _level(own))
        name = _text(_get(result, "Label"))
        if name and name != _NO_RISK:
            labels.append(_label(name, result, call))
    return Finding(level, tuple(labels), _extra(data))


def category_of(label: str) -> str:
    """The group of a label: what stands before its first underscore, without the marks of where it was found."""
    return label.removesuffix("_lib").removesuffix("_tii").split("_", 1)[0]


def _label(name: str, result: Mapping[str, Any], call: Call) -> Label:
    hits = tuple(
        CustomHit(_text(_get(hit, "LibName")), _words(_get(hit, "Keywords")))
        for hit in _dicts(_get(result, "CustomizedHit"))
    )
    return Label(
        label=name,
        category=category_of(name),
        service=call.service.name,
        found_in=_found_in(name, call, by_library=bool(hits)),
        description=_text(_get(result, "Description")),
        confidence=_number(_get(result, "Confidence")),
        risk_words=_words(_get(result, "RiskWords")),
        positions=tuple(_positions(_get(result, "RiskPositions"), call.offset)),
        custom_hits=hits,
    )


def _found_in(name: str, call: Call, *, by_library: bool) -> From:
    if by_library or name.endswith("_lib") or name == "customized":
        return "library"
    if name.endswith("_tii"):
        return "text_in_image"
    return call.service.media


def _positions(value: Any, offset: int) -> Iterator[RiskPosition]:
    for position in _dicts(value):
        start, end = _number(_get(position, "StartPos")), _number(_get(position, "EndPos"))
        if start is not None and end is not None:
            # The text page has an example whose end is before its start.
            low, high = sorted((int(start), int(end)))
            yield RiskPosition(_text(_get(position, "RiskWord")), low + offset, high + offset)


def _extra(data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member, name in _EXTRA.items():
        value = _text(_get(data, member))
        if value:
            found[name] = value
    ext = _get(data, "Ext")
    if isinstance(ext, dict):
        for member, value in ext.items():
            if value not in (None, "", [], {}):
                found[_snake(member)] = _plain(value)
        output = _text(_get(_get(ext, "LlmContent"), "OutputText"))
        if output:
            found.pop("llm_content", None)
            found["llm_output"] = output
    return found


def _get(value: Any, *names: str) -> Any:
    """The first member of one of these names, in any letter case; None where there is none."""
    if not isinstance(value, dict):
        return None
    for name in names:
        if name in value:
            return value[name]
    lowered = {name.lower() for name in names}
    return next((found for name, found in value.items() if name.lower() in lowered), None)


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; an object that stands where a list should be counts as one."""
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, dict):
            yield one


def _code(value: Any) -> int | str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        word = value.strip()
        if word.isascii() and word.isdigit() and len(word) <= _LONGEST_CODE:
            return int(word)
        return word or None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 10**_LONGEST_CODE else None
    return value if isinstance(value, int) else None


def _level(value: Any) -> RiskLevel:
    return _LEVELS.get(value.strip().lower(), RiskLevel.UNKNOWN) if isinstance(value, str) else RiskLevel.UNKNOWN


def _number(value: Any) -> float | None:
    """A number, also one written as a string; only what JSON can carry on."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 2**53 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _words(value: Any) -> tuple[str, ...]:
    """Words separated by commas, or in a list."""
    parts = value if isinstance(value, list) else _text(value).split(",")
    return tuple(word for part in parts if (word := _text(part).strip()))


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with its members in snake_case; nested deeper than anything the service sends, it is left out."""
    if depth > _DEEPEST_EXTRA:
        return None
    if isinstance(value, dict):
        return {_snake(name): _plain(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member, depth + 1) for member in value]
    return value
