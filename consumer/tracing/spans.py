"""The spans of events and calls, as OpenTelemetry has them: what they are made of, and which headers carry them on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer import __version__
from consumer.engine.letters import TRACE_HEADERS


if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanContext

    from consumer.engine.way import Outcome
    from consumer.moderation.calling.exchange import Tried
    from consumer.moderation.protocol.requests import Call
    from consumer.record import Headers, Record


__all__ = ["CALL", "EVENT", "EventSpan", "Spans", "exemplar"]


EVENT: ContextVar[EventSpan | None] = ContextVar("event", default=None)
"""The event that is worked on."""

CALL: ContextVar[list[SpanContext] | None] = ContextVar("call", default=None)
"""The events that the request on its way is about, the first of them first."""

_NS = 1_000_000_000
# What has to be carried on at least; a dead letter's headers have bounds.
_LONGEST_STATE_BYTES = 512
_FINE = frozenset({"judged", "pending"})
_PROPAGATOR = TraceContextTextMapPropagator()


class EventSpan:
    """One event's span, from when its record was read until the broker has what became of it."""

    __slots__ = ("_ended", "_span", "context", "exemplar", "headers")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False
        self.context = span.get_span_context()
        self.exemplar: dict[str, str] | None = None
        if self.context.trace_flags.sampled:
            self.exemplar = {
                "trace_id": format(self.context.trace_id, "032x"),
                "span_id": format(self.context.span_id, "016x"),
            }
        self.headers: Headers = _carried(span)

    def came_to(self, outcome: Outcome) -> None:
        """Say what became of the event: nothing of what was in it."""
        span = self._span
        if not span.is_recording():
            return
        if outcome.error is not None:
            span.set_attributes({"moderation.stage": outcome.error.stage, "error.type": outcome.error.reason})
            span.set_status(Status(StatusCode.ERROR, f"a dead letter: {outcome.error.stage}/{outcome.error.reason}"))
        if outcome.route:
            span.set_attribute("moderation.route", outcome.route)
        if outcome.verdict is not None:
            judged = outcome.verdict.judgement
            span.set_attributes(
                {
                    "moderation.risk_level": judged.risk_level.word,
                    "moderation.action": outcome.verdict.action,
                    "moderation.source": judged.source,
                    "moderation.attempts": judged.attempts,
                    "moderation.request_ids": judged.request_ids,
                }
            )

    def delivered(self) -> None:
        """The broker has what became of it."""
        self._end("delivered")

    def discarded(self) -> None:
        """Another process judges it now, or will."""
        self._end("given_up")

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._span.set_attribute("moderation.end", how)
            self._span.end()


class Spans:
    """Makes spans, and has them exported by a thread of its own."""

    def __init__(self, provider: TracerProvider, *, group_id: str = "") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("moderation-consumer", __version__)
        self._group_id = group_id

    def event(self, record: Record, *, read_at: float) -> EventSpan:
        """The span of an event that was read at this time (seconds since the epoch), in the trace its record names."""
        place = record.partition
        return EventSpan(
            self._tracer.start_span(
                f"moderate {place.topic}",
                _PROPAGATOR.extract(_texts(record.headers), Context()),
                SpanKind.CONSUMER,
                {
                    "messaging.system": "kafka",
                    "messaging.operation.name": "moderate",
                    "messaging.operation.type": "process",
                    "messaging.consumer.group.name": self._group_id,
                    "messaging.destination.name": place.topic,
                    "messaging.destination.partition.id": str(place.partition),
                    "messaging.kafka.offset": record.offset,
                },
                start_time=int(read_at * _NS),
            )
        )

    def call(
        self, call: Call, events: Sequence[SpanContext], tried: Tried | None, *, began_at: float, ended_at: float
    ) -> SpanContext:
        """The span of a request that has ended, `tried`, or was given up.

        It belongs to the first of the events that it is about, and is linked to the others.
        """
        service = call.service
        attributes: dict[str, Any] = {
            "moderation.operation": service.operation,
            "moderation.service": service.name,
            "moderation.events": len(events),
        }
        status = Status(StatusCode.ERROR, "given up while on the wire")
        if tried is not None:
            attributes["server.address"] = tried.endpoint.host
            attributes["moderation.code"] = str(tried.code)
            attributes["moderation.billed_units"] = sum(one.units for one in tried.billed)
            if tried.request_id is not None:
                attributes["moderation.request_id"] = tried.request_id
            failed = tried.row.outcome not in _FINE
            status = Status(StatusCode.ERROR, tried.row.meaning) if failed else Status(StatusCode.UNSET)
        first = Context() if not events else set_span_in_context(NonRecordingSpan(events[0]), Context())
        span = self._tracer.start_span(
            f"{service.operation} {service.name}",
            first,
            SpanKind.CLIENT,
            attributes,
            [Link(one) for one in events[1:]],
            start_time=int(began_at * _NS),
        )
        span.set_status(status)
        span.end(int(ended_at * _NS))
        return span.get_span_context()

    async def close(self, seconds: float) -> None:
        """Export what has ended, for at most so long. When cancelled, what is left is lost.

        A collector that does not answer keeps its thread, not the process: it is a daemon.
        """
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop may be closed by then
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="tracing", daemon=True).start()
        async with asyncio.timeout(seconds):
            await done.wait()


def exemplar() -> dict[str, str] | None:
    """What names the trace of what is under way, if it is sampled."""
    events = CALL.get()
    if events:
        return {"trace_id": format(events[0].trace_id, "032x")} if events[0].trace_flags.sampled else None
    event = EVENT.get()
    return None if event is None else event.exemplar


def _carried(span: Span) -> Headers:
    """The headers that go on with a trace."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return tuple(
        (name, value.encode())
        for name in TRACE_HEADERS
        if (value := carrier.get(name)) is not None and len(value) <= _LONGEST_STATE_BYTES
    )


def _texts(headers: Headers) -> dict[str, str]:
    """What the record's headers say of its trace; the last of each name counts."""
    return {name: (value or b"").decode("ascii", "replace") for name, value in headers if name in TRACE_HEADERS}
