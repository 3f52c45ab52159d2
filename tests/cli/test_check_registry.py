"""`check --connect` and the schema registry: what is said of one that answers, and of all that can be wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from consumer import cli
from consumer.cli import check_connect
from consumer.cli.check_registry import try_registry
from consumer.errors import StartError
from consumer.intake import formats as formats_module
from consumer.settings import load
from tests.intake.authority import Authority
from tests.intake.fake_registry import FakeRegistry


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from consumer.cli.check_connect import Finding


__all__: list[str] = []


_CONFIG = """\
kafka: {bootstrap_servers: [broker:9092], topics: [ugc], group_id: moderation, start: latest}
moderation: {region: ap-southeast-1, credentials: {access_key_id: testid, access_key_secret: testsecret}}
"""
_USER = {"username": "reader", "password": "planted-word"}
_BASIC = "Basic cmVhZGVyOnBsYW50ZWQtd29yZA=="


def _found(tmp_path: Path, url: str, **registry: Any) -> list[Finding]:
    """What is said of the registry at this address."""
    return asyncio.run(_finding(tmp_path, url, **registry))


async def _finding(tmp_path: Path, url: str, **registry: Any) -> list[Finding]:
    text = json.dumps({"encoding": "avro", "schema_registry": {"url": url, **registry}})
    (tmp_path / "config.yaml").write_text(f"{_CONFIG}format: {text}\n")
    return await try_registry(load([tmp_path / "config.yaml"], {}).settings)


def _of(tmp_path: Path, server: FakeRegistry, **registry: Any) -> list[Finding]:
    """What is said of this registry."""

    async def main() -> list[Finding]:
        async with server.serving():
            return await _finding(tmp_path, server.url, **registry)

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def _saying(words: bytes | None) -> AsyncIterator[int]:
    """A server that says the same whatever it is told, and with None nothing at all; its port."""
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if words is None:
            await over.wait()
        else:
            writer.write(words)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def _of_one_saying(tmp_path: Path, words: bytes | None, scheme: str = "http", **registry: Any) -> list[Finding]:
    async def main() -> list[Finding]:
        async with _saying(words) as port:
            return await _finding(tmp_path, f"{scheme}://127.0.0.1:{port}", **registry)

    return asyncio.run(main())


@contextlib.contextmanager
def _refusing(context: ssl.SSLContext) -> Iterator[int]:
    """A server of TLS that waits, once it has said why it refuses a client, until that has gone; its port."""

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            connection = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            with contextlib.suppress(ssl.SSLError):
                connection.do_handshake()
            with socket.socket(fileno=connection.detach()) as rest:
                while rest.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _one(found: list[Finding]) -> tuple[str, str]:
    """The one finding, a failure: what is said, and the remedy."""
    (only,) = found
    assert (only.name, only.word) == ("schema registry", "FAILED")
    assert "planted-word" not in f"{only.said} {only.remedy}"
    return only.said, only.remedy


@pytest.mark.parametrize(
    ("registry", "authorization", "said"),
    [
        ({}, None, "answers as a registry does"),
        (_USER, _BASIC, "answers as a registry does to user reader"),
        ({"token": "t0ken"}, "Bearer t0ken", "answers as a registry does to our token"),
    ],
)
def test_a_registry_that_lets_us_in(
    tmp_path: Path, registry: dict[str, str], authorization: str | None, said: str
) -> None:
    """One request for a schema that there cannot be shows that a registry is there, and takes our credentials."""
    server = FakeRegistry(authorization=authorization)
    (found,) = _of(tmp_path, server, **registry)
    assert (found.name, found.word, found.said) == ("schema registry", "ok", f"{server.url} {said}")
    assert server.asked == ["/schemas/ids/2147483647"]


def test_without_schemas_no_registry_is_tried(tmp_path: Path) -> None:
    """Where records are JSON nothing is said of a registry."""
    (tmp_path / "config.yaml").write_text(_CONFIG)
    assert asyncio.run(try_registry(load([tmp_path / "config.yaml"], {}).settings)) == []


@pytest.mark.parametrize(
    ("registry", "said", "remedy"),
    [
        ({}, "401, and we say nothing about who we are", "set format.schema_registry.username and password, or token"),
        (
            {**_USER, "password": "other"},
            "401: it does not take user reader",
            "check format.schema_registry.username and format.schema_registry.password",
        ),
        ({"token": "planted-word"}, "401: it does not take our token", "check format.schema_registry.token"),
    ],
)
def test_a_registry_that_does_not_let_us_in(tmp_path: Path, registry: dict[str, str], said: str, remedy: str) -> None:
    """A 401 says as whom we came, and which settings to look at, and shows no password."""
    found = _one(_of(tmp_path, FakeRegistry(authorization=_BASIC), **registry))
    assert f"refuses us with HTTP {said}" in found[0]
    assert found[1].startswith(remedy)


@pytest.mark.parametrize(
    ("failure", "said", "remedy"),
    [
        ((403, ""), "403: it knows user reader, but does not let it read schemas", "grant user reader the right to"),
        ((404, "<html>"), "HTTP 404 and no schema: there is no registry at this address", "/apis/ccompat/v7"),
        ((404, '{"error_code": 404}'), "there is no registry at this address", "correct format.schema_registry.url"),
        ((200, "<html>a login page"), "HTTP 200 and no schema: there is no", "correct format.schema_registry.url"),
        ((200, " " * 17_000_000), "answer has over 16777216 bytes", "see that format.schema_registry.url is"),
        ((302, ""), "it sends us to another place", "write the address of the registry itself into format."),
        ((503, "oops"), "HTTP 503 and no schema", "look at the registry's logs"),
    ],
)
def test_what_answers_is_no_registry_that_works(
    tmp_path: Path, failure: tuple[int, str], said: str, remedy: str
) -> None:
    """A refusal, a page of something else and a registry that is broken are told from each other."""
    found = _one(_of(tmp_path, FakeRegistry(failures=[failure]), **_USER))
    assert said in found[0]
    assert remedy in found[1]


def test_a_redirect_is_told_without_its_query(tmp_path: Path) -> None:
    """The place that an answer sends us to is told, but not what may be a secret in its query."""
    words = b"HTTP/1.1 302 x\r\nLocation: https://login.example/in?ticket=planted-word\r\nContent-Length: 0\r\n\r\n"
    said, _ = _one(_of_one_saying(tmp_path, words))
    assert said.endswith("it sends us to https://login.example/in")


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    """A name that cannot be resolved is told by itself, with the key that has it."""
    said, remedy = _one(_found(tmp_path, "http://registry.invalid:8081"))
    assert said.startswith("http://registry.invalid:8081 does not answer: the name registry.invalid cannot be resolved")
    assert remedy.startswith("correct the name in format.schema_registry.url")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nobody_listens(tmp_path: Path, host: str) -> None:
    """A refused connection says where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = closed.getsockname()[1]
        said, remedy = _one(_found(tmp_path, f"http://{host}:{port}"))
    assert said.endswith(f"does not answer: nobody listens at {host}:{port} (connection refused)")
    assert remedy.startswith("start the registry, or correct host and port in format.schema_registry.url")


