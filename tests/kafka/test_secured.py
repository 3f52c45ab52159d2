"""The whole consumer on a secured broker: each way of proving who it is, with the rights it needs and no others."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.kafka.ranges import RangeReader
from consumer.runtime import new_event_loop
from tests.broker.carrying import Scene, running, wait_for
from tests.broker.secured import PASSWORD, SecuredKafka, write_identity
from tests.broker.token_endpoint import TokenEndpoint


if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(120),
    # Connections that a broker has ended are aiokafka's, which leaves them to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# `make secured` has each way carry 10,000.
EVENTS = int(os.environ.get("MODERATION_SECURED_EVENTS", "300"))


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on the event loop that the program itself runs on."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


async def carry(scene: Scene, listener: str, security: dict[str, Any], guarantee: str) -> None:
    """Have the consumer judge events, as a user with the documented rights; each ends as one verdict or dead letter."""
    await asyncio.to_thread(scene.cluster.allow, "alice", scene.rights(guarantee))
    await asyncio.to_thread(scene.produce, EVENTS)
    async with running(scene, listener, security, DELIVERY__GUARANTEE=guarantee) as app:
        await wait_for(app, EVENTS, seconds=120)
    verdicts = await asyncio.to_thread(scene.verdict_ids)
    assert sorted(verdicts) == sorted(f"e{number}" for number in range(EVENTS) if number % 100)
    assert await asyncio.to_thread(scene.letter_count) == len(range(0, EVENTS, 100))


def trusting(cluster: SecuredKafka, protocol: str = "SASL_SSL", **more: Any) -> dict[str, Any]:
    """The settings that trust the brokers' authority."""
    return {"protocol": protocol, "ca_file": str(cluster.directory / "ca.pem"), **more}


def user(mechanism: str) -> dict[str, str]:
    return {"sasl_mechanism": mechanism, "sasl_username": "alice", "sasl_password": PASSWORD}


def test_tls_carries_events(secured_kafka: SecuredKafka) -> None:
    """With TLS and the brokers' authority every event has its verdict."""
    run(carry(Scene.on(secured_kafka), "TLS", trusting(secured_kafka, "SSL"), "at_least_once"))


