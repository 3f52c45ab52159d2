"""The whole product as it runs at a user's: a Kafka, a service that fails on demand, replicas, and a feed of events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import orjson
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.demo.generator import Generator, timeline
from consumer.metrics import PREFIX
from consumer.simulator import Latency, Simulator, SimulatorSettings
from tests.broker.cluster import die_with_parent, unique
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from tests.broker.cluster import Broker


__all__ = ["Product", "Replica", "merged"]


ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 40.0
_STOP_SECONDS = 30.0
_ADMIN_SECONDS = 20.0


class Replica:
    """One process of the consumer.

    Attributes:
        name: what it is called.
        address: its admin port, as `host:port`: what a Prometheus scrapes.
        log: its log.
        frozen: whether it was stopped by `freeze`.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.name = name
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.frozen = False
        self.log = folder / f"{name}.log"
        self._config = folder / f"{name}.yaml"
        self._config.write_text(yaml.safe_dump(merged(settings, {"admin": {"port": port}}), sort_keys=False))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start its process; `wait` tells when it runs. On the main thread only."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODERATION_", "ALIBABA"))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "consumer", "run", str(self._config)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, looked up before the fork
            )

    def wait(self, *, owner: bool = False) -> None:
        """Return when it runs, and with `owner` when it has partitions; raises RuntimeError with its log if not."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                status = self.status()
                if status["state"] == "running" and (status["owner"] or not owner):
                    return
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not run:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        """What its `/status` says. Raises OSError where it does not answer."""
        with urlopen(f"http://{self.address}/status", timeout=5) as answer:
            found: dict[str, Any] = orjson.loads(answer.read())
        return found

    def freeze(self) -> None:
        """Stop it where it stands (SIGSTOP)."""
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self.frozen = False
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and kill it when it has not after a while."""
        if self._process is None or self._process.poll() is not None:
            return
        self.wake()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class Product:
    """Topics, a simulated service and replicas; all ends with its context. Enter it on the main thread.

    Attributes:
        simulator: the service; its `faults` may be changed at any time.
        events: the topic that `feed` writes to.
        group_id: the group of all replicas.

    Args:
        broker: where topics are made.
        settings: configuration of all replicas, over what is needed to run at all.
        service: the account, and how the service is at first.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        settings: Mapping[str, Any] | None = None,
        service: SimulatorSettings | None = None,
    ) -> None:
        self._broker = broker
        self._own = settings or {}
        self.simulator = Simulator(service or SimulatorSettings(latency=Latency.parse("60~0.3")))
        self.events, self.verdicts, self.letters = unique("events"), unique("verdicts"), unique("dead-letters")
        self.group_id = unique("moderation")
        self.replicas: list[Replica] = []
        self._stack = contextlib.ExitStack()
        self._folder = Path()

    @property
    def bootstrap(self) -> str:
        """Where clients of the broker connect."""
        return ",".join(self._broker.bootstrap_servers)

    @property
    def targets(self) -> dict[str, list[str]]:
        """What a Prometheus has to scrape: all replicas, as one job."""
        return {"moderation-consumer": [replica.address for replica in self.replicas]}

    def __enter__(self) -> Self:
        """Make the topics and start the service."""
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="product-")))
        for topic in (self.events, self.verdicts, self.letters):
            self._broker.create_topic(topic)
        self._stack.enter_context(_serving(self.simulator))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def replica(self, name: str, settings: Mapping[str, Any] | None = None) -> Replica:
        """One more replica, not started yet, with settings of its own over those of all."""
        base: dict[str, Any] = {
            "kafka": {
                "bootstrap_servers": list(self._broker.bootstrap_servers),
                "topics": [self.events],
                "group_id": self.group_id,
                "start": "earliest",
                "session_timeout_seconds": 6,
            },
            "output": {"topic": self.verdicts, "dead_letters": self.letters},
            "moderation": {
                "endpoint": self.simulator.url,
                "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
            },
            "admin": {"host": "127.0.0.1"},
        }
        made = Replica(name, self._folder, merged(merged(base, self._own), settings or {}))
        self.replicas.append(made)
        self._stack.callback(made.stop)
        return made

    def produce(self, topic: str, values: list[bytes], *, key: bytes | None = None, partition: int = -1) -> None:
        """Write records, all with one key or none, to one partition or any; they are written when this returns."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(topic, value, key, partition=partition)
        producer.flush(_ADMIN_SECONDS)

    def fence(self) -> None:
        """Write as another program with the group's transactional id would: whoever worked is shut out."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": self.group_id, "log_level": 0})
        producer.init_transactions(_ADMIN_SECONDS)

    def owner(self) -> Replica:
        """The replica that works; it waits until one says so, and leaves out those that are frozen."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for replica in self.replicas:
                with contextlib.suppress(OSError):
                    if not replica.frozen and replica.status()["owner"]:
                        return replica
            time.sleep(0.1)
        raise RuntimeError("no replica has any partition")

    def wait_for(self, name: str, least: float, *, seconds: float = 40.0) -> None:
        """Return when the series of a metric (named as exposed, without prefix) add up to this over all replicas.

        Raises:
            RuntimeError: they do not in time.
        """
        deadline = time.monotonic() + seconds
        while (found := self.total(name)) < least:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} is {found:g} after {seconds:.0f} s, and should be {least:g}")
            time.sleep(0.2)

    def total(self, name: str) -> float:
        """What the series of a metric (named as exposed, without prefix) add up to over all replicas that answer."""
        name, found = PREFIX + name, 0.0
        for replica in self.replicas:
            with contextlib.suppress(OSError), urlopen(f"http://{replica.address}/metrics", timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith((f"{name} ", f"{name}{{")):
                        found += float(line.split("#")[0].rsplit(maxsplit=1)[-1])
        return found

    def commit(self, topic: str, partition: int, offset: int) -> None:
        """Set the group's offset; no replica may run."""
        client = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group_id, "log_level": 0})
        try:
            client.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
        finally:
            client.close()

    def expire(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records below an offset, as the topic's retention does. A real Kafka only."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})  # it answers while it is referred to
        for done in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
            done.result(_ADMIN_SECONDS)

    @contextlib.contextmanager
    def feed(self, rate: float, *, seed: int = 0) -> Iterator[None]:
        """Users post, meanwhile: `rate` events a second, of all kinds, with bursts, some of them risky or spoilt."""
        over = threading.Event()
        thread = threading.Thread(target=self._post, args=(rate, seed, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_STOP_SECONDS)

    def _post(self, rate: float, seed: int, over: threading.Event) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        began = time.monotonic()
        for at, sample in timeline(Generator(seed, epoch_seconds=time.time()), rate=rate, seed=seed):
            wait = began + at - time.monotonic()
            if wait > 0:
                producer.poll(0)
            if over.wait(max(0.0, wait)):
                break
            producer.produce(self.events, sample.value, sample.key, headers=list(sample.headers))
        producer.flush(_ADMIN_SECONDS)


@contextlib.contextmanager
def _serving(simulator: Simulator) -> Iterator[None]:
    """Run a simulator in a thread of its own, so that who tests can wait for processes in the meantime."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with simulator:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        if not ready.wait(_START_SECONDS):
            raise RuntimeError("the simulator did not start")
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP_SECONDS)
        loop.close()


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two configurations as one: sections are brought together, and of single values the upper one counts."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
