"""The real Kafka that other tests and benchmarks run on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.broker.cluster import KafkaCluster, KafkaUnavailable, install, unique


STARTS_AND_WAITS = """
from tests.broker.cluster import KafkaCluster
cluster = KafkaCluster()
cluster.start()
print(cluster._processes[1].pid, flush=True)
input()
"""


def runs(process: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.kafka
@pytest.mark.timeout(150)
def test_three_nodes_go_on_without_one(kafka: KafkaCluster) -> None:
    """Of three nodes any one may be killed, or frozen and woken, and what is written is still acknowledged."""

    async def main(cluster: KafkaCluster) -> None:
        topic = unique("three")
        cluster.create_topic(topic, partitions=3)
        async with AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap_servers, enable_idempotence=True, request_timeout_ms=40_000
        ) as producer:
            cluster.kill(1)
            for partition in range(3):
                await producer.send_and_wait(topic, b"without the first", partition=partition)
            await asyncio.to_thread(cluster.restart, 1)
            cluster.pause(2)
            await asyncio.sleep(0.5)
            cluster.resume(2)
            for partition in range(3):
                sent = await producer.send_and_wait(topic, b"with all of them", partition=partition)
                assert sent.offset == 1

    with KafkaCluster(3) as cluster:
        asyncio.run(main(cluster))


@pytest.mark.kafka
def test_brokers_die_with_the_process_that_started_them(kafka: KafkaCluster, tmp_path: Path) -> None:
    """A test run that is killed leaves no broker behind."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        broker = int(process.stdout.readline())
        assert runs(broker)
        process.kill()
    deadline = time.monotonic() + 10
    while runs(broker):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_machine_without_java_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Java or Maven is missing the reason names it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaUnavailable, match="Java 17"):
        install()
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(KafkaUnavailable, match=r"11\.0\.2"):
        install()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    monkeypatch.setenv("MODERATION_KAFKA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KafkaUnavailable, match="mvn"):
        install()
