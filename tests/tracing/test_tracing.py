"""Tests of traces through the whole consumer: from a record's headers to its spans and its verdict's headers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import orjson
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from consumer.engine.letters import letter_of
from consumer.record import Partition, Record
from consumer.simulator import Simulator
from tests.app.process import Bench
from tests.tracing.traced import Sent, headers_in, produce, tracing_app


if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from consumer.demo.broker import EmbeddedBroker


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = (("traceparent", f"00-{TRACE}-{PARENT}-01".encode()), ("tracestate", b"vendor=1"))
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
OTHER = "5bf92f3577b34da6a3ce929d0e0e4736"


def text(name: str, words: str) -> bytes:
    return orjson.dumps({"id": name, "text": words})


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format(span.context.trace_id, "032x")


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format(span.context.span_id, "016x")


def test_a_trace_goes_through(embedded: EmbeddedBroker) -> None:
    """The trace of a record's headers goes on in the spans of its event and call, and in its verdict's headers."""
    bench = Bench.on(embedded)
    produce(
        bench,
        [
            Sent(text("traced", "one"), (("mine", b"kept"), *TRACED)),
            Sent(text("new", "two")),
            Sent(text("garbled", "three"), (("traceparent", b"\xff00-nonsense"),)),
            Sent(text("unsampled", "four"), (("traceparent", f"00-{OTHER}-{PARENT}-00".encode()),)),
            Sent(b"{broken", TRACED),
        ],
    )

    async def main() -> tuple[list[ReadableSpan], str, str]:
        async with (
            Simulator() as simulator,
            tracing_app(bench, simulator, 5) as (app, spans),
            aiohttp.ClientSession() as session,
        ):
            url = f"http://127.0.0.1:{app.admin_port}/metrics"
            async with session.get(url, headers={"Accept": OPEN_METRICS}) as answer:
                open_metrics = await answer.text()
            async with session.get(url) as answer:
                plain = await answer.text()
        return spans, open_metrics, plain

    spans, open_metrics, plain = asyncio.run(main())
    verdicts = headers_in(bench, bench.verdicts, 4)
    [(_, letter)] = headers_in(bench, bench.letters, 1).items()
    events = {id_of(span): span for span in spans if span.name == f"moderate {bench.events}"}
    calls = [span for span in spans if span.name.startswith("TextModerationPlus")]

    # The event and its call are in the producer's trace, one below the other.
    mine, *others = [span for span in events.values() if trace_of(span) == TRACE and span.status.is_ok]
    assert others == []
    assert mine.parent is not None
    assert format(mine.parent.span_id, "016x") == PARENT
    [call] = [span for span in calls if trace_of(span) == TRACE]
    assert call.parent is not None
    assert format(call.parent.span_id, "016x") == id_of(mine)
    assert mine.start_time is not None
    assert call.start_time is not None
    assert mine.start_time <= call.start_time
    assert call.attributes is not None
    assert (call.attributes["moderation.code"], call.attributes["moderation.billed_units"]) == ("200", 1)

    # The verdict goes on with it, and keeps what else was there.
    assert verdicts["traced"] == [
        ("mine", b"kept"),
        ("traceparent", f"00-{TRACE}-{id_of(mine)}-01".encode()),
        ("tracestate", b"vendor=1"),
    ]

    # Without a trace, or with one that cannot be read, a new one begins.
    for name in ("new", "garbled"):
        [(header, value)] = verdicts[name]
        assert header == "traceparent"
        assert events[value.decode().split("-")[2]].parent is None

    # What is not sampled is not exported, and still carried on.
    [(_, value)] = verdicts["unsampled"]
    assert value.startswith(f"00-{OTHER}-".encode())
    assert value.endswith(b"-00")
    assert PARENT.encode() not in value
    assert OTHER not in {trace_of(span) for span in spans}

    # A dead letter keeps the original's headers as they were; its own are the last, and not what a replay sends.
    [failed] = [span for span in events.values() if not span.status.is_ok]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "malformed"
    assert letter[:2] == list(TRACED)
    assert letter[-2:] == [("traceparent", f"00-{TRACE}-{id_of(failed)}-01".encode()), ("tracestate", b"vendor=1")]
    read = letter_of(Record(Partition(bench.letters, 0), 0, 0, None, b"{broken", tuple(letter)))
    assert read is not None
    assert read.headers == TRACED
    assert read.replayed_headers[:2] == TRACED

    # Times of calls and events name a trace as their example, for who asks for OpenMetrics.
    exemplars = {
        sample.name: sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(open_metrics)  # type: ignore[no-untyped-call]  # ships no types
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert {"moderation_call_seconds_bucket", "moderation_event_seconds_bucket"} <= set(exemplars)
    assert "moderation_quota_wait_seconds_bucket" in exemplars
    assert set(exemplars.values()) <= {trace_of(span) for span in spans}
    assert "trace_id" not in plain
    assert 'moderation_events_total{topic="' + bench.events + '"} 5.0' in plain


def test_a_call_for_several_events_is_linked_to_all_of_them(embedded: EmbeddedBroker) -> None:
    """A task of several events is a span of the first one's trace with links to the others; so are its queries."""
    bench = Bench.on(embedded)
    comments = [
        orjson.dumps({"id": f"c{n}", "kind": "comment", "text": f"comment {n}", "thread": "p1", "parent": "p1"})
        for n in range(3)
    ]
    produce(bench, [Sent(value) for value in comments])

    async def main() -> list[ReadableSpan]:
        more = {
            "MODERATION__REGION": "cn-shanghai",
            "TASKS__FIRST_POLL_SECONDS": "0.3",
            "TASKS__POLL_INTERVAL_SECONDS": "0.3",
            "THREADS__MAX_AGE_SECONDS": "1",
            "THREADS__QUIET_SECONDS": "1",
        }
        async with Simulator() as simulator, tracing_app(bench, simulator, 3, **more) as (_, spans):
            pass
        return spans

    spans = asyncio.run(main())
    events = {id_of(span) for span in spans if span.name == f"moderate {bench.events}"}
    submits = [span for span in spans if span.name.startswith("MultimodalAsyncModeration")]
    queries = [span for span in spans if span not in submits and span.name != f"moderate {bench.events}"]
    assert len(events) == 3
    assert queries
    for call in (*submits, *queries):
        assert call.parent is not None
        about = [format(call.parent.span_id, "016x"), *(format(link.context.span_id, "016x") for link in call.links)]
        assert call.attributes is not None
        assert call.attributes["moderation.events"] == len(about)
        assert set(about) <= events
    told = Counter(len(call.links) for call in submits)
    assert sum((links + 1) * count for links, count in told.items()) == 3
    assert max(told) > 0
