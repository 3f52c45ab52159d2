"""The whole consumer on a topic of Avro records, with a schema registry that comes and goes."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
from confluent_kafka import Producer

from tests.app.process import Bench, environment, running
from tests.app.test_budget import fetched, until
from tests.app.test_restart import simulator
from tests.intake.test_platforms import PLATFORMS, registry_of
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.demo.broker import EmbeddedBroker


UNKNOWN = b"\0\0\0\0\x63" + b"of another registry"


@contextmanager
def serving(port: int) -> Iterator[None]:
    """The registry of the Avro platform in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with registry_of(PLATFORMS / "avro").serving(port):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.mark.timeout(120)
def test_records_wait_for_their_schemas_and_none_is_lost(embedded: EmbeddedBroker) -> None:
    """While the registry is away it is said and nothing is written; then each record is a verdict or a dead letter."""
    bench = Bench.on(embedded)
    samples = orjson.loads((PLATFORMS / "avro" / "records.json").read_bytes())
    values = [base64.b64decode(sample["base64"]) for sample in samples]
    producer = Producer({"bootstrap.servers": bench.bootstrap, "compression.type": "zstd", "log_level": 0})
    for value in (*values, UNKNOWN):
        producer.produce(bench.events, value, b"key")
    producer.flush()
    port, registry_port = free_port(), free_port()
    with simulator("5") as made:
        env = environment(
            bench,
            made.url,
            ADMIN__PORT=str(port),
            FORMAT__SCHEMA_REGISTRY__URL=f"http://127.0.0.1:{registry_port}",
            ROUTES="[{name: all, services: [ugc_moderation_byllm, baselineCheck_global]}]",
        )
        with running(env, "run", str(PLATFORMS / "avro" / "config.yaml")) as process:
            until(lambda: "schema_registry" in fetched(port, "/readyz")[1])
            (hold,) = json.loads(fetched(port, "/status")[1])["holds"]
            assert f"http://127.0.0.1:{registry_port} does not answer" in hold["meaning"]
            with serving(registry_port):
                until(lambda: fetched(port, "/readyz")[0] == 200)
                verdicts = bench.verdict_ids(2)
                ((letter, headers),) = bench.read(bench.letters, 1)
            process.terminate()
            assert process.wait(30) == 0
    assert sorted(verdicts) == [sample["event"]["id"] for sample in samples]
    assert letter == UNKNOWN
    assert headers["moderation-reason"] == b"unknown_schema"
    assert b"schema 99 cannot be had: the registry says: Schema not found" in headers["moderation-error"]
