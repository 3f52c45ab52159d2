"""Answer → finding: the risk level, the labels and all that is said beside them, for one text or one image."""

from __future__ import annotations

import re
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from consumer.frozen import frozen
from consumer.moderation.protocol.answers import is_judged, level_in, member, number_in, objects_in, text_in, words_in
from consumer.verdict import CustomHit, Label, RiskLevel, RiskPosition, joined_extra


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from consumer.moderation.protocol.answers import Answer
    from consumer.moderation.protocol.requests import Call
    from consumer.verdict import From


__all__ = ["NO_RISK", "Finding", "category_of", "extra_of", "label_of", "read_finding"]


@frozen
class Finding:
    """What an answer with code 200 says of the content; `UNKNOWN` where it does not say how risky it is."""

    risk_level: RiskLevel
    labels: tuple[Label, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


NO_RISK: Final = "nonLabel"
"""The label that says that there is nothing to say. Its `_lib` form is a hit of an allow list."""

_DEEPEST_EXTRA: Final = 12
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Members of `Data` that have a place of their own in a verdict, or only repeat the request.
_NOT_EXTRA: Final = frozenset({"result", "results", "risklevel", "dataid", "accountid", "ext"})


def read_finding(answer: Answer, call: Call) -> Finding:
    """Read the data of an answer with code 200.

    The level is the highest that it states, of the whole or of a label. A missing or unknown level is `UNKNOWN`, never
    "no risk", whatever the labels are; so is that of an answer with any other code.
    """
    if not is_judged(answer):
        return Finding(RiskLevel.UNKNOWN)
    data = answer.data
    media = call.service.media
    judges: From = "text_and_image" if media == "multimodal" else media
    level = level_in(member(data, "RiskLevel"))
    labels: list[Label] = []
    for result in objects_in(member(data, "Result", "Results")):
        label = label_of(result, call.service.name, judges, call.offset)
        own = member(result, "RiskLevel")
        if own is not None:
            level = max(level, level_in(own))
        if label is not None:
            labels.append(label)
    return Finding(level, tuple(labels), extra_of(data, _NOT_EXTRA))


def category_of(label: str) -> str:
    """The group of a label: what stands before its first underscore, without the marks of where it was found."""
    return label.removesuffix("_lib").removesuffix("_tii").split("_", 1)[0]


def label_of(result: Mapping[str, Any], service: str, media: From, offset: int = 0) -> Label | None:
    """One element of a result list; None where it names nothing, or only says that there is no risk.

    `media` is what the service judges, and `offset` where the judged text begins in the event's text, in characters.
    """
    name = text_in(member(result, "Label"))
    if not name or name == NO_RISK:
        return None
    hits = tuple(
        CustomHit(text_in(member(hit, "LibName")), words_in(member(hit, "Keywords")))
        for hit in objects_in(member(result, "CustomizedHit"))
    )
    own = member(result, "RiskLevel")
    return Label(
        label=name,
        category=category_of(name),
        service=service,
        found_in=_found_in(name, media, by_library=bool(hits)),
        description=text_in(member(result, "Description")),
        confidence=_confidence(member(result, "Confidence")),
        risk_level=None if own is None else level_in(own),
        risk_words=words_in(member(result, "RiskWords")),
        positions=tuple(_positions(member(result, "RiskPositions"), offset)),
        custom_hits=hits,
    )


def extra_of(data: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """All other members of an answer's data, and those of its `Ext`, in snake_case; what is empty is left out.

    `known` names the members (in lower case) that have their place elsewhere. What the pages do not know yet is kept.
    """
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name.lower() not in known and not _is_empty(value):
            found[_snake(name)] = _plain(value)
    ext = member(data, "Ext")
    if not isinstance(ext, dict):
        return found
    beside: dict[str, Any] = {}
    for name, value in ext.items():
        plain = _plain(value)
        if name.lower() == "llmcontent" and (output := text_in(member(value, "OutputText"))):
            beside["llm_output"] = output
            plain = {key: inner for key, inner in plain.items() if key not in {"output_text", "outputtext"}}
        if not _is_empty(plain):
            beside[_snake(name)] = plain
    # Two members of one name, one of them in `Ext`, are one member of a verdict.
    return joined_extra([found, beside])


def _found_in(name: str, media: From, *, by_library: bool) -> From:
    if by_library or name.endswith("_lib") or name == "customized":
        return "library"
    return "text_in_image" if name.endswith("_tii") else media


def _confidence(value: Any) -> float | None:
    """A number of percent; one that is none is left out."""
    number = number_in(value)
    return number if number is not None and 0 <= number <= 100 else None


def _positions(value: Any, offset: int) -> Iterator[RiskPosition]:
    for position in objects_in(value):
        start, end = number_in(member(position, "StartPos")), number_in(member(position, "EndPos"))
        if start is not None and end is not None:
            # The text page has an example whose end is before its start.
            low, high = sorted((int(start), int(end)))
            yield RiskPosition(text_in(member(position, "RiskWord")), low + offset, high + offset)


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


@lru_cache(maxsize=1024)
def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with its members in snake_case; nested deeper than anything the service sends, it is left out."""
    if depth > _DEEPEST_EXTRA:
        return None
    if isinstance(value, dict):
        return {_snake(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    return value
