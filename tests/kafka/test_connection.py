"""Connecting to a Kafka cluster, and the ways in which that fails."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from consumer.errors import StartError
from consumer.kafka.connection import client_options, connect
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.settings.models import Kafka, KafkaSecurity
from tests.broker.cluster import unique
from tests.kafka.member import Member, ended, settings


if TYPE_CHECKING:
    from tests.broker.cluster import Broker


def failure_of(kafka: Kafka) -> list[StartError]:
    """What a source and a sink say when they cannot start with these settings."""

    async def main() -> list[StartError]:
        source, sink = KafkaSource(kafka), KafkaSink(kafka, kafka.topics, setting="output.topic")
        with pytest.raises(StartError) as from_source:
            await source.start(Member(source))
        with pytest.raises(StartError) as from_sink:
            await sink.start()
        await ended()
        return [from_source.value, from_sink.value]

    return asyncio.run(main())


def test_unreachable_broker_is_named_at_once() -> None:
    """A broker that is not there ends the start within seconds, with its address and the setting to look at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        began = time.monotonic()
        kafka = Kafka(bootstrap_servers=[address], topics=["ugc"], group_id="g", start="earliest")
        for error in failure_of(kafka):
            assert address in str(error)
            assert "kafka.bootstrap_servers" in error.remedy
        assert time.monotonic() - began < 5


def test_silent_broker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that accepts connections and never answers ends the start after the time it is given."""
    monkeypatch.setattr("consumer.kafka.connection.CONNECT_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        kafka = Kafka(bootstrap_servers=[address], topics=["ugc"], group_id="g", start="earliest")
        for error in failure_of(kafka):
            assert address in str(error)


def test_silent_servers_are_passed_over(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several bootstrap servers one that answers is enough, and no client is held up by one that does not."""
    monkeypatch.setattr("consumer.kafka.connection.CONNECT_SECONDS", 0.3)

    async def main(address: str) -> None:
        kafka = settings(broker, "ugc")
        kafka = kafka.model_copy(update={"bootstrap_servers": [address, *kafka.bootstrap_servers]})
        began = time.monotonic()
        # Clients ask their servers in any order: some of these would come to the silent one first.
        for _ in range(5):
            await (await connect(kafka)).close()
        assert time.monotonic() - began < 10
        await ended()

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        asyncio.run(main(f"127.0.0.1:{silent.getsockname()[1]}"))


def test_missing_topics_are_named_and_not_made(broker: Broker) -> None:
    """A topic that does not exist ends the start, twice alike: looking for it does not make it."""
    missing = unique("missing")
    for error, setting in zip(failure_of(settings(broker, missing)), ("kafka.topics", "output.topic"), strict=True):
        assert missing in str(error)
        assert setting in error.remedy


def test_credentials_that_are_refused_are_the_reason(broker: Broker) -> None:
    """A broker that wants no user and password says so at the start."""
    security = KafkaSecurity.model_validate(
        {"protocol": "SASL_PLAINTEXT", "sasl_username": "somebody", "sasl_password": "hidden-word"}
    )
    for error in failure_of(settings(broker, "ugc", security=security)):
        assert "kafka.security" in error.remedy
        assert "hidden-word" not in f"{error} {error.remedy}"


def test_name_that_does_not_resolve_is_told() -> None:
    """A host name with a typo is told from a broker that is down."""
    kafka = Kafka(bootstrap_servers=["no-such-host.invalid:9092"], topics=["ugc"], group_id="g", start="earliest")
    for error in failure_of(kafka):
        assert "no-such-host.invalid" in str(error)
        assert error.remedy == "correct kafka.bootstrap_servers"


@pytest.mark.parametrize(
    ("security", "remedy"),
    [
        ({"protocol": "SASL_SSL"}, "sasl_username"),
        ({"protocol": "SASL_PLAINTEXT", "sasl_username": "somebody"}, "sasl_password"),
        ({"protocol": "SSL", "ca_file": "/no/such/file.pem"}, "ca_file"),
    ],
)
def test_incomplete_security_is_told_before_connecting(security: dict[str, str], remedy: str) -> None:
    """A user, a password or a certificate that is missing is named by its setting."""
    kafka = Kafka.model_validate(
        {"bootstrap_servers": ["b:1"], "topics": ["t"], "group_id": "g", "start": "latest", "security": security}
    )
    with pytest.raises(StartError) as error:
        client_options(kafka)
    assert remedy in error.value.remedy
