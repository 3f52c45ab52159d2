"""What the benchmarks share: a filled topic, a service, child processes under the clock, and a table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.results import table
from tests.broker.cluster import die_with_parent


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = [
    "ROOT",
    "Child",
    "Ended",
    "Measured",
    "Verdicts",
    "environment",
    "event",
    "fill",
    "measure",
    "served",
    "service",
    "table",
]


ROOT = Path(__file__).resolve().parents[1]
TEXT = "a message of the usual length that somebody wrote in a chat, with a few words more " * 2

_TICKS = os.sysconf("SC_CLK_TCK")
_EVENT_ID = b'"event_id":"'
_STOP_SECONDS = 40.0
_TAIL = 2000


class Ended(Exception):
    """A process under measurement ended by itself, or did nothing; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: events a second and CPU from the first twentieth of the events to the last one, and peak memory.

    `service_us_per_event` is the CPU that the service took for each, in its own process.
    """

    events_per_second: float
    cpu_us_per_event: float
    peak_mb: float
    first_verdict_seconds: float
    service_us_per_event: float = 0.0


def environment() -> dict[str, str]:
    """The variables of a process under measurement: without settings, and with modules compiled once.

    So they are where a package is installed, and not at each start.
    """
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MODERATION_", "ALIBABA")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {"PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "bytecode"), **mine}


class Child:
    """A process under measurement; it ends with this one. What it says goes into a log."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = list(command)
        self._log = log
        self.started = time.time()
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, looked up before the fork
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def check(self) -> None:
        """Return if it runs.

        Raises:
            Ended: it does not.
        """
        if self._process.poll() is not None:
            raise Ended(f"{' '.join(self.command[1:4])} ended with {self._process.returncode}: {self.log()}")

    def log(self, characters: int = _TAIL) -> str:
        """The end of what it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-characters:]

    def cpu_seconds(self) -> float:
        """The CPU it has used, of the system included."""
        return _cpu_seconds(self.pid)

    def memory_mb(self, what: str = "VmRSS") -> float:
        """Its resident memory now, or the most that it ever was (`VmHWM`)."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024

    def descriptors(self) -> int:
        """How many files and connections it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and kill it when it does not after a while."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._process.kill()
        self._process.wait()


class Verdicts:
    """Reads a topic while it is written, as somebody would who needs what is in it; only what is committed.

    `before_id` is what stands before the event's id in a record's value.
    """

    def __init__(self, bootstrap: str, topic: str, *, before_id: bytes = _EVENT_ID) -> None:
        self._before_id = before_id
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "watcher",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        self._read: list[tuple[bytes, float]] = []

    @property
    def count(self) -> int:
        """How many there were so far."""
        return len(self._read)

    def poll(self, seconds: float) -> int:
        """Read what there is within so long; returns how many there were so far."""
        for message in self._consumer.consume(2000, seconds):
            if message.error() is None:
                # Reading all of the JSON would take CPU from those who are measured.
                value = message.value()
                at = value.index(self._before_id) + len(self._before_id)
                self._read.append((value[at : value.index(b'"', at)], message.timestamp()[1] / 1000))
        return self.count

    def wait(self, count: int, seconds: float, *writers: Child) -> None:
        """Read until there were so many.

        Raises:
            Ended: there were not within so long, or one of those that should write them is not there any more.
        """
        deadline = time.monotonic() + seconds
        while self.poll(0.05) < count:
            for writer in writers:
                writer.check()
            if time.monotonic() > deadline:
                said = writers[0].log() if writers else ""
                raise Ended(f"only {self.count} of {count} verdicts after {seconds:g} s: {said}")

    def wait_for_events(self, events: int, seconds: float, *writers: Child) -> int:
        """Read until there is a verdict of so many different events, or for so long; of how many there is one.

        Raises:
            Ended: one of those that should write them is not there any more.
        """
        deadline, seen, distinct = time.monotonic() + seconds, 0, 0
        while distinct < events and time.monotonic() < deadline:
            for writer in writers:
                writer.check()
            if self.poll(0.2) > seen:
                seen, distinct = self.count, len({name for name, _ in self._read})
        return distinct

    def events(self) -> list[tuple[str, float]]:
        """The event of each verdict, and when it was written, in seconds since the epoch."""
        return [(name.decode(), at) for name, at in self._read]

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


@contextmanager
def service(latency_ms: float, *options: str) -> Iterator[str]:
    """A stub of the moderation service in its own process; yields its URL."""
    with served(latency_ms, *options) as (endpoint, _):
        yield endpoint


@contextmanager
def served(latency_ms: float, *options: str) -> Iterator[tuple[str, int]]:
    """The same, and the number of its process."""
    command = [sys.executable, "-m", "benchmarks.service_stub", str(latency_ms), *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid
            assert process.stdin is not None  # it is a pipe
            process.stdin.close()
            process.wait(10)
        finally:
            process.kill()


def event(name: str, key: str) -> bytes:
    """An event of about 300 bytes with a text that no other has."""
    return orjson.dumps(
        {"id": name, "kind": "message", "text": f"{TEXT}{name}", "author": {"id": key}, "language": "en"}
    )


def fill(bootstrap: str, topic: str, events: int, *, keys: int = 1000, hot_share: float = 0.0) -> None:
    """Write events with the given number of keys, of which one has a share of its own if it is to be hot."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    hot = 0
    for n in range(events):
        key = f"k{n % keys}"
        if hot < hot_share * (n + 1):
            key, hot = "hot", hot + 1
        while True:
            try:
                producer.produce(topic, event(f"e{n:07d}", key), key)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def measure(
    children: Sequence[Child], verdicts: Verdicts, events: int, *, limit_seconds: float = 300, service_pid: int = 0
) -> Measured:
    """Follow processes that were just started until `events` verdicts are there, or until the time is over.

    With several processes their CPU is added up, and so is their memory. They are left running.

    Raises:
        Ended: one of them did, or less than a twentieth of the events was done in time.
    """
    first, begin, begin_count, begin_cpu, begin_service = 0.0, 0.0, 0, 0.0, 0.0
    deadline = time.time() + limit_seconds
    while True:
        count = verdicts.poll(0.02)
        now = time.time()
        if count and not first:
            first = now
        if count >= events / 20 and not begin:
            begin, begin_count, begin_cpu = now, count, sum(child.cpu_seconds() for child in children)
            begin_service = _cpu_seconds(service_pid) if service_pid else 0.0
        if count >= events or now > deadline:
            break
        if not count:
            for child in children:
                child.check()
    for child in children:
        child.check()
    if not begin:
        raise Ended(f"only {count} of {events} verdicts after {limit_seconds:.0f} s: {children[0].log()}")
    if count == begin_count:
        # All of so few came at once: then the start is what there is to measure.
        begin, begin_count, begin_cpu = children[0].started, 0, 0.0
    done = count - begin_count
    cpu = max(1 / _TICKS, sum(child.cpu_seconds() for child in children) - begin_cpu)
    spent = _cpu_seconds(service_pid) - begin_service if service_pid else 0.0
    peak = sum(child.memory_mb("VmHWM") for child in children)
    started = children[0].started
    return Measured(done / (now - begin), cpu / done * 1e6, peak, first - started, spent / done * 1e6)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