def test_mutual_tls_carries_events(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """With a certificate of its own the consumer is the user in it, also for transactions."""
    identity = write_identity(tmp_path, "alice", secured_kafka.ca.issue_cert("alice", common_name="alice"))
    security = trusting(secured_kafka, "SSL", **identity)
    run(carry(Scene.on(secured_kafka), "MTLS", security, "exactly_once"))


@pytest.mark.parametrize(
    ("listener", "mechanism", "guarantee"),
    [
        ("SASL", "PLAIN", "at_least_once"),
        ("BARE", "PLAIN", "exactly_once"),
        ("SASL", "SCRAM-SHA-256", "exactly_once"),
        ("SASL", "SCRAM-SHA-512", "at_least_once"),
    ],
)
def test_a_password_carries_events(secured_kafka: SecuredKafka, listener: str, mechanism: str, guarantee: str) -> None:
    """With a user and a password, encrypted or not, every event has its verdict."""
    security = trusting(secured_kafka, **user(mechanism))
    if listener == "BARE":
        security = {"protocol": "SASL_PLAINTEXT", **user(mechanism)}
    run(carry(Scene.on(secured_kafka), listener, security, guarantee))


def test_a_token_from_a_file_carries_events(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """With a token in a file, as Kubernetes projects one, every event has its verdict."""
    file = tmp_path / "token"
    file.write_text(secured_kafka.issuer.token("alice") + "\n")
    security = trusting(secured_kafka, sasl_mechanism="OAUTHBEARER", oauth_token_file=str(file))
    run(carry(Scene.on(secured_kafka), "OAUTH", security, "at_least_once"))


def test_a_token_from_an_endpoint_carries_events(secured_kafka: SecuredKafka) -> None:
    """With a client's credentials one token is fetched, for all connections, and every event has its verdict."""

    async def main() -> None:
        # What RFC 6749 (2.3.1) wants: both parts are encoded like a form before they are joined.
        endpoint = TokenEndpoint(secured_kafka.issuer, "moderation", "s3cret%3A%2F%C3%BC")
        async with endpoint.serving():
            security = trusting(secured_kafka, **endpoint.security(oauth_scope="kafka write"))
            security["oauth_client_secret"] = "s3cret:/ü"
            await carry(Scene.on(secured_kafka), "OAUTH", security, "exactly_once")
        assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka write"}]

    run(main())


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_sessions_that_end_with_their_token_lose_nothing(secured_kafka: SecuredKafka, guarantee: str) -> None:
    """The broker cuts a connection when its token has expired; the next token opens another, and no event is lost."""

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        await asyncio.to_thread(secured_kafka.allow, "alice", scene.rights(guarantee))
        endpoint = TokenEndpoint(secured_kafka.issuer, "moderation", "secret", seconds=3)
        async with endpoint.serving():
            security = trusting(secured_kafka, **endpoint.security())
            async with running(scene, "OAUTH", security, DELIVERY__GUARANTEE=guarantee) as app:
                for wave in range(1, 9):
                    await asyncio.to_thread(scene.produce, 25)
                    await wait_for(app, 25 * wave, seconds=60)
                    await asyncio.sleep(0.7)
        assert 2 <= len(endpoint.asked) <= 10
        verdicts = await asyncio.to_thread(scene.verdict_ids)
        assert set(verdicts) == {f"e{number}" for number in range(1, 25)}
        assert len(verdicts) >= 8 * 24
        if guarantee == "exactly_once":
            assert len(verdicts) == 8 * 24

    run(main())


def test_the_state_topic_is_made_with_the_right_to_create_it(secured_kafka: SecuredKafka) -> None:
    """Where the state topic is missing, Create on it beside Read and Write is enough to have it made."""

    async def main() -> None:
        scene = Scene.on(secured_kafka, state=False)
        rights = [*scene.rights(), ("topic", scene.state, "create")]
        await asyncio.to_thread(secured_kafka.allow, "alice", rights)
        await asyncio.to_thread(scene.produce, 2)
        async with running(scene, "SASL", trusting(secured_kafka, **user("SCRAM-SHA-256"))) as app:
            await wait_for(app, 2)

    run(main())


def test_an_estimate_reads_without_a_group(secured_kafka: SecuredKafka) -> None:
    """To read topics for an estimate takes Read on them and nothing else."""

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        await asyncio.to_thread(secured_kafka.allow, "bob", [("topic", scene.events, "read")])
        await asyncio.to_thread(scene.produce, 20)
        security = trusting(secured_kafka, **user("PLAIN") | {"sasl_username": "bob"})
        async with RangeReader(scene.kafka("SASL", security)) as reader:
            ranges = await reader.between()
            assert sum(stop - start for start, stop in ranges.values()) == 20

    run(main())


def test_dead_letters_are_read_and_replayed(
    secured_kafka: SecuredKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To look at dead letters takes Read on them; to replay them, Read on a group and Write on the events too."""
    from consumer import cli  # noqa: PLC0415  # it is what the commands are imported by

    scene = Scene.on(secured_kafka)
    rights = [("topic", scene.letters, "read")]
    secured_kafka.allow("bob", rights)
    secured_kafka.allow("alice", scene.rights())
    scene.produce(1)

    async def main() -> None:
        async with running(scene, "SASL", trusting(secured_kafka, **user("PLAIN"))) as app:
            await wait_for(app, 1)

    run(main())
    bob = trusting(secured_kafka, **user("SCRAM-SHA-512") | {"sasl_username": "bob"})
    config = tmp_path / "config.yaml"
    config.write_bytes(
        orjson.dumps(
            {
                "kafka": {
                    "bootstrap_servers": [secured_kafka.at("SASL")],
                    "topics": [scene.events],
                    "group_id": scene.group,
                    "start": "earliest",
                    "security": bob,
                },
                "output": {"dead_letters": scene.letters},
                "moderation": {
                    "region": "ap-southeast-1",
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
            }
        )
    )

    def command(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["dead-letters", arguments[0], str(config), *arguments[1:]])
        captured = capsys.readouterr()
        return ended.value.code, captured.out + captured.err

    assert command("list")[0] == 0
    code, said = command("replay", "--yes")
    assert code == 70
    assert "grant our user Read" in said
    secured_kafka.allow("bob", [("group", f"{scene.group}.replay", "read"), ("topic", scene.events, "write")])
    code, said = command("replay", "--yes")
    assert code == 0
    assert "replayed 1 to" in said
