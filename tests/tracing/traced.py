"""The whole consumer with traces that stay in memory: what goes in, which spans come out, and which headers leave."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consumer.app import App
from consumer.settings import load
from tests.app.process import environment


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from consumer.record import Headers
    from consumer.simulator import Simulator
    from tests.app.process import Bench


__all__ = ["Sent", "headers_in", "produce", "tracing_app"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A record for the test: its value, and its headers."""

    value: bytes
    headers: Headers = ()


def produce(bench: Bench, records: Sequence[Sent]) -> None:
    """Write records with headers, each with a key of its own."""
    producer = Producer({"bootstrap.servers": bench.bootstrap, "log_level": 0})
    for number, record in enumerate(records):
        producer.produce(bench.events, record.value, f"k{number}", headers=list(record.headers))
    producer.flush()


def headers_in(bench: Bench, topic: str, count: int) -> dict[str, list[tuple[str, bytes]]]:
    """All headers of each record in a topic, in their order, by the event's id, or the letter's value."""
    reader = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": "reader", "log_level": 0})
    reader.assign([TopicPartition(topic, n, 0) for n in range(4)])
    found: dict[str, list[tuple[str, bytes]]] = {}
    for _ in range(40):
        for record in reader.consume(100, 0.5):
            value = record.value()
            try:
                name = orjson.loads(value)["event_id"]
            except (ValueError, KeyError):
                name = value.decode(errors="replace")
            found[name] = list(record.headers() or [])
        if len(found) >= count:
            break
    reader.close()
    return found


@contextlib.asynccontextmanager
async def tracing_app(
    bench: Bench, simulator: Simulator, count: int, **more: str
) -> AsyncIterator[tuple[App, list[ReadableSpan]]]:
    """A consumer that has written so many verdicts and dead letters. The spans are complete after the context."""
    exporter = InMemorySpanExporter()
    env = environment(bench, simulator.url, TRACING__ENABLED="true", **more)
    app = App(
        load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}),
        spans=SimpleSpanProcessor(exporter),
    )
    spans: list[ReadableSpan] = []
    stop = asyncio.Event()
    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run(stop))
        while sum(app.metrics.totals("verdicts").values()) + sum(app.metrics.totals("dead_letters").values()) < count:
            await asyncio.sleep(0.05)
        yield app, spans
        stop.set()
    spans += exporter.get_finished_spans()
