"""The brokers as pytest fixtures: `kafka` is a real one, `broker` is each of the two in turn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.broker.cluster import KafkaCluster, KafkaUnavailable, install
from tests.broker.embedded import QuickBroker
from tests.broker.secured import SecuredKafka


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import Broker


__all__ = ["broker", "embedded", "kafka", "pytest_collection_finish", "pytest_terminal_summary", "secured_kafka"]


UNAVAILABLE = pytest.StashKey[str]()
NO_KAFKA = "no real Apache Kafka"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Kafka before the first test, whose time limit is not meant for a download."""
    if session.config.option.collectonly or not any(item.get_closest_marker("kafka") for item in session.items):
        return
    try:
        install()
    except KafkaUnavailable as reason:
        session.config.stash[UNAVAILABLE] = str(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where nobody can miss it when the real broker was not tested."""
    skipped = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    reason = next((why for why in skipped if NO_KAFKA in why), None)
    if reason is not None:
        terminalreporter.section("WARNING: nothing was tested on a real Apache Kafka", yellow=True)
        terminalreporter.line(reason, yellow=True)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """A real Apache Kafka of one node, shared by all tests; without Java they are skipped, or fail in CI."""
    _require_kafka(request)
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secured_kafka(request: pytest.FixtureRequest) -> Iterator[SecuredKafka]:
    """A real Apache Kafka that lets nobody in without credentials, shared by all tests that ask for it."""
    _require_kafka(request)
    with SecuredKafka() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """The broker inside this process, shared by all tests."""
    with QuickBroker() as broker:
        yield broker


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn: what holds on one holds on the other."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def _require_kafka(request: pytest.FixtureRequest) -> None:
    reason = request.config.stash.get(UNAVAILABLE, None)
    if reason is not None:
        message = f"{NO_KAFKA}: {reason}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
