"""Tests of starting with something wrong: a clear message, a remedy, an exit code, and never a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from tests.app.process import ROOT, Bench, environment


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import KafkaCluster


NOWHERE = Bench("127.0.0.1:1", "events", "verdicts", "letters", "group")


def outcome(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and all output of a run that must end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "consumer", *(arguments or ("run",))],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    return done.returncode, output


def test_a_typo_names_the_nearest_key() -> None:
    """A misspelt variable ends the start with its name and the one that was meant."""
    env = environment(NOWHERE, "http://127.0.0.1:1", KAFKA__GROUPID="x")
    code, output = outcome(env)
    assert code == 78
    assert "$MODERATION__KAFKA__GROUPID" in output
    assert "did you mean" in output
    assert "$MODERATION__KAFKA__GROUP_ID" in output


def test_a_wrong_type_names_key_and_value() -> None:
    """A value of the wrong type is said with its key, what was found and what was expected."""
    code, output = outcome(environment(NOWHERE, "http://127.0.0.1:1", DELIVERY__MAX_IN_FLIGHT="many"))
    assert code == 78
    assert "delivery.max_in_flight" in output
    assert "many" in output


def test_a_missing_secret_names_all_its_variables() -> None:
    """Without a secret the message names the variables that would set it."""
    env = environment(NOWHERE, "http://127.0.0.1:1")
    del env["MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET"]
    env.pop("ALIBABA_CLOUD_ACCESS_KEY_SECRET", None)
    code, output = outcome(env)
    assert code == 78
    assert "$MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET" in output
    assert "ACCESS_KEY_SECRET_FILE" in output


def test_an_unreachable_broker_is_named_with_a_remedy() -> None:
    """A broker that does not listen is named, with what to check."""
    code, output = outcome(environment(NOWHERE, "http://127.0.0.1:1"))
    assert code == 69
    assert "127.0.0.1:1 cannot be reached" in output
    assert "kafka.bootstrap_servers" in output


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("KAFKA__TOPICS", "kafka.topics"),
        ("OUTPUT__TOPIC", "output.topic"),
        ("OUTPUT__DEAD_LETTERS", "output.dead_letters"),
    ],
)
def test_a_missing_topic_is_named_with_its_setting(kafka: KafkaCluster, setting: str, key: str) -> None:
    """A topic that does not exist ends the start, whichever of the three it is, and its setting is named."""
    env = environment(Bench.on(kafka), "http://127.0.0.1:1", **{setting: "there-is-no-such-topic"})
    code, output = outcome(env)
    assert code == 69
    assert "there-is-no-such-topic" in output
    assert key in output


@pytest.mark.kafka
def test_all_missing_topics_are_named_and_none_is_made(kafka: KafkaCluster) -> None:
    """Where several topics are missing the start names each with its setting, and leaves no topic of its own behind."""
    bench = Bench.on(kafka)
    missing = {"KAFKA__TOPICS": "no-events", "OUTPUT__TOPIC": "no-verdicts", "OUTPUT__DEAD_LETTERS": "no-letters"}
    code, output = outcome(environment(bench, "http://127.0.0.1:1", **missing))
    assert code == 69
    assert "no such topic: no-events, no-letters, no-verdicts" in output
    assert "create them, or correct kafka.topics, output.dead_letters and output.topic" in output
    there = AdminClient({"bootstrap.servers": bench.bootstrap}).list_topics(timeout=20).topics
    assert bench.events in there
    assert f"{bench.group}.state" not in there


def test_a_taken_admin_port_is_said(embedded: EmbeddedBroker) -> None:
    """When the admin port is in use, the message names it and the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, output = outcome(environment(Bench.on(embedded), "http://127.0.0.1:1", ADMIN__PORT=port))
    assert code == 69
    assert port in output
    assert "admin.port" in output
