"""The embedded broker: a Kafka that lives inside this process, for demonstrations and tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from consumer.errors import StartError


if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["EmbeddedBroker"]


# Its brokers run in threads of this process; longer than this means that the machine stands still.
ANSWER_SECONDS = 10.0


class EmbeddedBroker:
    """One Kafka broker in this process, on a port of its own: librdkafka's mock cluster.

    It speaks Kafka's protocol over TCP and keeps records in memory. What it does not do: create topics on request
    (any topic that is asked for springs up, with four partitions), keep more than 100,000 records or 5 MiB of one
    partition, look offsets up by time, enforce size limits or rights, or serve two members of one group reliably. A
    group's first assignment takes 3 s.

    Use it as a context manager, plain or asynchronous.
    """

    def __init__(self) -> None:
        self._cluster: Any = None
        self._bootstrap_servers: list[str] = []

    @property
    def bootstrap_servers(self) -> list[str]:
        """Where clients connect, as `host:port`; empty before the start."""
        return self._bootstrap_servers

    def start(self) -> None:
        """Start the broker; it accepts connections when this returns.

        Raises:
            StartError: confluent-kafka, which brings librdkafka, is not installed.
        """
        try:
            from confluent_kafka import Producer  # noqa: PLC0415  # an optional extra: only the demonstration needs it
        except ImportError as error:
            raise StartError(
                "the embedded broker needs confluent-kafka, which is not installed",
                "pip install 'moderation-consumer[demo]'",
            ) from error
        # The address is replaced by the mock cluster's own; librdkafka only insists on having one.
        self._cluster = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._cluster.list_topics(timeout=ANSWER_SECONDS).brokers.values()
        self._bootstrap_servers = [f"{broker.host}:{broker.port}" for broker in brokers]

    def create_topic(self, name: str) -> None:
        """Make a topic with four partitions, if it is not there; asking for it is what makes it."""
        self._cluster.list_topics(name, timeout=ANSWER_SECONDS)

    def stop(self) -> None:
        """Stop the broker; its records are gone, and its connections are closed."""
        # The mock cluster ends with the last reference to the client that carries it.
        self._cluster = None
        self._bootstrap_servers = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
