"""Where spans are begun and ended: around the way of an event, its judge and its claim, and around each request."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.engine.claims import ClaimInFront
from consumer.engine.letters import TRACE_HEADERS
from consumer.engine.way import Way
from consumer.moderation.calling.exchange import Exchange
from consumer.tracing.spans import CALL, EVENT, EventSpan, exemplar


if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext

    from consumer.clock import Clock
    from consumer.engine.lane import Work
    from consumer.engine.ports import Claim, Judge
    from consumer.engine.way import Outcome
    from consumer.errors import DeliveryRefused
    from consumer.event import Event
    from consumer.moderation.calling.exchange import Stake, Tried
    from consumer.moderation.calling.transport import Transport
    from consumer.moderation.protocol.endpoints import Endpoint
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route
    from consumer.tracing.spans import Spans
    from consumer.verdict import Judgement


__all__ = ["TracedExchange", "TracedJudge", "TracedWay"]


# So many tasks are remembered with their events, for the queries of their results.
_MOST_TASKS = 10_000


class TracedWay(Way):
    """The way of an event, with a span from when its record was read until the broker has what became of it.

    What leaves names that span in its headers: a verdict instead of what the event's own said of its trace, a dead
    letter behind everything else, since the original's headers stay as they were. A dead letter that has to be
    shortened is not traced on.
    """

    def __init__(self, spans: Spans, **parts: Any) -> None:
        super().__init__(**parts)
        self._spans = spans

    async def walk(self, work: Work) -> Outcome:
        """Take one record to what is to be written for it; see `Way`."""
        span = self._begin(work)
        token = EVENT.set(span)
        try:
            outcome = await super().walk(work)
        except BaseException:
            span.discarded()
            raise
        finally:
            EVENT.reset(token)
        return _followed(outcome, span)

    def condemn(self, work: Work) -> Outcome:
        """The dead letter of a record that has killed the process again and again."""
        return _followed(super().condemn(work), self._begin(work))

    def retell(self, work: Work, error: DeliveryRefused) -> bool:
        """The broker will never take a record's outcome: another takes its place; see `Way`."""
        before = work.outcome
        told = super().retell(work, error)
        after = work.outcome
        if told and before is not None and after is not None and isinstance(before.trace, EventSpan):
            if before.error is None:
                _followed(after, before.trace)
            else:
                after.trace = before.trace
        return told

    def _begin(self, work: Work) -> EventSpan:
        waited = self._clock.monotonic() - work.slot.since
        return self._spans.event(work.record, read_at=self._clock.now() - waited)


class TracedJudge:
    """A judge whose events' claims tell the requests that they are part of; see `consumer.engine.ports.Judge`."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        """Judge one event by the services of its route. When cancelled it abandons its request."""
        span = EVENT.get()
        return await self._judge.judge(event, route, claim if span is None else _TracedClaim(claim, span.context))


class _TracedClaim(ClaimInFront):
    """An event's claim: when a request begins, it says that the request is about this event, too."""

    __slots__ = ("_context",)

    def __init__(self, claim: Claim, context: SpanContext) -> None:
        super().__init__(claim)
        self._context = context

    def begin(self) -> None:
        super().begin()
        # Who joins a request that is on the wire already begins outside of it, and is not linked.
        events = CALL.get()
        if events is not None:
            events.append(self._context)


class TracedExchange(Exchange):
    """Sends single requests, with a span for each that was sent: in the trace of the first event that it is about.

    A query for a task's result is about the events that the task was submitted for, as long as this process knows them.
    """

    def __init__(self, spans: Spans, transport: Transport, *, clock: Clock, **parts: Any) -> None:
        super().__init__(transport, clock=clock, **parts)
        self._spans = spans
        self._now = clock.now
        self._tasks: OrderedDict[str, Sequence[SpanContext]] = OrderedDict()
        self._accounting.exemplar = exemplar

    async def send(self, call: Call, stakes: Sequence[Stake], *, endpoint: Endpoint | None = None) -> Tried | None:
        """Send one request and say how it ended; see `Exchange`."""
        events: list[SpanContext] = list(self._tasks.get(_task_of(call), ()))
        asked = not stakes
        token = CALL.set(events)
        began_at = self._now()
        tried: Tried | None = None
        withheld = False
        try:
            tried = await super().send(call, stakes, endpoint=endpoint)
            withheld = tried is None
        finally:
            CALL.reset(token)
            # Without events nothing was sent, or it is about events that this process knows nothing of.
            if events and not withheld:
                self._spans.call(call, events, tried, began_at=began_at, ended_at=self._now())
        if tried is not None:
            self._learn(call, tried, events, asked=asked)
        return tried

    def _learn(self, call: Call, tried: Tried, events: Sequence[SpanContext], *, asked: bool) -> None:
        """Remember the events of a task that was submitted, until its result was had."""
        if tried.task_id is not None and not asked:
            self._tasks[tried.task_id] = events
            if len(self._tasks) > _MOST_TASKS:
                self._tasks.popitem(last=False)
        elif asked and tried.row.outcome == "judged":
            self._tasks.pop(_task_of(call), None)


def _task_of(call: Call) -> str:
    """The id of the task whose result a call asks for."""
    return call.query.partition("=")[2] if call.query else ""


def _followed(outcome: Outcome, span: EventSpan) -> Outcome:
    span.came_to(outcome)
    outcome.trace = span
    headers = outcome.out.headers
    if outcome.error is None:
        headers = tuple(header for header in headers if header[0] not in TRACE_HEADERS)
    outcome.out = replace(outcome.out, headers=(*headers, *span.headers))
    return outcome
