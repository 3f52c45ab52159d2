"""Every form that an answer can have over HTTP/1, and every form it must not have."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from consumer.errors import NoAnswer, NotSent
from consumer.moderation.calling.transport import MAX_ANSWER_BYTES
from tests.moderation.calling.wire import (
    FAST,
    HEAD,
    PATIENT,
    Handler,
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
    from collections.abc import Iterable

    from consumer.settings.models import Timeouts


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZEROS = bytes(MAX_ANSWER_BYTES)


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def bare_deflate(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-15)
    return pack.compress(body) + pack.flush()


def then_another(handler: Handler) -> Handler:
    """The first connection is treated like this, all others are answered with what they sent."""
    first = True

    async def either(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        was_first, first = first, False
        await (handler if was_first else answering)(reader, writer)

    return either


def answered(side: Side, handler: Handler) -> tuple[int, bytes]:
    """The answer to a first request; a second one is then sent, and has to have its own answer."""

    async def main() -> tuple[int, bytes]:
        async with host(then_another(handler)) as at, side.open() as transport:
            answer = await transport.post(at.url, {}, b"first")
            assert (await transport.post(at.url, {}, b"second")).body == b"second"
            return answer.status, answer.body

    return side.run(main())


def not_answered(side: Side, handler: Handler, timeouts: Timeouts = PATIENT) -> str:
    """What is said of a request without an answer; a second one is then sent, and has to have its own answer."""

    async def main() -> str:
        async with host(then_another(handler)) as at, side.open(timeouts) as transport:
            with pytest.raises(NoAnswer) as error:
                await transport.post(at.url, {}, b"first")
            assert (await transport.post(at.url, {}, b"second")).body == b"second"
            return str(error.value)

    return side.run(main())


def then_answers(*parts: bytes) -> Handler:
    """Answer one request in these parts, and all others on the same connection with what they sent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        await answering(reader, writer)

    return handler


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(CHUNKED + chunks(b'{"a":', b"1}"), b'{"a":1}', id="chunked"),
        pytest.param(CHUNKED + b"2;name=value\r\nab\r\n0\r\nTrailer: x\r\n\r\n", b"ab", id="extensions and trailers"),
        pytest.param(CHUNKED + chunks(), b"", id="no chunks"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\n\r\n", b"", id="304"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"ab"), b"ab", id="100"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Encoding: gzip\r\n\r\n" * 3 + whole(b"ab"),
            b"ab",
            id="103",
        ),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", b"ab", id="no reason"),
        pytest.param(whole(b"ab", b"X-Empty:"), b"ab", id="an empty header"),
        pytest.param(whole(b"ab", *[b"X-%d: %b" % (at, b"y" * 300) for at in range(100)]), b"ab", id="a large head"),
        pytest.param(whole(b"ab", b"X: " + b"\xe4\xbd\xa0"), b"ab", id="a header beyond ASCII"),
        pytest.param(whole(gzip.compress(b"ab"), b"Content-Encoding: gzip"), b"ab", id="gzip"),
        pytest.param(whole(gzip.compress(b"ab"), b"content-encoding: GZIP "), b"ab", id="GZIP"),
        pytest.param(whole(zlib.compress(b"ab"), b"Content-Encoding: deflate"), b"ab", id="deflate"),
        pytest.param(whole(bare_deflate(b"ab"), b"Content-Encoding: deflate"), b"ab", id="bare deflate"),
        pytest.param(whole(b"", b"Content-Encoding: gzip"), b"", id="gzip of nothing"),
        pytest.param(whole(b"ab", b"Content-Encoding: utf-8"), b"ab", id="a coding that is none"),
        pytest.param(whole(gzip.compress(ZEROS), b"Content-Encoding: gzip"), ZEROS, id="the largest gzip"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(gzip.compress(b"ab")),
            b"ab",
            id="chunked gzip",
        ),
    ],
)
@pytest.mark.parametrize("pieces", ["at once", "by the byte"])
def test_an_answer_is_read_in_every_form(side: Side, raw: bytes, body: bytes, pieces: str) -> None:
    """Chunked, packed, after preliminary answers, in one piece or in single bytes: the body is the same."""
    parts: Iterable[bytes] = [raw] if pieces == "at once" else [raw[at : at + 1] for at in range(min(len(raw), 600))]
    rest = b"" if pieces == "at once" else raw[600:]
    assert answered(side, then_answers(*parts, rest))[1] == body


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nab", id="HTTP/1.0"),
        pytest.param(HEAD + b"\r\nab", id="HTTP/1.1"),
        pytest.param(HEAD + b"Connection: close\r\n\r\nab", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"ab"), id="gzip"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", id="HTTP/1.0 with its length"),
        pytest.param(whole(b"ab", b"Connection: close"), id="close with its length"),
    ],
)
def test_a_body_can_end_with_the_connection(side: Side, raw: bytes) -> None:
    """Where no length is told all that comes is the body, and such a connection is not used again."""
    assert answered(side, replies(raw)) == (200, b"ab")


