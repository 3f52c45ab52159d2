"""Requests over TLS: the service proves who it is before it is told anything, and all else is as without."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest
import trustme

from consumer.errors import CallError, NoAnswer, NotSent
from tests.moderation.calling.wire import (
    FAST,
    HEAD,
    PATIENT,
    Host,
    Side,
    answering,
    host,
    read_request,
    replies,
    reset,
    settle,
    whole,
)


if TYPE_CHECKING:
    from consumer.settings.models import Timeouts


NAME = "moderation.test"


@cache
def authority(name: str) -> trustme.CA:
    """One of the authorities of these tests: made once, since keys take time."""
    return trustme.CA(organization_name=name)


@cache
def serving(name: str = NAME, by: str = "ours", *, expired: bool = False, number: int = 0) -> ssl.SSLContext:
    """What a server of this name shows; with each number it is another certificate."""
    del number
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = datetime.now(UTC) - timedelta(days=1)
    certificate = authority(by).issue_cert(name, not_after=end) if expired else authority(by).issue_cert(name)
    certificate.configure_cert(context)
    return context


@cache
def trusting() -> ssl.SSLContext:
    """What the client trusts."""
    context = ssl.create_default_context()
    authority("ours").configure_trust(context)
    return context


def url_of(side: Side, at: Host) -> str:
    side.names.known[NAME] = ["127.0.0.1"]
    return f"https://{NAME}:{at.port}/"


def test_a_request_goes_to_who_proves_its_name(side: Side) -> None:
    """A certificate of a known authority for the host's name is enough; the name is asked for, and only HTTP/1.1."""
    asked: list[str | None] = []
    context = serving("second.test")
    context.sni_callback = lambda _, name, __: asked.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        while True:
            await read_request(reader)
            writer.write(whole(str(spoken).encode()))

    async def main() -> int:
        side.names.known["second.test"] = ["127.0.0.1"]
        async with host(handler, context=context) as at, side.open(context=trusting()) as transport:
            for _ in range(3):
                answer = await transport.post(f"https://second.test:{at.port}/", {}, b"body")
                assert answer.body in {b"None", b"http/1.1"}
            return at.connections

    assert side.run(main()) == 1
    assert asked == ["second.test"]


@pytest.mark.parametrize(
    ("context", "said"),
    [
        pytest.param(lambda: serving("other.test"), "not valid for", id="another name"),
        pytest.param(lambda: serving(expired=True), "expired", id="expired"),
        pytest.param(lambda: serving(by="others"), "unable to get local issuer", id="an unknown authority"),
    ],
)
def test_who_does_not_prove_its_name_is_told_nothing(side: Side, context: object, said: str) -> None:
    """With a wrong, an expired or an unknown certificate no byte of the request is sent, and the error says why."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def main() -> None:
        assert callable(context)
        async with host(handler, context=context()) as at, side.open(context=trusting()) as transport:
            with pytest.raises(NotSent, match=said):
                await transport.post(url_of(side, at), {}, b"body")
            await at.until(lambda: at.open == 0)

    side.run(main())
    assert b"".join(seen) == b""


def test_without_a_context_the_systems_authorities_are_trusted(side: Side) -> None:
    """Both transports verify by default."""

    async def main() -> None:
        async with host(answering, context=serving()) as at, side.open() as transport:
            with pytest.raises(NotSent, match="certificate verify failed"):
                await transport.post(url_of(side, at), {}, b"body")

    side.run(main())


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])
def test_where_there_is_no_tls_nothing_is_sent(side: Side, says: bytes) -> None:
    """A server that speaks no TLS gets no request, whatever it says instead."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(says)

    async def main() -> None:
        async with host(handler) as at, side.open(context=trusting()) as transport:
            with pytest.raises(NotSent):
                await transport.post(url_of(side, at), {}, b"body")

    side.run(main())


def test_a_new_certificate_is_verified_anew(side: Side) -> None:
    """A service may change its certificate at any time for one that is good, and for no other."""

    async def main() -> None:
        async with side.open(context=trusting()) as transport:
            port = 0
            for number, (by, good) in enumerate([("ours", True), ("ours", True), ("others", False), ("ours", True)]):
                async with host(answering, context=serving(NAME, by, number=number), port=port) as at:
                    port = at.port
                    if good:
                        assert (await transport.post(url_of(side, at), {}, b"ab")).body == b"ab"
                    else:
                        with pytest.raises(NotSent):
                            await transport.post(url_of(side, at), {}, b"ab")
                await asyncio.sleep(0.05)

    side.run(main())


@pytest.mark.parametrize(
    ("raw", "timeouts"),
    [
        pytest.param(b"", PATIENT, id="closed"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\n{", PATIENT, id="closed within the body"),
        pytest.param(None, FAST, id="silence"),
    ],
)
def test_a_request_without_an_answer_ends_over_tls_too(side: Side, raw: bytes | None, timeouts: Timeouts) -> None:
    """Closed or silent: the service may have read it, and its connection is gone."""

    async def main() -> None:
        handler = replies(stay=True) if raw is None else replies(raw)
        async with host(handler, context=serving()) as at, side.open(timeouts, context=trusting()) as transport:
            with pytest.raises(NoAnswer):
                await transport.post(url_of(side, at), {}, b"body")
            await at.until(lambda: at.open == 0)

    side.run(main())


def test_a_reset_connection_is_not_used_again_over_tls(side: Side) -> None:
    """A service that breaks off behind its answer loses no request."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"ab"))
        await asyncio.sleep(0.05)
        reset(writer)

    async def main() -> None:
        async with host(handler, context=serving()) as at, side.open(context=trusting()) as transport:
            for _ in range(2):
                assert (await transport.post(url_of(side, at), {}, b"body")).body == b"ab"
                await at.until(lambda: at.open == 0)
                await settle()

    side.run(main())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice for what is large
def test_an_answer_before_the_request_was_read_is_one_over_tls(side: Side) -> None:
    """A refusal that does not wait for a large body is an answer, and its connection is not used again."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: 4\r\n" not in head.lower():
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            await asyncio.Event().wait()
        writer.write(whole(await reader.readexactly(4)))

    async def main() -> None:
        async with host(handler, context=serving()) as at, side.open(context=trusting()) as transport:
            assert (await transport.post(url_of(side, at), {}, b"x" * 20_000_000)).status == 413
            if side.lean:  # aiohttp does not see that TLS has not written all
                assert (await transport.post(url_of(side, at), {}, b"next")).body == b"next"

    side.run(main())


def test_a_request_that_is_cancelled_at_any_moment_spoils_no_other_over_tls(side: Side) -> None:
    """Cancelled at each turn of the loop, the handshake's too: the next one has its own answer, and nothing leaks."""

    async def main() -> None:
        async with host(answering, context=serving()) as at:
            answered = turns = 0
            while answered < 2:
                async with side.open(context=trusting()) as transport:
                    for turn in (turns, turns // 2):
                        task = asyncio.create_task(transport.post(url_of(side, at), {}, b"%d" % turn))
                        for _ in range(turn):
                            await asyncio.sleep(0)
                        task.cancel()
                        with suppress(asyncio.CancelledError, CallError):
                            assert (await task).body == b"%d" % turn
                            answered += turn == turns
                    assert (
                        await transport.post(url_of(side, at), {}, b"next to %d" % turns)
                    ).body == b"next to %d" % turns
                turns += 1
            assert turns > 3
            await at.until(lambda: at.open == 0)

    side.run(main())
