"""Certificates, tokens and passwords that change while the consumer works."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trustme
from aiokafka.conn import create_conn
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.certificates import CertificateFiles, expires_at
from consumer.cli.check_connect import rights
from consumer.errors import StartError
from consumer.kafka import security as security_module
from consumer.kafka import tokens as tokens_module
from consumer.kafka.connection import client_options, connect
from consumer.kafka.security import secured
from consumer.kafka.tokens import Tokens, TokenUnavailable, tokens_from
from consumer.metrics import Metrics
from consumer.settings.models import KafkaSecurity
from tests.broker.carrying import Scene, running, wait_for
from tests.broker.secured import PASSWORD, Issuer, SecuredKafka, write_identity
from tests.broker.token_endpoint import TokenEndpoint


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


AUTHORITY = trustme.CA()


class Mounted:
    """Files as Kubernetes mounts a secret: links into a directory that is itself a link, and is replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def put(self, leaf: trustme.LeafCert, *authorities: trustme.CA, key_of: trustme.LeafCert | None = None) -> None:
        """Replace all files at once."""
        self._count += 1
        made = self._directory / f"..{self._count}"
        write_identity(made, "tls", leaf)
        if key_of is not None:
            write_identity(made / "other", "tls", key_of)
            (made / "other" / "tls.key").replace(made / "tls.key")
        (made / "ca.pem").write_bytes(b"".join(authority.cert_pem.bytes() for authority in authorities))
        (self._directory / "new").symlink_to(made)
        (self._directory / "new").replace(self._directory / "..data")
        for name in ("tls.crt", "tls.key", "ca.pem"):
            with suppress(FileExistsError):
                (self._directory / name).symlink_to(f"..data/{name}")

    def security(self, **more: Any) -> KafkaSecurity:
        """The settings that name the files."""
        own = {"ca_file": "ca.pem", "certificate_file": "tls.crt", "key_file": "tls.key"}
        return KafkaSecurity.model_validate(
            {"protocol": "SSL", **{key: str(self._directory / name) for key, name in own.items()}, **more}
        )


def identity(signer: trustme.CA = AUTHORITY, **more: Any) -> trustme.LeafCert:
    """A certificate for a user."""
    return signer.issue_cert("alice", common_name="alice", **more)


