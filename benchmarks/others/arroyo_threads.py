"""The work on Sentry's Arroyo: a task in threads, then a producer, then the commit.

usage: python -m benchmarks.others.arroyo_threads BOOTSTRAP TOPIC OUT GROUP ENDPOINT THREADS
"""

from __future__ import annotations

import http.client
import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import orjson
from arroyo.backends.kafka import (  # type: ignore[import-not-found]  # peers_install puts it elsewhere
    KafkaConsumer,
    KafkaPayload,
    KafkaProducer,
)
from arroyo.backends.kafka.configuration import (  # type: ignore[import-not-found]  # the same
    build_kafka_configuration,
    build_kafka_consumer_configuration,
)
from arroyo.commit import IMMEDIATE  # type: ignore[import-not-found]  # the same
from arroyo.processing.processor import StreamProcessor  # type: ignore[import-not-found]  # the same
from arroyo.processing.strategies import (  # type: ignore[import-not-found]  # the same
    CommitOffsets,
    ProcessingStrategyFactory,
    Produce,
    RunTaskInThreads,
)
from arroyo.types import Topic  # type: ignore[import-not-found]  # the same

from benchmarks.bare_window import request, sign, verdict_of


_OWN = threading.local()


class _Factory(ProcessingStrategyFactory):  # type: ignore[misc]  # its base is unknown here
    """How the steps are put together."""

    def __init__(self, out: str, endpoint: str, threads: int, producer: Any) -> None:
        self._out = Topic(out)
        self._at = urlsplit(endpoint)
        self._threads = threads
        self._producer = producer

    def create_with_partitions(self, commit: Any, partitions: Any) -> Any:  # noqa: ARG002  # the framework's signature
        """Judge in threads, produce, commit."""
        steps = Produce(self._producer, self._out, CommitOffsets(commit))
        return RunTaskInThreads(self._judge, self._threads, self._threads, steps)

    def _judge(self, message: Any) -> Any:
        value = message.value
        payload = value.payload
        event = orjson.loads(payload.value)
        body = request(event)
        if not hasattr(_OWN, "connection"):
            _OWN.connection = http.client.HTTPConnection(self._at.hostname or "", self._at.port)
        _OWN.connection.request("POST", "/", body, sign(body, self._at.netloc))
        answer = orjson.loads(_OWN.connection.getresponse().read())
        stamp = int(value.timestamp.timestamp() * 1000)
        record = SimpleNamespace(
            topic=value.partition.topic.name, partition=value.partition.index, offset=value.offset, timestamp=stamp
        )
        return KafkaPayload(payload.key, verdict_of(record, event, answer), [])


def main(bootstrap: str, topic: str, out: str, group: str, endpoint: str, threads: int) -> None:
    """Work until SIGTERM."""
    consumer = KafkaConsumer(
        build_kafka_consumer_configuration(
            {}, bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest", group_id=group
        )
    )
    producer = KafkaProducer(build_kafka_configuration({"linger.ms": 5}, bootstrap_servers=bootstrap.split(",")))
    processor = StreamProcessor(consumer, Topic(topic), _Factory(out, endpoint, threads, producer), IMMEDIATE)
    signal.signal(signal.SIGTERM, lambda *_: processor.signal_shutdown())
    processor.run()


if __name__ == "__main__":
    bootstrap, topic, out, group, endpoint, threads = sys.argv[1:]
    main(bootstrap, topic, out, group, endpoint, int(threads))
