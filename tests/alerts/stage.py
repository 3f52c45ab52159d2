"""A stage for scenarios: the running product with a broker before it and the simulator behind it, one for each job."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.app import App
from consumer.settings import load
from consumer.simulator import Fault, Simulator
from tests.alerts.rules import ROOT
from tests.broker.cluster import unique
from tests.observed.product import merged
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker
    from consumer.simulator import SimulatorSettings


__all__ = ["Stage", "chat", "post"]


_LOOK_SECONDS = 0.1
_START_SECONDS = 40.0
_STOP_SECONDS = 10.0


def chat(number: int) -> bytes:
    """A message without any risk."""
    return orjson.dumps({"id": f"m{number}", "text": f"a friendly message, the {number}th"})


def post(number: int) -> bytes:
    """A profile, which is judged by a task."""
    images = [f"https://example.com/avatars/{number}.jpg"]
    return orjson.dumps({"id": f"p{number}", "kind": "profile", "text": f"nick{number}", "images": images})


@dataclass(slots=True)
class Stage:
    """What one scenario plays on; the names of its topics and its group are its own.

    Attributes:
        job: the job that a Prometheus scrapes it as.
        broker: where its topics are.
        folder: where its configuration is written.
        service: how the simulated service is at first.
        simulator: the service, while the scenario plays.
        address: the admin port of the product, the same through all its restarts.
    """

    job: str
    broker: EmbeddedBroker
    folder: Path
    service: SimulatorSettings
    simulator: Simulator = field(init=False)
    events: str = field(default_factory=lambda: unique("events"))
    group_id: str = field(default_factory=lambda: unique("group"))
    port: int = field(default_factory=free_port)
    _producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self.simulator = Simulator(self.service)
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})

    @property
    def address(self) -> str:
        """What a Prometheus scrapes."""
        return f"127.0.0.1:{self.port}"

    @property
    def bootstrap(self) -> str:
        """Where clients of the broker connect."""
        return ",".join(self.broker.bootstrap_servers)

    def faults(self, *texts: str) -> None:
        """Put these faults of the service in force, and no others."""
        self.simulator.faults.set([Fault.parse(text) for text in texts])

    def config(self, settings: Mapping[str, Any] | None = None) -> Path:
        """A configuration file for the product on this stage, with `settings` over what is needed to run at all."""
        base: dict[str, Any] = {
            "kafka": {
                "bootstrap_servers": self.broker.bootstrap_servers,
                "topics": [self.events],
                "group_id": self.group_id,
                "start": "earliest",
                "session_timeout_seconds": 6,
                "heartbeat_interval_seconds": 1,
                # Of no use without SASL; but those who have the same security share what they know of the brokers.
                "security": {"oauth_scope": self.job},
            },
            "output": {"topic": f"{self.events}.verdicts", "dead_letters": f"{self.events}.dead-letters"},
            "moderation": {
                "endpoint": self.simulator.url,
                "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                "hold_probe_seconds": 1,
            },
            "shutdown": {"drain_seconds": 1, "flush_seconds": 1, "leave_seconds": 1},
            # Many of them share a machine.
            "delivery": {"commit_interval_seconds": 0.5},
            "admin": {"host": "127.0.0.1", "port": self.port},
        }
        path = self.folder / f"{self.job}.yaml"
        path.write_text(yaml.safe_dump(merged(base, settings or {})))
        return path

    @contextlib.asynccontextmanager
    async def process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The product as a process of its own, just started; it is killed at the end."""
        command = [sys.executable, "-m", "consumer", "run", str(self.config())]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=quiet, stderr=quiet)
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    @contextlib.asynccontextmanager
    async def product(self, settings: Mapping[str, Any] | None = None) -> AsyncIterator[App]:
        """The product, working when this is entered, and stopped at its end."""
        async with self.starting(settings, until=lambda app: app.status()["owner"]) as app:
            yield app

    @contextlib.asynccontextmanager
    async def starting(
        self, settings: Mapping[str, Any] | None = None, *, until: Callable[[App], bool]
    ) -> AsyncIterator[App]:
        """The product, as far as `until` wants it when this is entered; it is stopped at its end, or cut off.

        It looks at its file for changes, as ever: `config` writes another one.

        Raises:
            Exception: what the product ended with, if it ended before.
        """
        files = [str(self.config(settings))]
        app, stop = App(load(files, {}), reread=lambda: load(files, {}), files=files), asyncio.Event()
        running = asyncio.create_task(app.run(stop))
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not until(app):
                    if running.done():
                        running.result()
                    await asyncio.sleep(_LOOK_SECONDS)
            yield app
        finally:
            stop.set()
            await asyncio.wait({running}, timeout=_STOP_SECONDS)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def write(self, *values: bytes, topic: str | None = None, partition: int = -1) -> None:
        """Write records to the topic of events, or another one."""
        for number, value in enumerate(values):
            self._producer.produce(topic or self.events, value, str(number), partition=partition)
            self._producer.poll(0)

    async def feed(self, rate: float, make: Callable[[int], bytes], *, seconds: float | None = None) -> None:
        """Write so many records a second, for so long or until cancelled."""
        loop = asyncio.get_running_loop()
        began, written = loop.time(), 0
        while seconds is None or loop.time() - began < seconds:
            due = int((loop.time() - began) * rate)
            self.write(*(make(number) for number in range(written, due)))
            written = max(written, due)
            await asyncio.sleep(_LOOK_SECONDS)

    async def commit(self, offset: int) -> None:
        """Set the group's offset in the first partition, before the product starts."""

        def work() -> None:
            client = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group_id, "log_level": 0})
            try:
                client.commit(offsets=[TopicPartition(self.events, 0, offset)], asynchronous=False)
            finally:
                client.close()

        await asyncio.to_thread(work)

    async def flush(self) -> None:
        """Return when all that was written is there."""
        await asyncio.to_thread(self._producer.flush, _STOP_SECONDS)
