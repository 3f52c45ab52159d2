"""The whole consumer as a process of its own, with a topic before it and the simulator behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker.cluster import Broker


__all__ = ["Bench", "environment", "running"]


ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    """The topics of one test."""

    bootstrap: str
    events: str
    verdicts: str
    letters: str
    group: str

    @classmethod
    def on(cls, broker: Broker) -> Bench:
        """New topics on a broker."""
        bench = cls(
            ",".join(broker.bootstrap_servers),
            unique("events"),
            unique("verdicts"),
            unique("letters"),
            unique("group"),
        )
        for topic in (bench.events, bench.verdicts, bench.letters):
            broker.create_topic(topic)
        return bench

    def produce(self, values: list[bytes], *, keys: int | None = None) -> None:
        """Write records, of so many keys in turn, or one key each."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for number, value in enumerate(values):
            producer.produce(self.events, value, f"k{number if keys is None else number % keys}")
        producer.flush()

    def read(self, topic: str, count: int, *, seconds: float = 20) -> list[tuple[bytes, dict[str, bytes]]]:
        """Values and headers of a topic, when it has at least `count` records."""
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        reader.assign([TopicPartition(topic, n, 0) for n in range(4)])
        found: list[tuple[bytes, dict[str, bytes]]] = []
        deadline = time.monotonic() + seconds
        quiet = False
        while time.monotonic() < deadline and not (quiet and len(found) >= count):
            records = reader.consume(1000, 0.5)
            quiet = not records
            found += [(record.value(), dict(record.headers() or [])) for record in records]
        reader.close()
        return found

    def verdict_ids(self, count: int, *, seconds: float = 20) -> list[str]:
        """The events of all verdicts written."""
        return [orjson.loads(value)["event_id"] for value, _ in self.read(self.verdicts, count, seconds=seconds)]


def environment(bench: Bench, endpoint: str, **more: str) -> dict[str, str]:
    """The consumer's settings for this test, as variables."""
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": bench.bootstrap,
        "KAFKA__TOPICS": bench.events,
        "KAFKA__GROUP_ID": bench.group,
        "KAFKA__START": "earliest",
        "KAFKA__SESSION_TIMEOUT_SECONDS": "6",
        "KAFKA__HEARTBEAT_INTERVAL_SECONDS": "1",
        "OUTPUT__TOPIC": bench.verdicts,
        "OUTPUT__DEAD_LETTERS": bench.letters,
        "MODERATION__ENDPOINT": endpoint,
        "MODERATION__CREDENTIALS__ACCESS_KEY_ID": "testid",
        "MODERATION__CREDENTIALS__ACCESS_KEY_SECRET": "testsecret",
        "QUOTA__TEXT_PER_SECOND": "10000",
        "ADMIN__HOST": "127.0.0.1",
        "ADMIN__PORT": "0",
        **more,
    }
    return {**os.environ, **{f"MODERATION__{name}": value for name, value in settings.items()}}


@contextmanager
def running(env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A consumer that runs; it is killed at the end, if it still does."""
    command = [sys.executable, "-m", "consumer", *(arguments or ("run",))]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
