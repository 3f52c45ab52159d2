"""Tests of the spans of events in the engine, on a virtual clock: each begins once, ends once, and says how."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consumer.engine.letters import TRACE_HEADERS, letter_of
from consumer.errors import DeliveryRefused
from consumer.record import Partition, Record
from consumer.tracing.seams import TracedJudge, TracedWay
from consumer.tracing.spans import Spans
from tests import virtual_time
from tests.engine.memory import DEAD, Cluster, MemorySink, MemoryUnit, ScriptedJudge, outcomes, stopped


if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from consumer.event import Event
    from consumer.record import OutRecord


class Traced:
    """Parts for an engine whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.way = partial(TracedWay, Spans(provider, group_id="group"))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def ends(self) -> Counter[object]:
        return Counter((span.attributes or {})["moderation.end"] for span in self.spans)


def carried(out: OutRecord) -> str:
    """The span that a written record names, which is the last one."""
    return next(value.decode().split("-")[2] for name, value in reversed(out.headers) if name == "traceparent")


def ids(spans: tuple[ReadableSpan, ...]) -> set[str]:
    return {format(span.context.span_id, "016x") for span in spans if span.context is not None}


@pytest.mark.parametrize("exactly", [False, True])
def test_each_event_has_one_span_that_its_outcome_names(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Under both guarantees each verdict and dead letter names the one span of its event, which ends as delivered."""
    traced, cluster = Traced(), Cluster(2)
    cluster.fill(20)
    cluster.produce(b"{broken")

    async def main() -> None:
        unit = MemoryUnit(cluster) if exactly else None
        judge = TracedJudge(ScriptedJudge())
        await stopped(cluster, judge, 3.0, unit=unit, make_way=traced.way)  # type: ignore[arg-type]  # a judge around it

    virtual_time.run(main())
    assert len(cluster.written) == len(traced.spans) == 21
    assert {carried(out) for out in cluster.written} == ids(traced.spans)
    assert traced.ends() == {"delivered": 21}
    assert {name for out in cluster.written for name, _ in out.headers} >= {"trace", "traceparent"}


@pytest.mark.parametrize("exactly", [False, True])
def test_a_refused_verdict_becomes_a_letter_of_the_same_span(exactly: bool) -> None:  # noqa: FBT001  # as above
    """A verdict that the broker refuses is told again as a dead letter in the same span, however often it is cut."""
    traced, cluster = Traced(), Cluster()
    cluster.produce(b'{"id": "large", "text": "' + b"x" * 5000 + b'"}')
    most = 900

    def refuse(record: OutRecord) -> Exception | None:
        size = len(record.value or b"") + sum(len(name) + len(value) for name, value in record.headers)
        if record.topic != DEAD or size > most:
            return DeliveryRefused("too large", code="too_large")
        return None

    async def main() -> None:
        sink = MemorySink(cluster, fail=refuse)
        unit = MemoryUnit(cluster, largest=100) if exactly else None
        judge = ScriptedJudge()
        await stopped(cluster, judge, 3.0, unit=unit, verdicts=sink, dead_letters=sink, make_way=traced.way)

    virtual_time.run(main())
    assert outcomes(cluster) == {(0, 0): ["dead letter"]}
    assert traced.ends() == {"delivered": 1}
    [out] = cluster.written
    read = letter_of(Record(Partition(DEAD, 0), 0, 0, None, out.value, out.headers))
    assert read is not None
    assert read.truncated
    assert not [name for name, _ in read.headers if name in TRACE_HEADERS]


def test_what_is_given_up_ends_its_span_too() -> None:
    """An event whose partition goes away while it is judged has a span that ends as given up."""
    traced, cluster = Traced(), Cluster()
    cluster.fill(5)

    async def never(_: Event) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await stopped(cluster, ScriptedJudge(never), 2.0, drain_seconds=1.0, make_way=traced.way)

    virtual_time.run(main())
    assert cluster.written == []
    assert traced.ends() == {"given_up": 5}


def test_a_span_begins_when_its_record_was_read() -> None:
    """The time that an event waits for its turn is a part of its span."""
    traced, cluster = Traced(), Cluster()
    cluster.fill(3)

    async def slow(_: Event) -> None:
        await asyncio.sleep(1.0)

    async def main() -> None:
        await stopped(cluster, ScriptedJudge(slow), 6.0, max_in_flight=1, make_way=traced.way)

    virtual_time.run(main())
    begun = sorted(span.start_time or 0 for span in traced.spans)
    assert len(begun) == 3
    assert begun[-1] - begun[0] < 0.1e9
