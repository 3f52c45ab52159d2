"""A TCP proxy that harms what passes through it, on demand: delays, cuts, black holes, half-closed connections."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self, cast


if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["Proxy"]


_LINGER_ZERO = struct.pack("ii", 1, 0)
# Timers of an event loop are up to two milliseconds late: with them, jitter is no more than was asked for.
_TIMER_SECONDS = 0.002


class Proxy:
    """A port of its own in front of one server, as an async context manager.

    `upstream` may be changed at any time, and is None while there is no server: who comes then is turned away with a
    reset. The faults hold for all connections until they are taken back; with none in force bytes just pass.

    Attributes:
        port: where clients connect, on 127.0.0.1; known once it has started.
        upstream: the server's host and port.
        delay_seconds: how long every byte takes, each way.
        jitter_seconds: how much longer it takes at the most, as chance will have it, each piece in its turn.
        refusing: whether new connections are reset at once.
        swallowing: a black hole: every byte and every farewell is lost, both ways, and connections stay open.
    """

    def __init__(self, upstream: tuple[str, int] | None = None) -> None:
        self.port = 0
        self.upstream = upstream
        self.delay_seconds = 0.0
        self.jitter_seconds = 0.0
        self.refusing = False
        self.swallowing = False
        self.links: set[_Link] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; afterwards `port` is set."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self).client, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and reset all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._connecting:
            task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)
        self.cut()
        await self.idle.wait()

    def cut(self) -> int:
        """Reset all connections, and say how many there were."""
        links = list(self.links)
        for link in links:
            link.reset()
        return len(links)

    def half_close(self) -> None:
        """Tell every client that its server will say no more; what clients say still arrives."""
        for link in list(self.links):
            link.half_close()

    def mend(self) -> None:
        """Take all faults back. Connections that lost bytes, or were half closed, are reset: they cannot go on."""
        self.delay_seconds = self.jitter_seconds = 0.0
        self.refusing = self.swallowing = False
        for link in list(self.links):
            if link.harmed:
                link.reset()

    def connect(self, link: _Link) -> None:
        """Find the server for a client that has come."""
        if self.refusing or self.upstream is None:
            link.reset()
            return
        task = asyncio.get_running_loop().create_task(self._connect(link, self.upstream))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, link: _Link, upstream: tuple[str, int]) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: link.server, *upstream)
        except OSError:
            link.reset()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _Link:
    """A client's connection and the one to its server; `harmed` once bytes of it were lost."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.harmed = False
        self.deaf = False
        self.client = _End(self)
        self.server = _End(self)

    def other(self, end: _End) -> _End:
        return self.server if end is self.client else self.client

    def joined(self, end: _End) -> None:
        """One end is connected: bytes pass once both are."""
        if end is self.client:
            self.proxy.links.add(self)
            self.proxy.idle.clear()
            end.transport.pause_reading()
            self.proxy.connect(self)
        else:
            self.client.transport.resume_reading()

    def carry(self, end: _End, data: bytes) -> None:
        """Bring bytes, or a farewell (no bytes), from one end to the other, in their order."""
        loop, other = asyncio.get_running_loop(), self.other(end)
        if self.proxy.swallowing:
            self.harmed = True
        elif other.waiting or self.proxy.delay_seconds or self.proxy.jitter_seconds:
            takes = self.proxy.delay_seconds + random.uniform(0, max(0.0, self.proxy.jitter_seconds - _TIMER_SECONDS))
            # Never at the same moment as what came before: the loop does not keep the order of equals.
            other.due = max(math.nextafter(other.due, math.inf), loop.time() + takes)
            other.waiting += 1
            loop.call_at(other.due, self._deliver_late, other, data)
        else:
            other.take(data)

    def _deliver_late(self, end: _End, data: bytes) -> None:
        end.waiting -= 1
        if self.proxy.swallowing:
            self.harmed = True
        else:
            end.take(data)

    def half_close(self) -> None:
        self.client.take(b"")
        self.harmed = self.deaf = True

    def lost(self, end: _End) -> None:
        """One end is gone for good; within a black hole the other does not hear of it."""
        if self.proxy.swallowing and not self.other(end).gone:
            self.harmed = True
            return
        self.reset()
        if self.client.gone and (self.server.gone or not self.server.connected):
            self.proxy.links.discard(self)
            if not self.proxy.links:
                self.proxy.idle.set()

    def reset(self) -> None:
        """End both connections with a reset (RST); those that are at their end close as they should."""
        for end in (self.client, self.server):
            end.reset()


class _End(asyncio.Protocol):
    """One connection of a link."""

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.connected = False
        self.gone = False
        self.ended = False
        self.due = 0.0
        self.waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.connected = True
        if self.link.client.gone:
            self.reset()
        else:
            self.link.joined(self)

    def data_received(self, data: bytes) -> None:
        self.link.carry(self, data)

    def eof_received(self) -> bool:
        self.link.carry(self, b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.gone = True
        self.link.lost(self)

    def pause_writing(self) -> None:
        self._other_reads(reads=False)

    def resume_writing(self) -> None:
        self._other_reads(reads=True)

    def _other_reads(self, *, reads: bool) -> None:
        other = self.link.other(self)
        if other.connected and not other.gone:
            (other.transport.resume_reading if reads else other.transport.pause_reading)()

    def take(self, data: bytes) -> None:
        """Write bytes, or end the stream where there are none; what was half closed takes nothing more."""
        if not self.connected or self.gone or self.ended:
            return
        with suppress(OSError, RuntimeError):  # it is closing already
            if data:
                self.transport.write(data)
                return
            self.transport.write_eof()
            self.ended = True
            if self.link.other(self).ended and not self.link.harmed:
                self.transport.close()
                self.link.other(self).transport.close()

    def reset(self) -> None:
        if not self.connected or self.gone or (self.ended and self.link.other(self).ended and not self.link.harmed):
            return
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # it is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.transport.abort()
