"""Tests of how tracing is started and ended: off by default, clear where it cannot work, flushed within its time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web

from consumer.errors import StartError
from consumer.record import Partition, Record
from consumer.tracing.start import Tracing
from tests.ports import free_port


ROOT = Path(__file__).resolve().parents[2]
RECORD = Record(Partition("ugc", 0), 7, 1_767_323_044_891, b"k", b"{}")
VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_of_it_is_imported_unless_it_is_on() -> None:
    """The program without tracing imports nothing of OpenTelemetry, so that it costs no memory and no start."""
    code = (
        "import sys, consumer.app, consumer.cli.run; print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_extra_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenTelemetry is not installed, the start fails with what to install, or which setting to change."""
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "consumer.tracing.s"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(StartError, match="needs OpenTelemetry") as caught:
        Tracing(group_id="group")
    assert "moderation-consumer[tracing]" in caught.value.remedy
    assert "tracing.enabled" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "otlp or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_BSP_"),
    ],
)
def test_variables_that_ask_for_what_is_not_there_are_errors(
    name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that names an exporter or a protocol that is not spoken here stops the start, with the remedy."""
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught:
        Tracing(group_id="group")
    assert remedy in caught.value.remedy
    assert value not in str(caught.value)


def span(tracing: Tracing) -> None:
    """Have one event begin and end."""
    tracing._spans.event(RECORD, read_at=time.time()).delivered()


def test_what_has_ended_is_exported_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing exports what has ended to the collector that the environment names, under the program's own name."""
    bodies: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        bodies.append(await request.read())
        return web.Response()

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", collect)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
        tracing = Tracing(group_id="group")
        span(tracing)
        await tracing.close(10.0)
        await runner.cleanup()

    asyncio.run(main())
    assert len(bodies) == 1
    for said in (b"moderation-consumer", b"moderate ugc", b"group"):
        assert said in bodies[0]


def test_a_collector_that_is_away_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no collector answers, closing gives up after its time, and the event loop was never kept waiting."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")

    async def main() -> float:
        tracing = Tracing(group_id="group")
        span(tracing)
        late, began = 0.0, time.monotonic()
        closing = asyncio.create_task(tracing.close(0.5))
        while not closing.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late = max(late, time.monotonic() - before)
        with pytest.raises(TimeoutError):
            await closing
        assert time.monotonic() - began < 5
        return late

    assert asyncio.run(main()) < 0.4
    # It tries again in the meantime, and uses chance for that, which properties of other tests take amiss.
    for thread in threading.enumerate():
        if thread.name == "tracing":
            thread.join(10)
            assert not thread.is_alive()


def test_spans_can_be_carried_on_without_being_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_TRACES_EXPORTER=none headers are carried on, and nothing is sent anywhere."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")

    async def main() -> None:
        tracing = Tracing(group_id="group")
        event = tracing._spans.event(RECORD, read_at=time.time())
        assert [name for name, _ in event.headers] == ["traceparent"]
        event.delivered()
        async with asyncio.timeout(5):
            await tracing.close(5.0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,a=b")]
)
def test_the_service_is_called_as_the_environment_says(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard variables for the service's name win over ours."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    tracing = Tracing(group_id="group")
    assert tracing._spans._provider.resource.attributes["service.name"] == "mine"
