"""What is said when a secured broker does not let the consumer in, or lets it do less than it needs."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trustme

from consumer import cli
from consumer.app import App
from consumer.cli.check_connect import connect, list_topics, rights, topic_configs
from consumer.errors import ModerationConsumerError, StartError, Stuck
from tests.broker.carrying import Scene, running, wait_for
from tests.broker.secured import PASSWORD, Issuer, Right, SecuredKafka, write_identity
from tests.broker.token_endpoint import TokenEndpoint


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from consumer.settings import Loaded, Settings


pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(120),
    # Connections that a broker has refused are aiokafka's, which leaves them to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is wrong: where we go and how, and words of what is said and advised."""

    name: str
    listener: str
    security: Mapping[str, Any]
    said: tuple[str, ...]
    remedy: tuple[str, ...]


ALICE = {"sasl_username": "alice", "sasl_password": PASSWORD}
WRONG = {"sasl_username": "alice", "sasl_password": "planted-word"}
CASES = (
    Case(
        "a wrong password (PLAIN)",
        "SASL",
        {"protocol": "SASL_SSL", "ca_file": "ca", "sasl_mechanism": "PLAIN", **WRONG},
        ("refuses our credentials", "user alice by PLAIN", "Invalid username or password"),
        ("sasl_password under kafka.security",),
    ),
    Case(
        "a wrong password (SCRAM)",
        "SASL",
        {"protocol": "SASL_SSL", "ca_file": "ca", "sasl_mechanism": "SCRAM-SHA-512", **WRONG},
        ("refuses our credentials", "user alice by SCRAM-SHA-512", "invalid credentials"),
        ("sasl_password under kafka.security",),
    ),
    Case(
        "a wrong authority",
        "TLS",
        {"protocol": "SSL", "ca_file": "other"},
        ("signed by none of the authorities that we trust", "other.pem (kafka.security.ca_file)"),
        ("into kafka.security.ca_file",),
    ),
    Case(
        "only the system's authorities",
        "TLS",
        {"protocol": "SSL"},
        ("signed by none of the authorities that we trust, the system's own (kafka.security.ca_file)",),
        ("into kafka.security.ca_file",),
    ),
    Case(
        "an expired certificate of the broker",
        "EXPIRED",
        {"protocol": "SSL", "ca_file": "ca"},
        ("the certificate of localhost:", "has expired"),
        ("have the broker's certificate renewed",),
    ),
    Case(
        "an expired certificate of ours",
        "MTLS",
        {"protocol": "SSL", "ca_file": "ca", "identity": "expired"},
        ("refuses our certificate", "kafka.security.certificate_file", "has expired, at 20"),
        ("have it renewed",),
    ),
    Case(
        "a certificate of ours from another authority",
        "MTLS",
        {"protocol": "SSL", "ca_file": "ca", "identity": "foreign"},
        ("refuses our certificate", "kafka.security.certificate_file", "is not one that it trusts"),
        ("ssl.truststore.location",),
    ),
    Case(
        "no certificate of ours",
        "MTLS",
        {"protocol": "SSL", "ca_file": "ca"},
        ("wants a certificate of ours, and we have none",),
        ("kafka.security.certificate_file and kafka.security.key_file",),
    ),
    Case(
        "another host name",
        "127.0.0.1:TLS",
        {"protocol": "SSL", "ca_file": "ca"},
        ("the certificate of 127.0.0.1:", "is one for other names", "not valid for '127.0.0.1'"),
        ("kafka.bootstrap_servers as its certificate has it",),
    ),
    Case(
        "TLS to a port without",
        "PLAIN",
        {"protocol": "SSL", "ca_file": "ca"},
        ("breaks the TLS handshake off, as a listener without TLS does", "kafka.security.protocol is SSL"),
        ("kafka.security.protocol to PLAINTEXT",),
    ),
    Case(
        "TLS and SASL to a port without TLS",
        "BARE",
        {"protocol": "SASL_SSL", "ca_file": "ca", **ALICE},
        ("breaks the TLS handshake off", "kafka.security.protocol is SASL_SSL"),
        ("kafka.security.protocol to SASL_PLAINTEXT",),
    ),
    Case(
        "no TLS to a port with it",
        "TLS",
        {},
        ("speaks TLS at this port, but kafka.security.protocol is PLAINTEXT",),
        ("set kafka.security.protocol to SSL",),
    ),
    Case(
        "SASL without TLS to a port with both",
        "SASL",
        {"protocol": "SASL_PLAINTEXT", **ALICE},
        ("speaks TLS at this port, but kafka.security.protocol is SASL_PLAINTEXT",),
        ("set kafka.security.protocol to SASL_SSL",),
    ),
    Case(
        "no SASL to a port with it",
        "BARE",
        {},
        ("closes the connection at our first request", "kafka.security.protocol is PLAINTEXT"),
        ("kafka.security.protocol to SASL_PLAINTEXT",),
    ),
    Case(
        "TLS without SASL to a port with both",
        "SASL",
        {"protocol": "SSL", "ca_file": "ca"},
        ("closes the connection at our first request", "kafka.security.protocol is SSL"),
        ("kafka.security.protocol to SASL_SSL",),
    ),
    Case(
        "SASL to a port without",
        "PLAIN",
        {"protocol": "SASL_PLAINTEXT", **ALICE},
        ("takes no SASL at this port, but kafka.security.protocol is SASL_PLAINTEXT",),
        ("set kafka.security.protocol to PLAINTEXT",),
    ),
    Case(
        "a mechanism that is not enabled",
        "BARE",
        {"protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", **ALICE},
        ("does not take SCRAM-SHA-256 (kafka.security.sasl_mechanism); it offers PLAIN, SCRAM-SHA-512",),
        ("sasl.enabled.mechanisms",),
    ),
)


