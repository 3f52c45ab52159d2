"""Both transports on both event loops, servers on real sockets, and names that a test makes up."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.calling.lean import LeanTransport
from consumer.settings.models import Timeouts


if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from consumer.quota import Guard


__all__ = [
    "FAST",
    "HEAD",
    "PATIENT",
    "SIDES",
    "Handler",
    "Host",
    "Names",
    "Side",
    "answering",
    "black_hole",
    "host",
    "read_request",
    "replies",
    "reset",
    "settle",
    "whole",
]


T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Found = dict[str, Sequence[str] | Exception | asyncio.Event]

FAST = Timeouts(connect_seconds=1, read_seconds=0.3, total_seconds=0.8)
"""For requests that shall fail by their time."""
PATIENT = Timeouts()
"""For all others, since the machine may be busy."""
HEAD = b"HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass
class Names:
    """What names lead to, and how often they were looked up."""

    known: Found = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def look_up(self, name: str, port: int) -> list[tuple[int, int, int, str, Any]]:
        """What `getaddrinfo` would give."""
        self.asked.append(name)
        found = self.known[name]
        if isinstance(found, asyncio.Event):
            await found.wait()
            found = ["127.0.0.1"]
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@dataclass(frozen=True)
class Side:
    """One transport on one event loop."""

    lean: bool
    uvloop: bool
    names: Names = field(default_factory=Names)

    def __str__(self) -> str:
        return f"{'lean' if self.lean else 'aiohttp'}-{'uvloop' if self.uvloop else 'asyncio'}"

    def open(
        self, timeouts: Timeouts = PATIENT, guard: Guard | None = None, *, context: ssl.SSLContext | None = None
    ) -> AiohttpTransport | LeanTransport:
        """The transport, still to be entered."""
        return (LeanTransport if self.lean else AiohttpTransport)(timeouts, guard, context=context)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end, and see that no socket is left open, and that the loop had nothing to complain of."""
        complaints: list[dict[str, Any]] = []

        def loop() -> asyncio.AbstractEventLoop:
            made = uvloop.new_event_loop() if self.uvloop else asyncio.new_event_loop()
            usual = made.getaddrinfo

            async def look_up(name: Any, port: Any, **options: Any) -> Any:
                made_up = name in self.names.known
                return await (self.names.look_up(name, port) if made_up else usual(name, port, **options))

            # Both transports look names up by the loop.
            made.getaddrinfo = look_up  # type: ignore[method-assign,assignment]  # there are no types for what it gives
            made.set_exception_handler(lambda _, context: complaints.append(context))
            return made

        before = _open_sockets()
        with asyncio.Runner(loop_factory=loop) as runner:
            result = runner.run(main)
        if _open_sockets() > before:
            gc.collect()
        assert not complaints, complaints
        assert _open_sockets() <= before, f"{_open_sockets()} sockets instead of {before}"
        return result


SIDES = [Side(lean=lean, uvloop=fast) for lean in (False, True) for fast in (False, True)]


def _open_sockets() -> int:
    count = 0
    for one in _DESCRIPTORS.iterdir() if _DESCRIPTORS.exists() else ():
        with suppress(OSError):  # that of the listing itself
            count += str(one.readlink()).startswith("socket:")
    return count


@dataclass
class Host:
    """A server on this machine, and what it has seen."""

    port: int = 0
    scheme: str = "http"
    connections: int = 0
    open: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        """Return when connections have come or gone as far as this."""
        async with asyncio.timeout(20):
            while not fulfilled():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def host(
    handler: Handler, *, context: ssl.SSLContext | None = None, port: int = 0, address: str = "127.0.0.1"
) -> AsyncIterator[Host]:
    """A server that does what `handler` does with each connection, and ends with all its connections."""
    at = Host(scheme="http" if context is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at.connections += 1
        at.open += 1
        at.changed.set()
        try:
            with suppress(OSError, EOFError):
                await handler(reader, writer)
        finally:
            at.open -= 1
            at.changed.set()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(handle(reader, writer)))

    listening = await asyncio.start_server(accept, address, port, ssl=context, backlog=4096)
    async with listening:
        at.port = listening.sockets[0].getsockname()[1]
        try:
            yield at
        finally:
            await settle()
            listening.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def settle() -> None:
    """Have everybody see who has just come or gone, and what was said, however busy the machine is."""
    for _ in range(8):
        await asyncio.sleep(0.0005)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def whole(body: bytes, *headers: bytes) -> bytes:
    """An answer whose length is told."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def replies(*parts: bytes, pause_seconds: float = 0.0, stay: bool = False) -> Handler:
    """Answer one request in these parts, and close; or `stay` until the client does."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)
        if stay:
            await reader.read()

    return handler


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its own body."""
    while True:
        request = await read_request(reader)
        writer.write(whole(request.partition(b"\r\n\r\n")[2]))


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off, so that the client is told so."""
    end: socket.socket = writer.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port on this machine where connections are neither made nor refused."""
    with socket.socket() as full:
        full.bind(("127.0.0.2", 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        try:
            for one in waiting:
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect(("127.0.0.2", port))
            await asyncio.sleep(0.05)
            yield port
        finally:
            for one in waiting:
                one.close()
