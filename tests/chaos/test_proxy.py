"""Tests of the proxy that harms connections: each fault as a client on the other side of it sees it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from chaos.proxy import Proxy


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that says everything back, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.farewells = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
                await writer.drain()
            self.farewells += 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, Echo]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy, echo
    server.close()
    await server.wait_closed()


async def said(streams: Streams, text: bytes) -> bytes:
    """What comes back within half a second."""
    reader, writer = streams
    writer.write(text)
    with suppress(TimeoutError):
        return await asyncio.wait_for(reader.read(len(text)), 0.5)
    return b"nothing"


def run(body: Callable[[Proxy, Echo, Callable[[], Awaitable[Streams]]], Awaitable[None]]) -> None:
    """Run a test with a proxy in front of an echo; its clients are closed at the end."""

    async def main() -> None:
        opened: list[asyncio.StreamWriter] = []
        async with asyncio.timeout(20), proxied() as (proxy, echo):

            async def client() -> Streams:
                streams = await asyncio.open_connection("127.0.0.1", proxy.port)
                opened.append(streams[1])
                return streams

            await body(proxy, echo, client)
            for writer in opened:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    asyncio.run(main())


def test_without_faults_bytes_and_farewells_pass() -> None:
    """A megabyte comes back as it was said, and a closed connection closes at the server."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await client()
        much = bytes(range(256)) * 4096
        writer.write(much)
        assert await reader.readexactly(len(much)) == much
        writer.write_eof()
        assert await reader.read() == b""
        while not echo.farewells or proxy.links:
            await asyncio.sleep(0.01)

    run(body)


def test_a_delay_holds_bytes_up_in_their_order() -> None:
    """With 0.2 s each way an answer takes 0.4 s, and what is said first arrives first, also when the delay ends."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await client()
        assert await said((reader, writer), b"quick") == b"quick"
        proxy.delay_seconds = 0.2
        began = time.monotonic()
        writer.write(b"one")
        await asyncio.sleep(0.05)
        proxy.mend()
        writer.write(b"two")
        assert await reader.readexactly(6) == b"onetwo"
        assert time.monotonic() - began >= 0.19

    run(body)


def test_jitter_spreads_bytes_and_keeps_their_order() -> None:
    """What is said takes up to as long as the jitter, now more and now less, and arrives in its order."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        proxy.jitter_seconds = 0.1
        reader, writer = await client()
        took = []
        for _ in range(10):
            began = time.monotonic()
            assert await said((reader, writer), b"?") == b"?"
            took.append(time.monotonic() - began)
        assert max(took) - min(took) > 0.02
        words = [b"%03d" % number for number in range(50)]
        for word in words:
            writer.write(word)
            await asyncio.sleep(0.002)
        assert await reader.readexactly(150) == b"".join(words)

    run(body)


def test_a_cut_resets_connections_and_new_ones_work() -> None:
    """Who is connected gets a reset; who connects afterwards notices nothing."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await client()
        assert await said((reader, writer), b"hello") == b"hello"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert await said(await client(), b"again") == b"again"

    run(body)


def test_a_black_hole_keeps_connections_open_and_their_bytes() -> None:
    """Nothing arrives, nothing ends; when it is over what was said is lost, and its connection is reset."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        quiet, talking, leaving = await client(), await client(), await client()
        for streams in (quiet, talking, leaving):
            assert await said(streams, b"hello") == b"hello"
        proxy.swallowing = True
        leaving[1].close()
        assert await said(talking, b"lost") == b"nothing"
        assert await said(await client(), b"lost too") == b"nothing"
        assert echo.farewells == 0
        proxy.mend()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(talking[0].readexactly(1), 5)
        assert await said(quiet, b"on") == b"on"
        assert b"lost" not in echo.heard

    run(body)


def test_a_half_closed_client_is_still_heard() -> None:
    """It reads the end of the stream, while its own words arrive; it is reset when the fault is over."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await client()
        assert await said((reader, writer), b"hello") == b"hello"
        proxy.half_close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.write(b" still there")
        while not echo.heard.endswith(b" still there"):
            await asyncio.sleep(0.01)
        proxy.mend()
        while proxy.links:
            await asyncio.sleep(0.01)

    run(body)


@pytest.mark.parametrize("away", ["refusing", "no server", "server down"])
def test_without_a_server_clients_are_turned_away(away: str) -> None:
    """A client is reset while the proxy refuses or there is no server, and served when that is over."""

    async def body(proxy: Proxy, echo: Echo, client: Callable[[], Awaitable[Streams]]) -> None:
        upstream = proxy.upstream
        if away == "refusing":
            proxy.refusing = True
        else:
            proxy.upstream = None if away == "no server" else ("127.0.0.1", 1)
        reader, _ = await client()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        proxy.upstream = upstream
        proxy.mend()
        assert await said(await client(), b"back") == b"back"

    run(body)
