"""An event's share in a task, and what the task's result says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consumer.moderation.protocol.answers import member
from consumer.moderation.protocol.responses import Finding, read_parts
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.batching.thread import Batch, Path
    from consumer.moderation.calling.client import Submitted
    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.protocol.services import Service
    from consumer.moderation.tasks.task import Task
    from consumer.verdict import Billed, Source


__all__ = ["Share", "no_task", "share_judgement", "spared"]


@dataclass(frozen=True, slots=True)
class Share:
    """One event's share in a task. `paths` are the places of all events in the call, as far as they are known: after
    a restart it is this event's own, and the last one in its list.
    """

    task: Task
    paths: tuple[Path, ...]


def share_judgement(share: Share, answer: Answer | None, deadline_seconds: float) -> Judgement:
    """What a task's result says of one of its events; no answer, or one that does not say it, makes it unknown."""
    task = share.task
    company = len(share.paths) > 1 or bool(task.path)
    if answer is None:
        finding = Finding(RiskLevel.UNKNOWN)
        why = f"no result of task {task.task_id} within {deadline_seconds:g} s"
    else:
        finding = read_parts(answer, task.service, share.paths)[task.path]
        why = f"the result of task {task.task_id} does not say how risky this is"
        company = company or bool(member(answer.data, "CommentDatas"))
    request_ids = (task.request_id, None if answer is None else answer.request_id)
    return Judgement(
        risk_level=finding.risk_level,
        services=(task.service,),
        labels=finding.labels,
        source=_source(company=company),
        request_ids=tuple(dict.fromkeys(one for one in request_ids if one is not None)),
        task_id=task.task_id,
        attempts=task.attempts,
        billed=task.billed,
        reason=f"{task.service}: {why}" if finding.risk_level is RiskLevel.UNKNOWN else None,
        extra=finding.extra,
    )


def no_task(service: str, submitted: Submitted, *, company: bool, pays: bool) -> Judgement:
    """A submission that came to nothing makes its events unknown. What it cost is said of one of them, which `pays`."""
    return Judgement(
        risk_level=RiskLevel.UNKNOWN,
        services=(service,),
        source=_source(company=company),
        request_ids=() if submitted.request_id is None else (submitted.request_id,),
        attempts=submitted.attempts,
        billed=submitted.billed if pays else (),
        reason=submitted.reason,
    )


def spared(service: Service, batch: Batch, billed: Sequence[Billed]) -> list[Billed]:
    """What the events of a call would have cost more, one by one: each pays for its own started thousand characters."""
    alone = sum(-(-part.characters // 1_000) for part in batch.parts)
    return [
        replace(line, units=alone - line.units, cost=line.cost / line.units * (alone - line.units))
        for line in billed
        if line.moderation_type == service.moderation_type and alone > line.units
    ]


def _source(*, company: bool) -> Source:
    return "thread" if company else "service"
