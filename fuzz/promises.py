"""What must hold for any answer whatever: nothing raises, nothing is clean by accident, everything can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from consumer.moderation.protocol.codes import look_up
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.responses import read, read_content, read_finding, read_parts, task_id_of
from consumer.moderation.protocol.services import KNOWN
from consumer.policy import Policy
from consumer.record import Partition, Record
from consumer.verdict import Judgement, RiskLevel, Verdict


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.batching.thread import Path
    from consumer.moderation.protocol.responses import Answer, Finding


__all__ = ["CALLS", "PATHS", "broken_promises"]


PATHS: tuple[Path, ...] = ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
"""The parts of the multimodal call that each answer is read for: a post, two comments, and three replies."""

CALLS = (
    Call(KNOWN["ugc_moderation_byllm"], characters=10, offset=7),
    Call(KNOWN["baselineCheck_global"], images=1),
)
"""The calls of one text and of one image that each answer is read for."""

_MULTIMODAL = "post_text_image_detection"
_RECORD = Record(Partition("t", 0), 0, 0, None, None)
_POLICY = Policy()
_KNOWN = frozenset(level.word for level in RiskLevel if level is not RiskLevel.UNKNOWN)


def broken_promises(body: bytes, status: int) -> list[str]:
    """What an answer of these bytes breaks, a line each; an empty list when all is as promised."""
    broken: list[str] = []
    try:
        for answer, where, finding in _readings(body, status):
            broken += (f"{where}: {line}" for line in _broken_by(answer, finding, body, status))
    except Exception as error:  # noqa: BLE001  # that nothing at all may be raised is the promise
        broken.append(f"raised {type(error).__name__}: {error}")
    return broken


def _readings(body: bytes, status: int) -> Iterator[tuple[Answer, str, Finding]]:
    """Every way in which these bytes may be read."""
    answer = read(body, status)
    look_up(answer)
    task_id_of(answer)
    for call in CALLS:
        yield answer, call.service.media, read_finding(answer, call)
    for path, finding in read_parts(answer, _MULTIMODAL, PATHS).items():
        yield answer, f"part {path}", finding
    content = read_content(body)
    for path, finding in read_parts(content, _MULTIMODAL, PATHS).items():
        yield content, f"callback part {path}", finding


def _broken_by(answer: Answer, finding: Finding, body: bytes, status: int) -> Iterator[str]:
    level = finding.risk_level
    judgement = Judgement(level, ("service",), labels=finding.labels, extra=finding.extra)
    action = _POLICY.action(judgement)
    verdict = Verdict("id", "message", "route", action, judgement, _RECORD, 0.0, 0.0)
    if orjson.loads(verdict.to_json())["risk_level"] != level.word:
        yield "the verdict does not say its level"
    if level is RiskLevel.UNKNOWN:
        if action == "pass":
            yield "an unknown answer passes"
        return
    if look_up(answer).outcome != "judged" or answer.code != 200 or not 200 <= answer.http_status < 300:
        yield f"{level.word} from an answer with code {answer.code!r} and HTTP {status}"
    if level > RiskLevel.UNKNOWN:
        return  # a label may be riskier than the whole is said to be
    stated = _stated_levels(body)
    if not stated:
        yield f"{level.word}, and no known level for the whole"
    elif level is RiskLevel.NONE and "none" not in stated and not _names_a_risk(body):
        yield "clean beside a risk that nothing else explains"


def _stated_levels(body: bytes) -> set[str]:
    """The known levels that stand where the level of the whole does; read apart from the reader that is tested."""
    document = orjson.loads(body)
    holders = [document, *(value for name, value in document.items() if name.lower() == "data")]
    found = (
        value.strip().lower()
        for holder in holders
        if isinstance(holder, dict)
        for name, value in holder.items()
        if name.lower() == "risklevel" and isinstance(value, str)
    )
    return {word for word in found if word in _KNOWN}


def _names_a_risk(body: bytes) -> bool:
    """Whether any label at all stands in the answer that is more than "no risk"."""
    stack: list[Any] = [orjson.loads(body)]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            if any(name.lower() == "label" and value and value != "nonLabel" for name, value in one.items()):
                return True
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
    return False