def prepared(case: Case, cluster: SecuredKafka, directory: Path) -> tuple[str, dict[str, Any]]:
    """The address and the settings of a case, with files for the words that stand for them."""
    security = dict(case.security)
    other = trustme.CA()
    if "ca_file" in security:
        if security["ca_file"] == "other":
            other.cert_pem.write_to_path(str(directory / "other.pem"))
        security["ca_file"] = str(
            {"ca": cluster.directory / "ca.pem", "other": directory / "other.pem"}[security["ca_file"]]
        )
    kind = security.pop("identity", None)
    if kind is not None:
        signer = other if kind == "foreign" else cluster.ca
        until = datetime.now(UTC) - timedelta(hours=1) if kind == "expired" else None
        leaf = signer.issue_cert("alice", common_name="alice", not_after=until)
        security |= write_identity(directory, "alice", leaf)
    host, _, listener = case.listener.rpartition(":")
    if listener == "PLAIN":
        return cluster.bootstrap_servers[0], security
    return f"{host or 'localhost'}:{cluster.listening(listener)[0]}", security


def start_of(loaded: Loaded) -> ModerationConsumerError:
    """What a start says that fails."""
    with pytest.raises(ModerationConsumerError) as error:
        asyncio.run(App(loaded).run(asyncio.Event()))
    return error.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_who_is_not_let_in_is_told_why(
    secured_kafka: SecuredKafka, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` and `check --connect` both name what was found, the setting that matters and the remedy, and no secret."""
    address, security = prepared(case, secured_kafka, tmp_path)
    scene = Scene(secured_kafka, "events", "verdicts", "letters", "group")
    error = start_of(scene.loaded(address, security))
    assert isinstance(error, StartError)
    assert all(word in str(error) for word in case.said), str(error)
    assert all(word in error.remedy for word in case.remedy), error.remedy
    code, said = checked(scene, address, security, tmp_path, capsys)
    assert code == 69
    assert f"broker: FAILED: {error}\n  {error.remedy}\n" in said
    assert "planted-word" not in f"{said}{error}{error.remedy}"


def checked(
    scene: Scene, address: str, security: Mapping[str, Any], directory: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Exit code and output of `check --connect`; the moderation service is not there."""
    config = directory / "config.yaml"
    config.write_bytes(
        orjson.dumps(
            {
                "kafka": {
                    "bootstrap_servers": [address],
                    "topics": [scene.events],
                    "group_id": scene.group,
                    "start": "earliest",
                    "security": security,
                },
                "output": {"topic": scene.verdicts, "dead_letters": scene.letters},
                "moderation": {
                    "endpoint": "http://127.0.0.1:1",
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
            }
        )
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", str(config), "--connect"])
    captured = capsys.readouterr()
    return ended.value.code, captured.out + captured.err


@pytest.mark.parametrize(
    ("listener", "token", "said", "remedy"),
    [
        ("OAUTH", {"aud": "another"}, "invalid_token", "sasl.oauthbearer.expected.audience"),
        ("OAUTH", "forged", "invalid_token", "sasl.oauthbearer.jwks.endpoint.url"),
        ("OAUTH", {"seconds": -60}, "holds a token that expired", "keeps it fresh"),
        ("SASL", {}, "does not take OAUTHBEARER", "sasl.enabled.mechanisms"),
        ("OAUTH", None, "holds no token", "write the token there"),
    ],
)
def test_a_token_that_is_refused_is_told(
    secured_kafka: SecuredKafka,
    tmp_path: Path,
    listener: str,
    token: dict[str, Any] | str | None,
    said: str,
    remedy: str,
) -> None:
    """A token that the broker does not take, or that has expired, is told from others, and is in no message."""
    if token == "forged":
        text = Issuer(tmp_path).token("alice")
    else:
        text = secured_kafka.issuer.token("alice", **token) if isinstance(token, dict) else ""
    (tmp_path / "token").write_text(text)
    security = {
        "protocol": "SASL_SSL",
        "ca_file": str(secured_kafka.directory / "ca.pem"),
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_file": str(tmp_path / "token"),
    }
    error = start_of(Scene(secured_kafka, "events", "verdicts", "letters", "group").loaded(listener, security))
    assert isinstance(error, StartError)
    assert said in str(error)
    assert remedy in error.remedy
    assert not text or text not in f"{error}{error.remedy}"


def test_a_token_endpoint_that_gives_nothing_is_told(secured_kafka: SecuredKafka) -> None:
    """A wrong client secret is told with the endpoint and the settings, without the secret."""

    async def main() -> None:
        endpoint = TokenEndpoint(secured_kafka.issuer, "moderation", "right")
        async with endpoint.serving():
            security = endpoint.security(protocol="SASL_SSL", ca_file=str(secured_kafka.directory / "ca.pem"))
            security["oauth_client_secret"] = "planted-word"
            scene = Scene(secured_kafka, "events", "verdicts", "letters", "group")
            with pytest.raises(StartError) as error:
                await App(scene.loaded("OAUTH", security)).run(asyncio.Event())
        assert f"the token endpoint {endpoint.url} (kafka.security.oauth_token_endpoint)" in str(error.value)
        assert "invalid_client (HTTP 401)" in str(error.value)
        assert "oauth_client_secret" in error.value.remedy
        assert "planted-word" not in f"{error.value}{error.value.remedy}"

    asyncio.run(main())


def scram(cluster: SecuredKafka, user: str) -> dict[str, Any]:
    """The settings of a user with a password."""
    ca = str(cluster.directory / "ca.pem")
    own = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": user, "sasl_password": PASSWORD}
    return {"protocol": "SASL_SSL", "ca_file": ca, **own}


async def findings(settings: Settings) -> dict[str, str]:
    """What `check --connect` finds wrong about the brokers, and what it advises."""

    async def call(_: Settings) -> str:
        return "not asked"

    found = await connect(settings, topics=list_topics, configs=topic_configs, call=call, rights=rights)
    return {finding.said: finding.remedy for finding in found if not finding.ok}


LACKING = {
    "events": ("kafka.topics", "see the topic"),
    "verdicts": ("output", "see the topic"),
    "letters": ("output.dead_letters", "see the topic"),
    "group": ("kafka.group_id", "rights on the group"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_rights_that_are_missing_are_told(secured_kafka: SecuredKafka, lacking: str) -> None:
    """Without rights on a topic or the group, `run` and `check` name it, its setting and the right to be granted."""
    scene = Scene.on(secured_kafka)
    name = getattr(scene, lacking)
    secured_kafka.allow("carol", [right for right in scene.rights() if right[1] != name])
    loaded = scene.loaded("SASL", scram(secured_kafka, "carol"))
    setting, said = LACKING[lacking]
    error = start_of(loaded)
    assert isinstance(error, StartError)
    assert name in str(error)
    assert said in str(error)
    assert setting in f"{error}{error.remedy}"
    assert "grant it" in error.remedy
    found = asyncio.run(findings(loaded.settings))
    (advice,) = [remedy for finding, remedy in found.items() if name in finding]
    assert "grant it" in advice


async def work_and_lose(scene: Scene, right: Right, guarantee: str) -> None:
    """Have the consumer work until it has lost a right."""
    security = scram(scene.cluster, "alice")
    async with running(scene, "SASL", security, DELIVERY__GUARANTEE=guarantee) as app:
        await wait_for(app, 10)
        await asyncio.to_thread(scene.cluster.forbid, "alice", [right])
        await asyncio.to_thread(scene.produce, 10)
        await wait_for(app, 20, seconds=30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a unit that is stuck is left behind
@pytest.mark.parametrize(
    ("kind", "name", "operation", "said"),
    [
        ("topic", "events", "read", "grant our user Describe, and Read or Write, on the topic"),
        ("topic", "verdicts", "write", "we may not write to verdicts-"),
        ("group", "group", "read", "Read on the group"),
        ("transactional_id", "group", "write", "we may not write transactions as group-"),
    ],
)
def test_rights_taken_away_at_work_end_it_with_the_reason(
    secured_kafka: SecuredKafka, kind: str, name: str, operation: str, said: str
) -> None:
    """A right that is taken away ends the process with what it may not do any more; nothing unfinished is committed."""
    guarantee = "exactly_once" if kind == "transactional_id" else "at_least_once"

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        await asyncio.to_thread(secured_kafka.allow, "alice", scene.rights(guarantee))
        await asyncio.to_thread(scene.produce, 10)
        with pytest.raises(Stuck, match=said):
            await work_and_lose(scene, (kind, getattr(scene, name), operation), guarantee)

    asyncio.run(main())
    gc.collect()  # its connections are closed while nobody minds
