"""What was expected of a record and what became of it, side by side, a line for each field."""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import orjson
import yaml


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.rehearsal.book import Ending
    from consumer.rehearsal.cases import Expected, ExpectedCall
    from consumer.rehearsal.service import Sent


__all__ = ["difference", "summary"]


_WIDTH = 10_000


def difference(expected: Expected, ending: Ending) -> list[str]:
    """Nothing where all is as expected, else its lines: `- ` what was expected, `+ ` what was found, `  ` both."""
    wanted, found = _wanted(expected), _found(expected, ending)
    if wanted == found:
        return []
    before, after = _lines(wanted), _lines(found)
    lines: list[str] = []
    for kind, low, high, to_low, to_high in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += [f"  {line}" for line in before[low:high]]
        else:
            lines += [f"- {line}" for line in before[low:high]]
            lines += [f"+ {line}" for line in after[to_low:to_high]]
    return lines


def summary(ending: Ending) -> str:
    """What became of the record, in a line."""
    if ending.waits_for:
        return f"it never ended: {ending.waits_for}"
    if ending.skipped:
        return "it was skipped: it has no value, or none that is to be judged"
    if ending.error is not None:
        return f"a dead letter, {ending.error.stage}/{ending.error.reason}: {ending.error}"
    if ending.verdict is None or ending.out is None:
        return "nothing became of it"
    judgement = ending.verdict.judgement
    labels = f", for {', '.join(sorted({label.label for label in judgement.labels}))}" if judgement.labels else ""
    level = judgement.risk_level.word
    return f"a verdict, {ending.verdict.action} (risk {level}{labels}), by route {ending.route}, to {ending.out.topic}"


def _wanted(expected: Expected) -> dict[str, Any]:
    """What is expected, with nothing that may be anything, and all that has no order in one."""
    wanted = expected.model_dump(exclude_unset=True, exclude_none=True)
    if not wanted.get("skipped", True):
        del wanted["skipped"]
    if expected.calls is not None:
        wanted["calls"] = [call.model_dump(exclude_unset=True, exclude_none=True) for call in expected.calls]
    return {name: _ordered(name, value) for name, value in wanted.items()}


def _ordered(name: str, value: Any) -> Any:
    if name == "verdict":
        return {field: sorted(one) if isinstance(one, list) else one for field, one in value.items()}
    return value


def _found(expected: Expected, ending: Ending) -> dict[str, Any]:
    """What became of the record: what is expected of it, and what was not expected at all."""
    found: dict[str, Any] = {}
    for name in _wanted(expected):
        if name == "route" and ending.route:
            found["route"] = ending.route
        elif name == "calls":
            found["calls"] = _calls(expected.calls or (), ending.sent)
        elif name == "verdict" and ending.verdict is not None and expected.verdict is not None:
            found["verdict"] = _verdict(ending, _wanted(expected)["verdict"])
        elif name == "topic" and ending.out is not None:
            found["topic"] = ending.out.topic
        elif name == "dead_letter" and ending.error is not None:
            found["dead_letter"] = _code(expected.dead_letter or "", ending)
        elif name == "position" and ending.position:
            found["position"] = ending.position
    if ending.error is not None and "dead_letter" not in found:
        found["dead_letter"] = f"{ending.error.stage}/{ending.error.reason}"
    if ending.verdict is not None and (expected.dead_letter is not None or expected.skipped):
        found["verdict"] = _verdict(ending, ("action", "risk_level", "labels"))
    if ending.skipped:
        found["skipped"] = True
    if ending.waits_for:
        found["waits_for"] = ending.waits_for
    return found


def _code(expected: str, ending: Ending) -> str:
    """The stage and reason of a dead letter, or its reason alone, where the stage is not asked for."""
    if ending.error is None:
        return ""
    return f"{ending.error.stage}/{ending.error.reason}" if "/" in expected else ending.error.reason


def _verdict(ending: Ending, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    if ending.verdict is None:
        return {}
    written = orjson.loads(ending.verdict.to_json())
    written["labels"] = sorted({label["label"] for label in written["labels"]})
    written["services"] = sorted(written["services"])
    return {name: written[name] for name in names}


def _calls(expected: Sequence[ExpectedCall], sent: Sequence[Sent]) -> list[dict[str, Any]]:
    """The calls in the order in which they were expected, with those fields that are; then all others."""
    left = list(Counter(sent))
    found: list[dict[str, Any]] = []
    for one in expected:
        fields = one.model_dump(exclude_unset=True, exclude_none=True)
        match = next((call for call in left if _seen(call, fields) == fields), None)
        if match is not None:
            left.remove(match)
            found.append(fields)
    return found + [_seen(call, ("service", "text", "images")) for call in left]


def _seen(call: Sent, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """A call's fields of these names, but for those that are empty unless they are asked for."""
    fields = {"service": call.service, "text": call.text, "images": list(call.images)}
    asked = isinstance(names, dict)
    return {name: value for name, value in fields.items() if name in names and (value or asked)}


def _lines(value: Mapping[str, Any]) -> list[str]:
    text: str = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=_WIDTH) if value else ""
    return text.splitlines()
