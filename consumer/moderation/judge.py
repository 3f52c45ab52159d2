"""All calls of one event, at the same time, into one judgement."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.errors import ContentRefused, LaneClosed, RouteError
from consumer.moderation.requests import calls
from consumer.verdict import Judgement, RiskLevel, merge


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.moderation.client import ModerationClient
    from consumer.moderation.requests import Call
    from consumer.moderation.services import Service
    from consumer.routing import Route


__all__ = ["ServiceJudge"]


class ServiceJudge:
    """Judges an event by the services of its route; `consumer.engine.ports.Judge` says what that promises.

    An event may need several calls. The highest risk wins. Where some are refused and others judged, what was found
    and paid for is kept, and the refused part makes it unknown, with a reason: such an event never passes. Only an
    event of which every part is refused becomes a dead letter.
    """

    def __init__(self, client: ModerationClient, services: Mapping[str, Service]) -> None:
        self._client = client
        self._services = services

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        """Judge one event; see `consumer.engine.ports.Judge`."""
        try:
            services = [self._services[name] for name in route.services]
        except KeyError as error:
            raise RouteError(f"route {route.name} names a service that nobody knows: {error}") from None
        needed = calls(event, services)
        if len(needed) == 1:
            return await self._client.call(needed[0], claim)
        return _joined(needed, await self._all(needed, claim))

    async def _all(self, needed: Sequence[Call], claim: Claim) -> list[Judgement | ContentRefused]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(call, claim)) for call in needed]
        except BaseExceptionGroup as errors:
            # Callers wait for a single error. A lost claim explains the others, if there are any.
            closed, _ = errors.split(LaneClosed)
            raise _first(closed or errors) from None
        return [task.result() for task in tasks]

    async def _one(self, call: Call, claim: Claim) -> Judgement | ContentRefused:
        try:
            return await self._client.call(call, claim)
        except ContentRefused as refused:
            return refused


def _joined(needed: Sequence[Call], results: Sequence[Judgement | ContentRefused]) -> Judgement:
    refusals = [result for result in results if isinstance(result, ContentRefused)]
    if len(refusals) == len(results):
        first = refusals[0]
        attempts = sum(refused.attempts for refused in refusals)
        raise ContentRefused(str(first), code=first.reason, request_id=first.request_id, attempts=attempts)
    return merge(
        tuple(
            _unjudged(call, result) if isinstance(result, ContentRefused) else result
            for call, result in zip(needed, results, strict=True)
        )
    )


def _unjudged(call: Call, refused: ContentRefused) -> Judgement:
    return Judgement(
        RiskLevel.UNKNOWN,
        (call.service.name,),
        request_ids=() if refused.request_id is None else (refused.request_id,),
        attempts=refused.attempts,
        reason=f"{call.service.name}: refused a part of this event with {refused.reason}: {refused}",
    )


def _first(errors: BaseExceptionGroup) -> BaseException:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
