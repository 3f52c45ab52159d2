"""Answers of multimodal tasks: the task's id when it is submitted, and a finding for each part when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consumer.moderation.protocol.answers import is_judged, level_in, member, objects_in, text_in
from consumer.moderation.protocol.findings import NO_RISK, Finding, extra_of, label_of
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.batching.thread import Path
    from consumer.moderation.protocol.answers import Answer
    from consumer.verdict import Label


__all__ = ["read_parts", "task_id_of"]


# Members of `Data` that have a place of their own in a verdict, or only repeat the request.
_NOT_EXTRA: Final = frozenset({"risklevel", "maindata", "commentdatas", "dataid", "reqid", "taskid", "ext"})


def task_id_of(answer: Answer) -> str | None:
    """The id of a submitted task: `ReqId` in the SDK and the reference, `TaskId` in the page's example.

    None where there is none: such a task was perhaps paid for, and its result can never be had.
    """
    for name in ("ReqId", "TaskId"):
        found = text_in(member(answer.data, name)).strip()
        if found:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Part:
    """One element of the answer. `said` is whether it has a result at all; an empty one is one."""

    said: bool
    labels: tuple[Label, ...] = ()

    @property
    def risky(self) -> bool:
        """Whether any label is more than a hit of an allow list."""
        return any(label.category != NO_RISK for label in self.labels)


@dataclass(frozen=True, slots=True)
class _Mirror:
    """The answer by paths. `lists` has the length of each list of comments, by the path of what they belong to."""

    parts: dict[Path, _Part] = field(default_factory=dict)
    lists: dict[Path, int] = field(default_factory=dict)


def read_parts(answer: Answer, service_name: str, paths: Sequence[Path]) -> dict[Path, Finding]:
    """One finding for each of `paths`, the places of parts in the call: the answer mirrors the request by position.

    There is one risk level for all of them. A part that names a risk has it. A part that names none is clean where
    nothing is risky, or where another part names what is; where none does, each part has the level of all. Unknown is
    what the answer does not mention, everything where the level of all is unknown, and, in a risky answer, a part
    without a risk among comments of which some are missing: there, positions prove nothing.
    """
    if not is_judged(answer):
        return {path: Finding(RiskLevel.UNKNOWN) for path in paths}
    data = answer.data
    whole = level_in(member(data, "RiskLevel"))
    mirror = _mirror(data, service_name)
    explained = any(part.risky for part in mirror.parts.values())
    short = {path[:-1] for path in paths if path and path[-1] >= mirror.lists.get(path[:-1], 0)}

    def level_of(path: Path, part: _Part) -> RiskLevel:
        if not part.said:
            return RiskLevel.UNKNOWN
        if whole in {RiskLevel.UNKNOWN, RiskLevel.NONE} or part.risky or not explained:
            return max([whole, *(label.risk_level or whole for label in part.labels)])
        return RiskLevel.UNKNOWN if path and path[:-1] in short else RiskLevel.NONE

    findings: dict[Path, Finding] = {}
    for path in paths:
        part = mirror.parts.get(path, _Part(said=False))
        findings[path] = Finding(level_of(path, part), part.labels, {} if path else extra_of(data, _NOT_EXTRA))
    return findings


def _mirror(data: Mapping[str, Any], service: str) -> _Mirror:
    mirror = _Mirror()
    # The page's table has a list here, its examples and the SDK an object.
    mains = list(objects_in(member(data, "MainData")))
    if mains:
        mirror.parts[()] = _part(mains, service)
    _put_comments(mirror, (), member(data, "CommentDatas"), service)
    return mirror


def _put_comments(mirror: _Mirror, of: Path, comments: Any, service: str) -> None:
    """Put down a list of comments; an element that is no object keeps its place, and says nothing."""
    elements = comments if isinstance(comments, list) else [comments] if isinstance(comments, dict) else []
    mirror.lists[of] = len(elements)
    for index, comment in enumerate(elements):
        path = (*of, index)
        mirror.parts[path] = _part([comment] if isinstance(comment, dict) else [], service)
        if not of:
            _put_comments(mirror, path, member(comment, "CommentDatas"), service)


def _part(elements: Iterable[Mapping[str, Any]], service: str) -> _Part:
    results = [found for one in elements if isinstance(found := member(one, "Result", "Results"), list | dict)]
    labels: dict[str, Label] = {}
    for one in (one for result in results for one in objects_in(result)):
        label = label_of(one, service, "text_and_image")
        if label is not None:
            # The page's own example has one label twice in a result.
            labels.setdefault(label.label, label)
    return _Part(bool(results), tuple(labels.values()))
