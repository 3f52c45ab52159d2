"""The embedded broker."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer

from consumer.demo.broker import EmbeddedBroker
from consumer.errors import StartError
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from tests.broker.cluster import Broker


def test_topics_have_four_partitions(broker: Broker) -> None:
    """A topic made on either broker is there at once, with four partitions."""

    async def main() -> None:
        topic = unique("four")
        broker.create_topic(topic)
        async with AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers) as client:
            assert client.partitions_for_topic(topic) == {0, 1, 2, 3}

    asyncio.run(main())


def test_two_brokers_know_nothing_of_each_other() -> None:
    """Each embedded broker has its own port and its own topics, and is gone when its block ends."""

    async def main() -> None:
        async with EmbeddedBroker() as one, EmbeddedBroker() as two:
            assert one.bootstrap_servers != two.bootstrap_servers
            one.create_topic("only-here")
            async with AIOKafkaConsumer(bootstrap_servers=two.bootstrap_servers) as client:
                assert await client.topics() == set()
            (address,) = one.bootstrap_servers
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

    asyncio.run(main())


def test_missing_extra_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without confluent-kafka the start says what to install."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(StartError) as error, EmbeddedBroker():
        pass
    assert error.value.remedy == "pip install 'moderation-consumer[demo]'"