def test_a_registry_that_is_silent(tmp_path: Path) -> None:
    """Who takes the connection and says nothing is given up after `timeout_seconds`, which is named."""
    said, _ = _one(_of_one_saying(tmp_path, None, timeout_seconds=0.2))
    assert said.endswith("nothing came within 0.2 s (format.schema_registry.timeout_seconds)")


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_tls_to_a_port_without(tmp_path: Path, words: bytes) -> None:
    """An address with https of a port that speaks plain HTTP is told as such."""
    said, remedy = _one(_of_one_saying(tmp_path, words, "https"))
    assert said.endswith("does not answer: it breaks the TLS handshake off, as a port without TLS does")
    assert "with TLS in format.schema_registry.url" in remedy


def test_no_tls_to_a_port_with_it(tmp_path: Path) -> None:
    """An address with http of a port that speaks TLS is told as such."""

    async def main() -> list[Finding]:
        async with FakeRegistry(context=Authority(tmp_path).serving()).serving() as server:
            return await _finding(tmp_path, server.url.replace("https:", "http:"))

    said, remedy = _one(asyncio.run(main()))
    assert said.endswith("does not answer: it closes the connection without an answer in HTTP, as a port with TLS does")
    assert remedy.startswith("begin format.schema_registry.url with https://")


def test_a_registry_with_tls(tmp_path: Path) -> None:
    """With the file of its authority a registry of one's own is trusted."""
    authority = Authority(tmp_path)
    (found,) = _of(tmp_path, FakeRegistry(context=authority.serving()), ca_file=authority.ca_file)
    assert found.word == "ok"


@pytest.mark.parametrize(
    ("name", "days", "signed_by", "said", "remedy"),
    [
        ("localhost", 1, "others", "by none of the authorities that we trust, those in ", "registry's into format.sch"),
        (
            "other.test",
            1,
            "ours",
            "is one for other names: Hostname mismatch",
            "the name in format.schema_registry.url",
        ),
        ("localhost", -1, "ours", "its certificate has expired", "have it renewed"),
    ],
)
def test_a_registry_that_does_not_prove_its_name(
    tmp_path: Path, name: str, days: float, signed_by: str, said: str, remedy: str
) -> None:
    """A certificate of a foreign authority, for another name or from another time is told, with the setting."""
    authorities = {one: Authority(tmp_path, one) for one in ("ours", "others")}
    server = FakeRegistry(context=authorities[signed_by].serving(name, days=days))
    found = _one(_of(tmp_path, server, ca_file=authorities["ours"].ca_file))
    assert said in found[0]
    assert remedy in found[1]