@pytest.mark.kafka
def test_new_certificates_are_used_without_a_restart(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """Clients that were made before open their next connections with the files as they are then, authorities too."""

    async def main() -> None:
        mounted, foreign = Mounted(tmp_path), trustme.CA()
        mounted.put(identity(secured_kafka.ca), secured_kafka.ca)
        scene = Scene(secured_kafka, "events", "verdicts", "letters", "group")
        kafka = scene.kafka("MTLS", mounted.security().model_dump())
        options = {name: value for name, value in client_options(kafka).items() if name != "bootstrap_servers"}
        host, port = secured_kafka.at("MTLS").split(":")

        async def reconnects() -> bool:
            try:
                await (await create_conn(host, int(port), **options)).close()
            except (OSError, RuntimeError):
                return False
            return True

        assert await reconnects()
        mounted.put(identity(foreign), secured_kafka.ca)
        assert not await reconnects()
        mounted.put(identity(secured_kafka.ca), secured_kafka.ca)
        assert await reconnects()
        # An authority that is taken out is trusted no more, one that is put in beside it is.
        mounted.put(identity(secured_kafka.ca), foreign)
        assert not await reconnects()
        mounted.put(identity(secured_kafka.ca), foreign, secured_kafka.ca)
        assert await reconnects()
        # A certificate without its key changes nothing.
        mounted.put(identity(secured_kafka.ca), secured_kafka.ca, key_of=identity())
        assert await reconnects()

    asyncio.run(main())


def test_a_bad_new_file_keeps_the_old_one_and_is_said(tmp_path: Path) -> None:
    """What cannot be used is logged once, with the setting and the remedy, and nothing changes until it is mended."""
    mounted = Mounted(tmp_path)
    first = identity(not_after=datetime(2031, 5, 1, tzinfo=UTC))
    mounted.put(first, AUTHORITY)
    files = CertificateFiles(mounted.security())
    before = files.latest()
    with structlog.testing.capture_logs() as logged:
        mounted.put(identity(), AUTHORITY, key_of=identity())
        assert files.latest() is before
        assert files.latest() is before
        (tmp_path / "..data").unlink()
        assert files.latest() is before
    assert [line["event"] for line in logged] == ["certificates_not_reloaded"] * 2
    assert "kafka.security.key_file" in logged[0]["error"]
    assert "is not the key of kafka.security.certificate_file" in logged[0]["error"]
    assert "cannot be read" in logged[1]["error"]
    assert files.problem is not None
    assert files.expiry()["certificate_file"] == datetime(2031, 5, 1, tzinfo=UTC).timestamp()
    mounted.put(identity(not_after=datetime(2032, 5, 1, tzinfo=UTC)), AUTHORITY)
    assert files.latest() is not before
    assert files.problem is None
    assert files.expiry()["certificate_file"] == datetime(2032, 5, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tls.key", b"", "kafka.security.key_file, {}, holds no private key in PEM"),
        ("tls.crt", b"nothing", "kafka.security.certificate_file, {}, holds no certificate in PEM"),
        (
            "ca.pem",
            b"-----BEGIN CERTIFICATE-----\nMAAw\n-----END CERTIFICATE-----\n",
            "kafka.security.ca_file, {}, holds a certificate that cannot be read",
        ),
        ("tls.key", "encrypted", "kafka.security.key_file, {}, is protected by a password"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes | str, said: str) -> None:
    """The setting, the file and what is wrong with it are said, and nobody is asked for a password."""
    mounted, leaf = Mounted(tmp_path), identity()
    mounted.put(leaf, AUTHORITY)
    if isinstance(content, str):
        key = load_key(leaf.private_key_pem.bytes(), None)
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StartError) as error:
        CertificateFiles(mounted.security())
    assert said.format(tmp_path / name) in str(error.value)
    assert error.value.remedy


@settings(max_examples=30, deadline=None)
@given(st.datetimes(datetime(2021, 1, 1), datetime(9999, 1, 1)))  # noqa: DTZ001  # hypothesis takes them without a zone
def test_expiry_is_what_certificates_say(moment: datetime) -> None:
    """Of all certificates in a text the first to expire counts, before and after 2050, where the format changes."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    early = datetime(2020, 1, 1, tzinfo=UTC)
    pem = AUTHORITY.issue_cert("x", not_before=early, not_after=moment).cert_chain_pems[0].bytes()
    others = AUTHORITY.issue_cert("x", not_after=datetime(9999, 6, 1, tzinfo=UTC)).cert_chain_pems[0].bytes()
    assert load_pem_x509_certificate(pem).not_valid_after_utc == moment
    assert expires_at((others + b"# a comment\n" + pem).decode()) == moment.timestamp()


@given(st.binary(max_size=200))
def test_what_is_no_certificate_has_no_expiry(garbage: bytes) -> None:
    """Bytes that are no certificate are told as such, and never taken for one."""
    import ssl  # noqa: PLC0415  # only for how PEM is written

    with pytest.raises((ValueError, IndexError)):
        expires_at(ssl.DER_cert_to_PEM_cert(b"\x30" + garbage))


@asynccontextmanager
async def watched(security: KafkaSecurity, metrics: Metrics) -> AsyncIterator[None]:
    """While it is watched, as the running program does."""
    task = asyncio.create_task(secured(security).run(metrics))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(metrics: Metrics, name: str, value: float, **labels: str) -> None:
    """Return when a metric has this value."""
    async with asyncio.timeout(10):
        while metrics.registry.get_sample_value(f"moderation_kafka_{name}", labels) != value:
            await asyncio.sleep(0.01)


def test_metrics_tell_of_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When each file's first certificate expires is told, after a change too, and whether a change cannot be used."""
    monkeypatch.setattr(security_module, "LOOK_SECONDS", 0.01)

    async def main() -> None:
        mounted, metrics = Mounted(tmp_path), Metrics()
        name = "certificate_expires_timestamp_seconds"
        first, second = (datetime(year, 5, 1, tzinfo=UTC) for year in (2031, 2033))
        mounted.put(identity(not_after=first), AUTHORITY)
        async with watched(mounted.security(), metrics):
            await until(metrics, name, first.timestamp(), file="certificate_file")
            await until(metrics, "certificates_stale", 0)
            assert metrics.registry.get_sample_value(f"moderation_kafka_{name}", {"file": "ca_file"})
            mounted.put(identity(), AUTHORITY, key_of=identity())
            await until(metrics, "certificates_stale", 1)
            mounted.put(identity(not_after=second), AUTHORITY)
            await until(metrics, name, second.timestamp(), file="certificate_file")
            await until(metrics, "certificates_stale", 0)

    asyncio.run(main())


def file_tokens(path: Path) -> Tokens:
    """The tokens of a file."""
    return tokens_from(KafkaSecurity(oauth_token_file=str(path), sasl_mechanism="OAUTHBEARER"))


def test_a_token_file_is_read_for_each_connection(tmp_path: Path) -> None:
    """A token that was replaced is used at once; one that is missing or expired is told, without its text."""
    issuer, file = Issuer(tmp_path), tmp_path / "token"

    async def main() -> None:
        tokens = file_tokens(file)
        for seconds in (600, 1200):
            text = issuer.token("alice", seconds=seconds)
            file.write_text(f"{text}\n")
            assert await tokens.token() == text
        file.write_text(issuer.token("alice", seconds=-30))
        with pytest.raises(TokenUnavailable, match=r"holds a token that expired 3\d s ago"):
            await tokens.token()
        file.unlink()
        with pytest.raises(TokenUnavailable, match=r"oauth_token_file, .*token, cannot be read: No such file"):
            await tokens.token()

    asyncio.run(main())


def test_tokens_of_an_endpoint_are_kept_renewed_and_outlast_an_outage(tmp_path: Path) -> None:
    """One token serves all until most of its life is over; while there is no other it is used until it ends."""

    async def main() -> None:
        endpoint, now = TokenEndpoint(Issuer(tmp_path), "moderation", "secret", seconds=100), [1000.0]
        async with endpoint.serving():
            security = KafkaSecurity.model_validate(endpoint.security())
            tokens = tokens_from(security, now=lambda: now[0])
            first = await asyncio.gather(*(tokens.token() for _ in range(5)))
            assert len(set(first)) == len(endpoint.asked) == 1
            now[0] += 79
            assert await tokens.token() == first[0]
            endpoint.up = False
            now[0] += 10
            with structlog.testing.capture_logs() as logged:
                assert await tokens.token() == first[0]
            assert logged[0]["event"] == "kafka_token_not_renewed"
            assert "temporarily_unavailable (HTTP 503)" in logged[0]["error"]
            now[0] += 20
            with pytest.raises(TokenUnavailable, match="gives us no token"):
                await tokens.token()
            endpoint.up = True
            assert await tokens.token()
            assert tokens.expires_at == now[0] + 100

    asyncio.run(main())


def test_tokens_are_looked_at_while_nobody_connects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics have the expiry of the token that is in the file now, and a file that goes bad is logged once."""
    monkeypatch.setattr(security_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.01)

    async def main() -> None:
        issuer, file, metrics = Issuer(tmp_path), tmp_path / "token", Metrics()
        security = KafkaSecurity(protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", oauth_token_file=str(file))
        with structlog.testing.capture_logs() as logged:
            async with watched(security, metrics):
                for moment in (2_000_000_000, 2_100_000_000):
                    file.write_text(issuer.token("alice", exp=moment))
                    await until(metrics, "token_expires_timestamp_seconds", moment)
                file.write_text("two words")
                async with asyncio.timeout(10):
                    while not logged:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
        assert [line["event"] for line in logged] == ["kafka_token_unavailable"]

    asyncio.run(main())


@pytest.mark.kafka
def test_check_warns_of_a_certificate_that_expires_soon(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """A certificate of ours with a week left is a warning with its setting and the day, and no right is missing."""
    mounted = Mounted(tmp_path)
    soon = datetime.now(UTC) + timedelta(days=7)
    mounted.put(identity(secured_kafka.ca, not_after=soon), secured_kafka.ca)
    scene = Scene.on(secured_kafka)
    secured_kafka.allow("alice", scene.rights("exactly_once"))
    own = mounted.security().model_dump()
    found = asyncio.run(
        rights(
            scene.loaded("MTLS", own, DELIVERY__GUARANTEE="exactly_once").settings,
            {scene.events: "kafka.topics", scene.verdicts: "output.topic", scene.letters: "output.dead_letters"},
        )
    )
    assert list(found) == ["certificate_file"]
    assert found["certificate_file"].word == "warning"
    assert "kafka.security.certificate_file" in found["certificate_file"].said
    assert f"{soon:%Y-%m-%d}" in found["certificate_file"].said


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_a_password_that_is_changed_holds_the_consumer_until_it_is_good_again(secured_kafka: SecuredKafka) -> None:
    """A password that brokers refuse at work is told with its setting; nothing ends, and all goes on afterwards."""
    security = {
        "protocol": "SASL_SSL",
        "ca_file": str(secured_kafka.directory / "ca.pem"),
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": "alice",
        "sasl_password": PASSWORD,
    }

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        await asyncio.to_thread(secured_kafka.allow, "alice", scene.rights())
        await asyncio.to_thread(scene.produce, 10)
        async with running(scene, "SASL", security) as app:
            await wait_for(app, 10)
            with structlog.testing.capture_logs() as logged:
                await asyncio.to_thread(secured_kafka.change_password, "alice", "another")
                # Here, though nothing else runs meanwhile: the broker would end with a thread that had started it.
                secured_kafka.kill(1)
                secured_kafka.restart(1)
                async with asyncio.timeout(40):
                    while not any("refuses our credentials" in line.get("reason", "") for line in logged):
                        await asyncio.sleep(0.1)
            (line,) = [line for line in logged if "refuses our credentials" in line.get("reason", "")][:1]
            assert line["event"] == "brokers_let_us_in_no_more"
            assert "sasl_password under kafka.security" in line["remedy"]
            await asyncio.to_thread(secured_kafka.change_password, "alice", PASSWORD)
            await asyncio.to_thread(scene.produce, 10)
            await wait_for(app, 20)
            assert app.status()["state"] == "running"

    try:
        asyncio.run(main())
    finally:
        secured_kafka.change_password("alice", PASSWORD)


@pytest.mark.kafka
def test_clients_of_one_loop_share_what_they_know(secured_kafka: SecuredKafka) -> None:
    """Many clients that connect at the same time ask the token endpoint once."""

    async def main() -> None:
        endpoint = TokenEndpoint(secured_kafka.issuer, "moderation", "secret")
        async with endpoint.serving():
            security = endpoint.security(protocol="SASL_SSL", ca_file=str(secured_kafka.directory / "ca.pem"))
            kafka = Scene(secured_kafka, "events", "verdicts", "letters", "group").kafka("OAUTH", security)
            for admin in await asyncio.gather(*(connect(kafka) for _ in range(4))):
                await admin.close()
        assert len(endpoint.asked) == 1

    asyncio.run(main())


def test_a_user_is_no_part_of_a_token_endpoint() -> None:
    """A URL that holds a user or a password is refused, since it is shown in messages."""
    for url in ("https://user:secret@idp/token", "ftp://idp/token", "idp"):
        with pytest.raises(ValueError, match="oauth_token_endpoint") as error:
            KafkaSecurity(oauth_token_endpoint=url)
        assert "secret" not in str(error.value)
    assert KafkaSecurity(oauth_token_endpoint="https://idp:8443/a/token?x=1").oauth_token_endpoint
