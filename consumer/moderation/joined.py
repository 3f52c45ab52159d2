"""Several calls of one event: made at the same time, and brought together into one judgement and one error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.errors import ContentRefused, LaneClosed
from consumer.verdict import Judgement, RiskLevel, merge


if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")


__all__ = ["joined", "or_refused", "together"]


async def or_refused(work: Coroutine[Any, Any, T]) -> T | ContentRefused:
    """What comes of it, a refusal being one of the things that may."""
    try:
        return await work
    except ContentRefused as refused:
        return refused


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T | ContentRefused]:
    """What comes of all of them, in their order. A refusal of one leaves the others alone.

    Raises:
        Exception: any other error of one of them, which ends all; a lost claim before anything else.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(or_refused(work)) for work in works]
    except BaseExceptionGroup as errors:
        # Callers wait for a single error. A lost claim explains the others, if there are any.
        closed, _ = errors.split(LaneClosed)
        raise _first(closed or errors) from None
    return [task.result() for task in tasks]


def joined(results: Sequence[tuple[str, Judgement | ContentRefused]]) -> Judgement:
    """One judgement of all parts, each with the name of its service; the highest risk wins.

    Where some are refused and others judged, what was found and paid for is kept, and the refused part makes it
    unknown, with a reason.

    Raises:
        ContentRefused: every part is refused.
    """
    if len(results) == 1 and isinstance(results[0][1], Judgement):
        return results[0][1]
    refusals = [result for _, result in results if isinstance(result, ContentRefused)]
    if refusals and len(refusals) == len(results):
        first = refusals[0]
        attempts = sum(refused.attempts for refused in refusals)
        raise ContentRefused(str(first), code=first.reason, request_id=first.request_id, attempts=attempts)
    return merge(
        tuple(_unjudged(name, one) if isinstance(one, ContentRefused) else one for name, one in results),
    )


def _unjudged(service: str, refused: ContentRefused) -> Judgement:
    return Judgement(
        RiskLevel.UNKNOWN,
        (service,),
        request_ids=() if refused.request_id is None else (refused.request_id,),
        attempts=refused.attempts,
        reason=f"{service}: refused a part of this event with {refused.reason}: {refused}",
    )


def _first(errors: BaseExceptionGroup) -> BaseException:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
