"""The brokers as pytest fixtures: `kafka` is a real one, `broker` is each of the two in turn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from consumer.demo.broker import EmbeddedBroker
from tests.broker.cluster import KafkaCluster, KafkaUnavailable, install


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker.cluster import Broker


__all__ = ["broker", "embedded", "kafka", "pytest_collection_finish", "pytest_terminal_summary"]


UNAVAILABLE = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Kafka before the first test, whose time limit is not meant for a download."""
    if session.config.option.collectonly or not any(item.get_closest_marker("kafka") for item in session.items):
        return
    try:
        install()
    except KafkaUnavailable as reason:
        session.config.stash[UNAVAILABLE] = str(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it where nobody can miss it when the real broker was not tested."""
    reason = config.stash.get(UNAVAILABLE, None)
    if reason is not None:
        terminalreporter.section("WARNING: nothing was tested on a real Apache Kafka", yellow=True)
        terminalreporter.line(reason, yellow=True)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """A real Apache Kafka of one node, shared by all tests; without Java they are skipped, or fail in CI."""
    reason = request.config.stash.get(UNAVAILABLE, None)
    if reason is not None:
        message = f"no real Apache Kafka: {reason}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """The broker inside this process, shared by all tests."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn: what holds on one holds on the other."""
    found: Broker = request.getfixturevalue(request.param)
    return found