def test_a_connection_that_is_to_be_closed_is_not_used_again(side: Side) -> None:
    """`Connection: close` counts even where the server does not close."""
    assert answered(side, replies(whole(b"ab", b"Connection: close"), stay=True)) == (200, b"ab")


ANOTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
NO_MORE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("behind", [ANOTHER, NO_MORE])
def test_what_comes_behind_an_answer_is_nobodys_answer(side: Side, behind: bytes) -> None:
    """An answer that nobody asked for, with the one that was, spoils its connection, and no request has it."""
    assert answered(side, replies(whole(b"ab") + behind, stay=True)) == (200, b"ab")


@pytest.mark.parametrize("behind", [b"\0", b"HTTP", NO_MORE[:-3], b"garbage\r\n\r\n"])
def test_an_answer_counts_whatever_stands_behind_it(side: Side, behind: bytes) -> None:
    """What cannot be read behind a whole answer does not undo it; aiohttp throws both away where they come together."""
    if side.lean:
        assert answered(side, replies(whole(b"ab") + behind, stay=True)) == (200, b"ab")


@pytest.mark.parametrize("behind", [b"\0", b"HTTP", ANOTHER, NO_MORE, b"garbage\r\n\r\n"])
def test_what_comes_on_an_idle_connection_is_nobodys_answer(side: Side, behind: bytes) -> None:
    """What the service says without having been asked spoils its connection, and no request has it for an answer."""
    if behind == b"HTTP" and not side.lean:
        return  # aiohttp forgets what is not whole, and goes on

    goes, gone = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"first"))
        await goes.wait()
        writer.write(behind)
        gone.set()
        await reader.read()

    async def main() -> None:
        async with host(then_another(handler)) as at, side.open() as transport:
            assert (await transport.post(at.url, {}, b"first")).body == b"first"
            goes.set()
            await gone.wait()
            await settle()
            if not side.lean:
                # aiohttp finds out when it is about to send.
                with suppress(NotSent):
                    assert (await transport.post(at.url, {}, b"second")).body == b"second"
            assert (await transport.post(at.url, {}, b"third")).body == b"third"

    side.run(main())


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: -2\r\n\r\nab", id="a length below 0"),
        pytest.param(HEAD + b"Content-Length: 2x\r\n\r\nab", id="a length of letters"),
        pytest.param(HEAD + b"Content-Length: \xb2\r\n\r\nab", id="a length of other digits"),
        pytest.param(HEAD + b"Content-Length: 99999999999999999999\r\n\r\nab", id="a length beyond 64 bits"),
        pytest.param(
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"ab"), id="two framings"
        ),
        pytest.param(CHUNKED + b"x\r\nab\r\n0\r\n\r\n", id="a chunk without a size"),
        pytest.param(CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", id="a chunk of another size"),
        pytest.param(HEAD + b"X: " + b"y" * 200_000 + b"\r\nContent-Length: 2\r\n\r\nab", id="a header too large"),
        pytest.param(whole(b"ab", *[b"X-%d: %b" % (at, b"y" * 900) for at in range(200)]), id="too many headers"),
        pytest.param(HEAD + b"X\0: y\r\nContent-Length: 2\r\n\r\nab", id="a NUL in a header"),
        pytest.param(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nab", id="a status of two digits"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x16", id="TLS"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", id="101"),
    ],
)
def test_an_answer_that_breaks_the_rules_is_none(side: Side, raw: bytes) -> None:
    """What could be read in two ways, is too large, or is not HTTP at all is none, and its connection is closed."""
    not_answered(side, replies(raw, stay=True))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"ab", id="no gzip"),
        pytest.param(gzip.compress(b"ab")[:-4], id="cut off"),
        pytest.param(gzip.compress(b"ab") + b"x", id="and more"),
        pytest.param(gzip.compress(ZEROS + b"x"), id="too large"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_no_answer(side: Side, body: bytes) -> None:
    """What says that it is packed, and is not, or not as a whole, or too large, is none."""
    not_answered(side, then_answers(whole(body, b"Content-Encoding: gzip")))


def endless(begin: bytes, more: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(begin)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)

    return handler


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(HEAD + b"X: ", b"y" * 10_000, id="a header"),
        pytest.param(HEAD, b"".join(b"X-%d: y\r\n" % at for at in range(1000)), id="headers"),
        pytest.param(HEAD + b"\r\n", b"y" * 10_000, id="a body"),
        pytest.param(CHUNKED, b"3e8\r\n" + b"y" * 1000 + b"\r\n", id="chunks"),
        pytest.param(CHUNKED + b"1;", b"y" * 10_000, id="a chunk's extension"),
        pytest.param(CHUNKED + b"0\r\nX: ", b"y" * 10_000, id="a trailer"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="preliminary answers"),
        pytest.param(b"", b"\r\n" * 1000, id="nothing"),
    ],
)
def test_an_answer_without_end_is_none(side: Side, begin: bytes, more: bytes) -> None:
    """A head or a body that never ends takes neither all memory nor all time."""
    tracemalloc.start()
    try:
        not_answered(side, endless(begin, more), FAST if not side.lean else PATIENT)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_is_not_unpacked(side: Side) -> None:
    """A hundred megabytes in a hundred kilobytes are refused before they are there."""
    bomb = gzip.compress(bytes(100_000_000), compresslevel=9)
    tracemalloc.start()
    try:
        said = not_answered(side, then_answers(whole(bomb, b"Content-Encoding: gzip")))
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert said == f"the answer is larger than {MAX_ANSWER_BYTES} bytes"


