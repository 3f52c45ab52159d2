"""What is known already is not asked again: answers are remembered for a while, and identical calls become one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from consumer.batching.long_text import shifted
from consumer.moderation.contents import Contents
from consumer.moderation.flights import Flights, is_good
from consumer.moderation.protocol.billing import bill
from consumer.moderation.remembered import Remembered, Shelf
from consumer.moderation.savings import Savings
from consumer.routing import ANY
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.meters import Counter
    from consumer.metrics import Metrics
    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.contents import Content
    from consumer.moderation.flights import Landed
    from consumer.moderation.protocol.billing import Price
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route
    from consumer.settings.models import Cache
    from consumer.verdict import Label


__all__ = ["Known"]


class Known:
    """Stands before a caller, and calls it once for each content of a service within `settings.seconds`.

    What counts as the same content is said by `consumer.moderation.contents.Contents`, and how events share a call
    under way by `consumer.moderation.flights.Flights`. What cannot be told apart so (images, unless `image_urls`) goes
    straight to the caller, and so does everything while `settings.seconds` is 0. Use it as a context manager.

    Only answers that say how risky the content is are remembered. A judgement from memory, or from another event's
    call, names the requests it came from, and costs nothing. It has its positions counted in the event's own text, and
    none where they are those of another text with the same normal form.
    """

    def __init__(
        self, caller: Caller, settings: Cache, *, prices: Mapping[str, Price], clock: Clock, metrics: Metrics
    ) -> None:
        self._caller = caller
        self._seconds = settings.seconds
        self._prices = prices
        self._clock = clock
        self._contents = Contents(settings.normalize, image_urls=settings.image_urls)
        self._flights = Flights(caller, good=self._remember)
        self._shelf = Shelf(
            settings.max_bytes, entries=metrics.gauge("cache_entries"), size=metrics.gauge("cache_bytes")
        )
        self._metrics = metrics
        self._counters: dict[tuple[str, str], Counter] = {}
        self._savings = Savings(metrics)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._flights)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
        """Have one call judged, by what is known already if it is; see `consumer.moderation.caller.Caller`."""
        content = self._contents.of(call) if self._seconds else None
        if content is None:
            return await self._caller.call(call, claim, route=route)
        remembered = self._find(content)
        if remembered is not None:
            self._counter("cache_hits", call).inc()
            self._savings.add("cache", bill(call, self._prices))
            return _recalled(remembered, call, content)
        landed = await self._flights.call(call, content, claim, route)
        if landed.leads:
            self._counter("cache_misses", call).inc()
        else:
            self._counter("cache_joined", call).inc()
            if is_good(landed.judgement):
                self._savings.add("joined", bill(call, self._prices))
        return _landed(landed, call, content)

    def learn(self, call: Call, judgement: Judgement, age_seconds: float) -> None:
        """Take for known what this call was answered so long ago; what is too old by now is not."""
        content = self._contents.of(call) if age_seconds < self._seconds else None
        if content is not None:
            self._remember(content, call, judgement, age_seconds)

    def _counter(self, name: str, call: Call) -> Counter:
        key = (name, call.service.name)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = self._metrics.counter(name).labels(call.service.name)
        return found

    def _find(self, content: Content) -> Remembered | None:
        now = self._clock.monotonic()
        for key in content.look:
            found = self._shelf.get(key, now)
            if found is not None:
                return found
        return None

    def _remember(self, content: Content, call: Call, judgement: Judgement, age_seconds: float = 0.0) -> None:
        now = self._clock.monotonic()
        answer = Remembered(
            judgement.risk_level,
            tuple([shifted(label, -call.offset) for label in judgement.labels]) if call.offset else judgement.labels,
            judgement.request_ids,
            judgement.extra or None,
            content.text,
            now + self._seconds - age_seconds,
        )
        key = content.clean if judgement.risk_level is RiskLevel.NONE else content.risky
        self._shelf.put(key, answer, now)


def _recalled(remembered: Remembered, call: Call, content: Content) -> Judgement:
    return Judgement(
        remembered.level,
        (call.service.name,),
        labels=_fitted(remembered.labels, call.offset, same_text=remembered.text == content.text),
        source="cache",
        request_ids=remembered.request_ids,
        attempts=0,
        extra=remembered.extra or {},
    )


def _landed(landed: Landed, call: Call, content: Content) -> Judgement:
    judgement = landed.judgement
    if landed.call is not call:
        same_text = landed.content.text == content.text
        labels = _fitted(judgement.labels, call.offset - landed.call.offset, same_text=same_text)
        judgement = replace(judgement, labels=labels)
    if landed.leads:
        return judgement
    return replace(judgement, source="joined", attempts=0, billed=())


def _fitted(labels: tuple[Label, ...], by: int, *, same_text: bool) -> tuple[Label, ...]:
    """The labels with their positions in the event's own text; without, where they are those of another text."""
    if same_text:
        return tuple(shifted(label, by) for label in labels) if by else labels
    return tuple(replace(label, positions=()) if label.positions else label for label in labels)
