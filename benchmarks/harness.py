"""What the benchmarks share: a filled topic, a service, a child process under the clock, and a table."""

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
from confluent_kafka import Consumer, Producer, TopicPartition


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["Measured", "fill", "measure", "service", "table", "written"]


_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: events a second and CPU from the first twentieth of the events to the last one, and peak memory."""

    events_per_second: float
    cpu_us_per_event: float
    peak_mb: float
    first_verdict_seconds: float


@contextmanager
def service(latency_ms: float) -> Iterator[str]:
    """A stub of the moderation service in its own process; yields its URL."""
    command = [sys.executable, "-m", "benchmarks.service_stub", str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        assert process.stdin is not None  # it is a pipe
        process.stdin.close()
        process.wait(10)


def fill(bootstrap: str, topic: str, events: int, *, keys: int = 1000) -> None:
    """Write events of about 300 bytes with the given number of keys, each with a text that no other has."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    text = "a message of the usual length that somebody wrote in a chat, with a few words more " * 2
    for n in range(events):
        key = f"k{n % keys}"
        value = orjson.dumps(
            {"id": f"e{n:07d}", "kind": "message", "text": f"{text}{n}", "author": {"id": key}, "language": "en"}
        )
        producer.produce(topic, value, key)
        producer.poll(0)
    producer.flush()


def written(consumer: Consumer, topic: str) -> int:
    """How many records a topic holds."""
    partitions = consumer.list_topics(topic).topics[topic].partitions
    return sum(consumer.get_watermark_offsets(TopicPartition(topic, n), cached=False)[1] for n in partitions)


def measure(command: Sequence[str], bootstrap: str, out: str, events: int, *, limit_seconds: float = 300) -> Measured:
    """Run a command until `events` verdicts are in `out`, then stop it with SIGTERM."""
    watcher = Consumer({"bootstrap.servers": bootstrap, "group.id": "watcher"})
    started = time.monotonic()
    process = subprocess.Popen(list(command), stdout=subprocess.DEVNULL)
    try:
        first, begin, begin_count, begin_cpu = 0.0, 0.0, 0, 0.0
        while True:
            if process.poll() is not None:
                raise SystemExit(f"{command[2]} ended by itself with {process.returncode}")
            count, now, cpu = written(watcher, out), time.monotonic(), _cpu_seconds(process.pid)
            if count and not first:
                first = now
            if count >= events / 20 and not begin:
                begin, begin_count, begin_cpu = now, count, cpu
            if count >= events:
                break
            if now - started > limit_seconds:
                raise SystemExit(f"{command[2]}: only {count} of {events} verdicts after {limit_seconds:.0f} s")
            time.sleep(0.05)
        peak = _peak_mb(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        watcher.close()
    done = count - begin_count
    return Measured(done / (now - begin), (cpu - begin_cpu) / done * 1e6, peak, first - started)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its title."""
    lines = [f"### {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
