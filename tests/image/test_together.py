"""Tests of the services of compose.yaml that are ours, as processes of this machine beside a real Kafka."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.broker.cluster import install
from tests.image.composition import ROOT, environment, mounted, service
from tests.ports import free_ports


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.broker.cluster import KafkaCluster


FOLDER = "/etc/moderation-consumer"
TOPICS = ("ugc.events", "moderation.verdicts", "moderation.review", "moderation.dead-letters")


@contextmanager
def running(command: Sequence[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A service as its container would run it; it is killed at the end, if it still runs."""
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def here(name: str) -> list[str]:
    """A service's words, with this machine's Python and this machine's paths."""
    entrypoint = service(name).get("entrypoint", ["python", "-m", "consumer"])
    words = [sys.executable if word == "python" else str(word) for word in [*entrypoint, *service(name)["command"]]]
    folder = str(mounted("consumer")[FOLDER])
    return [word.replace(FOLDER, folder) for word in words]


def count(kafka: KafkaCluster, topics: Sequence[str]) -> int:
    """How many records there are in these topics."""
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers[0], "group.id": "counting", "log_level": 0})
    places = [TopicPartition(topic, number) for topic in topics for number in range(4)]
    deadline = time.monotonic() + 10
    while True:
        try:
            ends = [reader.get_watermark_offsets(place, timeout=10) for place in places]
            break
        except KafkaException:  # a partition's leader hears last that it is the leader
            assert time.monotonic() < deadline
            time.sleep(0.1)
    reader.close()
    return sum(high - low for low, high in ends)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Send what Docker sends when it stops a container; how it ended, and what it had said."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


@pytest.mark.kafka
def test_events_of_the_platform_get_their_verdicts(kafka: KafkaCluster) -> None:
    """Platform, simulator and consumer, started as in compose.yaml, turn events into verdicts and stop in order."""
    broker = kafka.bootstrap_servers[0]
    for topic in TOPICS:
        kafka.create_topic(topic)
    simulated, watched = map(str, free_ports(2))
    simulator = [simulated if word == "8099" else word for word in here("simulator")]
    platform = [broker if word == "kafka:9092" else word for word in here("platform")]
    told = environment("consumer") | {
        "MODERATION__KAFKA__BOOTSTRAP_SERVERS": broker,
        "MODERATION__MODERATION__ENDPOINT": f"http://127.0.0.1:{simulated}",
        "MODERATION__ADMIN__PORT": watched,
    }
    with ExitStack() as stack:
        service_, posts, consumer = (
            stack.enter_context(running(command, told)) for command in (simulator, platform, here("consumer"))
        )
        deadline = time.monotonic() + 40
        while count(kafka, TOPICS[1:]) < 100:
            assert time.monotonic() < deadline
            for process in (service_, posts, consumer):
                assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.2)
        code, said = ended(posts)
        assert code == 0, said
        code, said = ended(consumer)
        assert code == 0, said
        code, said = ended(service_)
        assert code == 0, said
        assert "Ledger" in said


@pytest.mark.kafka
def test_the_platform_writes_events_of_its_own_at_each_start(kafka: KafkaCluster) -> None:
    """Two starts write different events, at the rate that they are told."""
    topic = "posts"
    kafka.create_topic(topic)
    command = [*here("platform")[:2], kafka.bootstrap_servers[0], topic, "100"]
    for _ in range(2):
        before = count(kafka, [topic])
        with running(command, {}) as posts:
            deadline = time.monotonic() + 20
            while count(kafka, [topic]) < before + 20:
                assert time.monotonic() < deadline
                assert posts.poll() is None, posts.stdout and posts.stdout.read()
                time.sleep(0.1)
            assert ended(posts)[0] == 0
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers[0], "group.id": "reader", "log_level": 0})
    reader.assign([TopicPartition(topic, number, 0) for number in range(4)])
    wanted = count(kafka, [topic])
    values: list[bytes | None] = []
    while len(values) < wanted:
        values += [record.value() for record in reader.consume(wanted - len(values), 5)]
    reader.close()
    ids = []
    for value in values:
        try:
            ids.append(orjson.loads(value or b"null")["id"])
        except (TypeError, KeyError, orjson.JSONDecodeError):
            continue  # the platform writes a few that are spoilt on purpose
    assert len(ids) >= 30
    assert len(set(ids)) == len(ids)


@pytest.mark.kafka
def test_kafka_takes_its_settings(kafka: KafkaCluster, tmp_path: Path) -> None:
    """A real Kafka formats its storage by the settings that the broker's container is given as variables."""
    variables = environment("kafka")
    identity = variables.pop("CLUSTER_ID")
    properties = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in variables.items()}
    properties["log.dirs"] = str(tmp_path / "data")
    file = tmp_path / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    command = ["java", "-cp", f"{install()}/*", "kafka.tools.StorageTool", "format", "-t", identity, "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "data" / "meta.properties").exists()
