"""A request goes over the wire byte for byte, and each way it can fail says whether it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from consumer.errors import NoAnswer, NotSent, Withheld
from consumer.moderation.calling.transport import MAX_ANSWER_BYTES, AiohttpTransport, HttpAnswer
from consumer.quota.wire import expect
from consumer.settings.models import Timeouts
from tests.moderation.support import Door


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FAST = Timeouts(connect_seconds=1, read_seconds=0.2, total_seconds=0.5)
HEAD = b"HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n"


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """A server on this machine that does what `handler` does with each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def replies(*parts: bytes, pause_seconds: float = 0.0, stay: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)
        if stay:
            await reader.read()

    return handler


def post(handler: Handler, query: str = "") -> HttpAnswer:
    async def main() -> HttpAnswer:
        async with server(handler) as url, AiohttpTransport(FAST) as transport:
            return await transport.post(url + query, {"content-type": "text/plain"}, b"body")

    return asyncio.run(main())


def test_an_answer_is_read_whatever_its_status() -> None:
    """Status, body and headers come back, and headers are found in any case."""
    answer = post(replies(b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno"))
    assert (answer.status, answer.body, answer.headers.get("retry-after")) == (503, b"no", "3")


def test_a_request_is_sent_as_it_was_signed() -> None:
    """The URL is not encoded anew, and the signed headers arrive as they are, beside three of our own."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")

    async def main() -> None:
        async with server(handler) as url, AiohttpTransport(FAST) as transport:
            await transport.post(url + "?a=%2A%3A%20%7E", {"host": "green", "x-acs-date": "d"}, b"")

    asyncio.run(main())
    lines = seen[0].lower().split(b"\r\n")
    assert seen[0].startswith(b"POST /?a=%2A%3A%20%7E HTTP/1.1\r\n")
    names = sorted(line.split(b":")[0] for line in lines[1:] if line)
    assert names == [b"accept", b"accept-encoding", b"content-length", b"host", b"user-agent", b"x-acs-date"]
    assert b"host: green" in lines


def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like any other: a signed request goes nowhere else."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
    assert post(replies(head)).status == 302


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(replies(), id="closed before an answer"),
        pytest.param(replies(HEAD + b"Content-Length: 9\r\n\r\n{"), id="closed within the answer"),
        pytest.param(replies(b"hello\r\n\r\n"), id="no HTTP"),
        pytest.param(replies(stay=True), id="silence"),
        pytest.param(replies(HEAD + b"Content-Length: 9\r\n\r\n", *[b"x"] * 9, pause_seconds=0.1), id="a drip"),
        pytest.param(
            replies(HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1), b"x" * (MAX_ANSWER_BYTES + 1)),
            id="too large",
        ),
    ],
)
def test_a_request_without_a_whole_answer_may_have_been_read(handler: Handler) -> None:
    """Whatever happens after the request was sent, the service may have judged it; nothing waits for ever."""
    with pytest.raises(NoAnswer):
        post(handler)


def test_the_largest_answer_is_read() -> None:
    """An answer of exactly the greatest size is taken."""
    body = b"x" * MAX_ANSWER_BYTES
    assert post(replies(HEAD + b"Content-Length: %d\r\n\r\n" % len(body), body)).body == body


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/"])
def test_a_request_without_a_connection_was_not_sent(url: str) -> None:
    """Where no connection can be made the service cannot have read anything."""

    async def main() -> None:
        async with AiohttpTransport(Timeouts()) as transport:
            await transport.post(url, {}, b"body")

    with pytest.raises(NotSent):
        asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"secret HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(HEAD + b"secret\r\n\r\n", id="no header"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n", id="no chunk"),
    ],
)
def test_a_malformed_answer_is_not_quoted(answer: bytes) -> None:
    """What is said of an answer that cannot be read, and then logged, has nothing of the answer in it."""
    with pytest.raises(NoAnswer) as error:
        post(replies(answer))
    assert "secret" not in str(error.value)


def test_a_connection_that_takes_too_long_is_told_without_the_url() -> None:
    """What is said of a time-out, and then logged, has nothing of the URL in it: a task's URL holds its texts."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        patience = Timeouts(connect_seconds=0.1, read_seconds=1, total_seconds=1)
        async with server(silent) as url, AiohttpTransport(patience) as transport:
            await transport.post(f"{url.replace('http:', 'https:')}?text=secret", {}, b"")

    with pytest.raises(NotSent) as error:
        asyncio.run(main())
    assert "secret" not in str(error.value)


def test_connections_are_used_again() -> None:
    """Two requests after each other need one connection."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await read_request(reader)
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")

    async def main() -> None:
        async with server(handler) as url, AiohttpTransport(FAST) as transport:
            for _ in range(2):
                await transport.post(url, {}, b"body")

    asyncio.run(main())
    assert connections == 1


def test_a_connection_that_was_closed_while_idle_is_no_proof() -> None:
    """A request on a connection that the server closes under it counts as perhaps read."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        await read_request(reader)

    async def main() -> None:
        async with server(handler) as url, AiohttpTransport(FAST) as transport:
            await transport.post(url, {}, b"body")
            await transport.post(url, {}, b"body")

    with pytest.raises(NoAnswer):
        asyncio.run(main())


def test_a_transport_has_to_be_opened() -> None:
    """Outside its context a transport sends nothing."""
    with pytest.raises(RuntimeError, match="not open"):
        asyncio.run(AiohttpTransport(FAST).post("http://127.0.0.1:1/", {}, b""))


def test_a_file_is_sent_whole() -> None:
    """A PUT of several megabytes arrives as it is, with its length and no header that was not asked for."""
    content = bytes(range(256)) * 12_000
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")

    async def main() -> int:
        async with server(handler) as url, AiohttpTransport(FAST) as transport:
            return (await transport.put(url + "up/1.png", {"content-type": "image/png"}, content)).status

    assert asyncio.run(main()) == 200
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /up/1.png HTTP/1.1\r\n")
    assert b"content-length: %d" % len(content) in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert head.lower().count(b"content-type: image/png") == head.lower().count(b"content-type:") == 1
    assert body == content


@pytest.mark.parametrize("body", [b"", b"body", b"x" * 3_000_000])
@pytest.mark.parametrize("verb", ["post", "put"])
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # a PUT has large ones, a POST has not
def test_nothing_is_written_when_the_guard_shut_while_connecting(verb: str, body: bytes) -> None:
    """A request whose process stood still while its connection was made sends not one byte, whatever its body."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def main() -> None:
        door = Door(shut=False)
        async with server(handler) as url, AiohttpTransport(Timeouts(), door) as transport:
            sending = asyncio.create_task(getattr(transport, verb)(url, {}, body))
            await asyncio.sleep(0)
            door.close()
            with pytest.raises(Withheld):
                await sending
            while not seen:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert seen == [b""]


def test_nothing_is_written_on_an_old_connection_when_the_guard_is_shut() -> None:
    """A connection that was used before is no way around the guard, and a transport works on when it has opened."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            seen.append((await read_request(reader))[-4:])
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")

    async def main() -> None:
        door = Door(shut=False)
        async with server(handler) as url, AiohttpTransport(FAST, door) as transport:
            await transport.post(url, {}, b"1111")
            door.close()
            for _ in range(2):
                with pytest.raises(Withheld):
                    await transport.post(url, {}, b"2222")
            door.open()
            await transport.post(url, {}, b"3333")

    asyncio.run(main())
    assert seen == [b"1111", b"3333"]


def test_who_waits_for_the_request_hears_when_it_is_written() -> None:
    """A request is told of when it has been written, before its answer, and one that the guard held back is not."""
    told = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await told.wait()
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")

    async def main() -> bool:
        door = Door()
        async with server(handler) as url, AiohttpTransport(FAST, door) as transport:
            expect(told.set)
            with pytest.raises(Withheld):
                await transport.post(url, {}, b"held back")
            early = told.is_set()
            door.open()
            await transport.post(url, {}, b"sent")
        return early

    assert not asyncio.run(main())
