"""All calls of one event, by all services of its route, into one judgement."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from consumer.batching.long_text import join_labels
from consumer.errors import ContentRefused, RouteError
from consumer.moderation.joined import joined, or_refused, together
from consumer.moderation.protocol.requests import calls, text_of
from consumer.verdict import Judgement, merge


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence

    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.moderation.caller import Caller
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service
    from consumer.moderation.tasks.task import Place
    from consumer.moderation.thread_judge import ThreadJudge
    from consumer.record import Record
    from consumer.routing import Route


__all__ = ["ServiceJudge", "beside_tasks"]


class ServiceJudge:
    """Judges an event by the services of its route; `consumer.engine.ports.Judge` says what that promises.

    An event may need several calls. The highest risk wins. Where some are refused and others judged, what was found
    and paid for is kept, and the refused part makes it unknown, with a reason: such an event never passes. Only an
    event of which every part is refused becomes a dead letter.

    Multimodal services, which judge by tasks, are asked first: their results outlive a restart, and what the other
    services answer does not. `place` puts an event's local images where the services read them, and `referer` is what
    they say where they download one.
    """

    def __init__(
        self,
        caller: Caller,
        services: Mapping[str, Service],
        threads: ThreadJudge | None = None,
        *,
        place: Callable[[Event], Awaitable[Event]] | None = None,
        referer: str | None = None,
    ) -> None:
        self._caller = caller
        self._services = services
        self._threads = threads
        self._place = place
        self._referer = referer
        self._chosen: dict[tuple[str, ...], tuple[Sequence[Service], Sequence[Service]]] = {}

    def judge(self, event: Event, route: Route, claim: Claim) -> Coroutine[Any, Any, Judgement]:
        """Judge one event; see `consumer.engine.ports.Judge`. What needs one call alone has no step between."""
        services, tasks = self._of(route)
        if tasks:
            return self._with_tasks(event, services, tasks, claim, route)
        if self._place is not None and event.images:
            return self._placed(event, services, claim, route)
        needed = calls(event, services, referer=self._referer)
        if len(needed) == 1:
            return self._caller.call(needed[0], claim, route=route)
        return self._by_several(needed, claim, route)

    async def _placed(self, event: Event, services: Sequence[Service], claim: Claim, route: Route) -> Judgement:
        return joined(await self._placed_and_called(event, services, claim, route))

    async def _by_several(self, needed: Sequence[Call], claim: Claim, route: Route) -> Judgement:
        return joined(await self._by_calls(needed, claim, route))

    async def _with_tasks(
        self, event: Event, services: Sequence[Service], tasks: Sequence[Service], claim: Claim, route: Route
    ) -> Judgement:
        results = [
            (
                service.name,
                await or_refused(self._by_task(event, service, claim, route, _scope(route, number, service))),
            )
            for number, service in enumerate(tasks)
        ]
        rest = beside_tasks(event, services)
        if rest is None:
            return joined(results)
        beside = await or_refused(self._placed_and_called(rest, services, claim, route))
        if isinstance(beside, ContentRefused):
            names = ", ".join(service.name for service in services if service not in tasks)
            beside = [(names, beside)]
        return joined([*results, *beside])

    def submitted(self, route: Route, record: Record) -> bool:
        """Whether a task of this route was submitted for this record before, maybe by another process."""
        if self._threads is None:
            return False
        known = [self._services[name] for name in route.services if name in self._services]
        tasks = [service for service in known if service.media == "multimodal"]
        return any(
            self._threads.submitted(record, _scope(route, number, service)) for number, service in enumerate(tasks)
        )

    async def forget(self, places: Collection[Place]) -> None:
        """The verdicts of the records at these places are committed: nothing more of them is needed."""
        if self._threads is not None:
            await self._threads.forget(places)

    def _of(self, route: Route) -> tuple[Sequence[Service], Sequence[Service]]:
        """The services of a route, and those of them that judge by tasks."""
        found = self._chosen.get(route.services)
        if found is None:
            try:
                services = [self._services[name] for name in route.services]
            except KeyError as error:
                raise RouteError(f"route {route.name} names a service that nobody knows: {error}") from None
            tasks = [service for service in services if service.media == "multimodal"]
            found = self._chosen[route.services] = (services, tasks)
        return found

    async def _placed_and_called(
        self, event: Event, services: Sequence[Service], claim: Claim, route: Route
    ) -> list[tuple[str, Judgement | ContentRefused]]:
        if self._place is not None and event.images:
            event = await self._place(event)
        return await self._by_calls(calls(event, services, referer=self._referer), claim, route)

    async def _by_calls(
        self, needed: Sequence[Call], claim: Claim, route: Route
    ) -> list[tuple[str, Judgement | ContentRefused]]:
        if len(needed) == 1:
            return [(needed[0].service.name, await self._caller.call(needed[0], claim, route=route))]
        return list(_by_service(needed, await self._all(needed, claim, route)))

    def _all(
        self, needed: Sequence[Call], claim: Claim, route: Route
    ) -> Awaitable[Sequence[Judgement | ContentRefused]]:
        # By itself, since what a generator shares with its function costs every call of that function memory.
        return together(self._caller.call(call, claim, route=route) for call in needed)

    async def _by_task(self, event: Event, service: Service, claim: Claim, route: Route, scope: str) -> Judgement:
        if self._threads is None:
            raise RouteError(f"{service.name} judges by tasks, and there is nobody here to wait for them")
        return await self._threads.judge(event, service, claim, scope, route=route)


def beside_tasks(event: Event, services: Sequence[Service]) -> Event | None:
    """What of an event its text services and image services judge, beside its multimodal tasks; None if it is nothing.

    A task judges all of the event: what the other services cannot judge need not be judged by them, too.
    """
    media = {service.media for service in services}
    if "multimodal" not in media:
        return event
    images = event.images if "image" in media else ()
    text, title = (event.text, event.title) if "text" in media else ("", "")
    rest = replace(event, images=images, text=text, title=title)
    return rest if images or text_of(rest) else None


def _scope(route: Route, number: int, service: Service) -> str:
    """What a task of this route is remembered under; a second multimodal service needs a name of its own."""
    return route.name if number == 0 else f"{route.name}/{service.name}"


def _by_service(
    needed: Sequence[Call], results: Sequence[Judgement | ContentRefused]
) -> Iterator[tuple[str, Judgement | ContentRefused]]:
    """The results with their services' names; those of a long text's pieces say each thing once."""
    pairs = zip(needed, results, strict=True)
    for service, group in groupby(pairs, key=lambda pair: pair[0].service):
        ours = [result for _, result in group]
        judged = [result for result in ours if not isinstance(result, ContentRefused)]
        if service.media == "text" and len(judged) > 1:
            whole = merge(tuple(judged))
            judged = [replace(whole, labels=join_labels(whole.labels))]
        yield from ((service.name, one) for one in judged)
        yield from ((service.name, one) for one in ours if isinstance(one, ContentRefused))