@pytest.mark.parametrize("early", ["whole", "head first"])
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice for what is large
def test_an_answer_before_the_request_was_read_is_one(side: Side, early: str) -> None:
    """A refusal that does not wait for a large body is an answer, and its connection is not used again."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if early == "whole":
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        else:
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n")
            await asyncio.sleep(0.05)
            writer.write(b"no")
        await asyncio.Event().wait()

    async def main() -> None:
        async with host(then_another(handler)) as at, side.open() as transport:
            answer = await transport.post(at.url, {}, b"x" * 20_000_000)
            assert (answer.status, answer.body) == (413, b"no")
            assert (await transport.post(at.url, {}, b"second")).body == b"second"

    side.run(main())


def resets(*parts: bytes) -> Handler:
    """Answer one request in these parts, and break off."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
        await asyncio.sleep(0.05)
        reset(writer)

    return handler


@pytest.mark.parametrize("raw", [b"", HEAD[:20], HEAD + b"Content-Length: 9\r\n\r\n{", CHUNKED])
def test_a_connection_that_is_reset_brings_no_answer(side: Side, raw: bytes) -> None:
    """A reset before, within and behind the head is no answer, and its connection is gone."""
    not_answered(side, resets(raw))


def test_a_reset_is_no_end_of_a_body(side: Side) -> None:
    """A body that ends with its connection ends when the service closes it in order; aiohttp takes a reset, too."""
    if side.lean:
        not_answered(side, resets(HEAD + b"\r\n{"))


def test_a_reset_behind_an_answer_takes_nothing_from_it(side: Side) -> None:
    """An answer that is whole counts, whatever becomes of its connection."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"ab"))
        await asyncio.sleep(0.05)
        reset(writer)

    async def main() -> None:
        async with host(then_another(handler)) as at, side.open() as transport:
            assert (await transport.post(at.url, {}, b"first")).body == b"ab"
            await at.until(lambda: at.open == 0)
            await settle()
            assert (await transport.post(at.url, {}, b"second")).body == b"second"

    side.run(main())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice for what is large
def test_a_reset_while_the_request_is_written_is_no_proof(side: Side) -> None:
    """A connection that breaks while a large request is on its way: the service may have read what it needs."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async def main() -> None:
        async with host(then_another(handler)) as at, side.open() as transport:
            with pytest.raises(NoAnswer):
                await transport.post(at.url, {}, b"x" * 20_000_000)
            assert (await transport.post(at.url, {}, b"second")).body == b"second"

    side.run(main())