def test_a_registry_that_only_a_private_authority_vouches_for(tmp_path: Path) -> None:
    """Without `ca_file` the system's authorities are trusted, and the key to set is named."""
    said, _ = _one(_of(tmp_path, FakeRegistry(context=Authority(tmp_path).serving())))
    assert "authorities that we trust, the system's own (format.schema_registry.ca_file): unable to get local" in said


def test_a_registry_that_wants_a_certificate(tmp_path: Path) -> None:
    """With mutual TLS our certificate is shown, and said to be."""
    authority = Authority(tmp_path)
    server = FakeRegistry(context=authority.serving(clients_by=authority))
    (good,) = _of(tmp_path, server, ca_file=authority.ca_file, **authority.identity())
    assert (good.word, good.said) == ("ok", f"{server.url} answers as a registry does with our certificate")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_registry_that_does_not_take_our_certificate(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """No certificate, a foreign one and one that has expired are told from each other, by what TLS says of them."""
    authority, others = Authority(tmp_path), Authority(tmp_path, "others")
    context = authority.serving(clients_by=authority)
    context.minimum_version = context.maximum_version = version

    def found(**registry: str) -> list[Finding]:
        with _refusing(context) as port:
            return _found(tmp_path, f"https://localhost:{port}", ca_file=authority.ca_file, **registry)

    said, remedy = _one(found())
    assert "it wants a certificate of ours, it seems, and we have none (" in said
    assert remedy.startswith("set format.schema_registry.certificate_file and format.schema_registry.key_file")
    said, _ = _one(found(**others.identity()))
    assert f"certificate_file, {tmp_path}/others-certificate_file.pem, is not one that it trusts (unknown ca)" in said
    stale, ended = found(**authority.identity(days=-1))
    assert "it refuses our certificate: format.schema_registry.certificate_file, " in stale.said
    assert "has expired, at 20" in stale.said
    assert (ended.name, ended.word) == ("certificate", "warning")


def test_a_registry_that_hangs_up_on_who_has_no_certificate(tmp_path: Path) -> None:
    """Where the connection is closed without an alert of TLS, it is said what that looks like."""
    authority = Authority(tmp_path)
    server = FakeRegistry(context=authority.serving(clients_by=authority))
    said, remedy = _one(_of(tmp_path, server, ca_file=authority.ca_file))
    assert said.endswith(
        "it wants a certificate of ours, it seems, and we have none (it closed the connection at our first request)"
    )
    assert "format.schema_registry.certificate_file" in remedy


def test_a_certificate_that_expires_soon(tmp_path: Path) -> None:
    """One that ends within two weeks is a warning, and the registry is good all the same."""
    authority = Authority(tmp_path)
    server = FakeRegistry(context=authority.serving(clients_by=authority))
    good, soon = _of(tmp_path, server, ca_file=authority.ca_file, **authority.identity(days=3))
    assert good.word == "ok"
    assert (soon.name, soon.word) == ("certificate", "warning")
    assert "ours-certificate_file.pem (format.schema_registry.certificate_file) expires at 20" in soon.said


def test_a_start_that_would_fail_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there and a library that is missing are what a start would say, and nothing is asked."""
    (found,) = _found(tmp_path, "https://registry.invalid", ca_file="/nowhere/ca.pem")
    assert (found.name, found.word) == ("format", "FAILED")
    assert found.said.startswith("format.schema_registry.ca_file, /nowhere/ca.pem, cannot be read")

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(formats_module, "import_module", missing)
    (found,) = _found(tmp_path, "http://registry.invalid")
    assert found.remedy == "pip install 'moderation-consumer[formats]'"


def test_the_command_tries_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check --connect` has a line for the registry, and a fault of it alone makes the exit code 69."""

    async def nowhere(*_: object) -> Any:
        raise StartError("not tried here")

    async def answered(_: object) -> str:
        return "answers 200"

    monkeypatch.setattr(check_connect, "list_topics", nowhere)
    monkeypatch.setattr(check_connect, "signed_call", answered)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        text = json.dumps({"encoding": "avro", "schema_registry": {"url": url, **_USER}})
        (tmp_path / "config.yaml").write_text(f"{_CONFIG}format: {text}\n")
        with pytest.raises(SystemExit) as caught:
            cli.main(["check", str(tmp_path / "config.yaml"), "--connect"])
    lines = capsys.readouterr().out.splitlines()
    assert caught.value.code == 69
    at = lines.index(
        f"schema registry: FAILED: {url} does not answer: nobody listens at {url[7:]} (connection refused)"
    )
    assert lines[at + 1] == "  start the registry, or correct host and port in format.schema_registry.url"
    assert lines[at + 2] == "signed call: ok: answers 200"
