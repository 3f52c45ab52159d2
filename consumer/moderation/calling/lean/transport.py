"""Requests over connections that are kept: which connection carries a request, and what a request looks like."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import aiohappyeyeballs

from consumer.errors import NotSent, Withheld
from consumer.moderation.calling.lean.addresses import Addresses
from consumer.moderation.calling.lean.connection import Connection
from consumer.moderation.calling.lean.rounds import Rounds
from consumer.moderation.calling.transport import HEADERS, KEEP_ALIVE_SECONDS, said
from consumer.quota import OpenGuard
from consumer.quota.wire import written


if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from consumer.moderation.calling.lean.reading import Reading
    from consumer.moderation.calling.transport import HttpAnswer
    from consumer.quota import Guard
    from consumer.settings.models import Timeouts


__all__ = ["LeanTransport"]


# A connection that is used all the time would otherwise stay with a host that has moved.
_AGE_SECONDS = 300.0
# The next address is tried beside one that does not answer for so long.
_NEXT_ADDRESS_SECONDS = 0.25
_CLOSE_SECONDS = 1.0
# So many connections are made at the same time: the system of the service's host may drop those beyond its queue, and
# one that is being made takes more memory than one that waits for its answer.
_MADE_AT_ONCE = 1000
# Most requests go to the few URLs without a query: these are not taken apart again each time.
_PLAIN_URLS = 100
_FIXED = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class _Origin:
    """Where requests go, as the head of a request needs it, and the connections that wait for one."""

    host: str
    port: int
    context: ssl.SSLContext | None
    netloc: str
    idle: deque[Connection] = field(default_factory=deque)


class LeanTransport:
    """POST requests alone, each on a connection of its own for as long as it takes. Use it as a context manager.

    As `AiohttpTransport` it follows no redirects, keeps no cookies, reads no proxy from the environment, and takes no
    answer over `MAX_ANSWER_BYTES`. What was on the wire when `guard` shut is finished; nothing else is written while it
    is. `context` says which certificates to trust; without one it is the system's.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        guard: Guard | None = None,
        *,
        addresses: Addresses | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._guard = guard or OpenGuard()
        self._addresses = addresses or Addresses()
        self._context = context
        self._origins: dict[str, _Origin] = {}
        self._plain: dict[str, tuple[_Origin, str]] = {}
        self._open: set[Connection] = set()
        self._making = asyncio.Semaphore(_MADE_AT_ONCE)
        self._readings: list[Reading] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds: Rounds
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._rounds = Rounds(self._loop, read_seconds=self._timeouts.read_seconds)
        self._sweep = self._loop.call_later(KEEP_ALIVE_SECONDS, self._close_idle)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is None or self._sweep is None:
            return
        self._sweep.cancel()
        until, self._loop = self._loop.time() + _CLOSE_SECONDS, None
        for connection in list(self._open):
            connection.close()
        with suppress(TimeoutError):
            # An orderly end of TLS takes two ways over the network.
            async with asyncio.timeout_at(until):
                while self._open:
                    self._gone.clear()
                    await self._gone.wait()
        for connection in list(self._open):
            connection.abort()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one POST and read its answer; see `Transport`.

        Raises:
            ValueError: the URL or a header has what would end it.
        """
        loop = self.check_open()
        now = loop.time()
        until = now + self._timeouts.total_seconds
        origin, target = self._plain.get(url) or self._origin(url)
        request = _request(target, origin.netloc, headers, body)
        del url, headers, body
        connection = self._idle(origin, now) or await self._connect(origin, until)
        # From here on to the first byte nothing gives way to the event loop.
        if self._loop is None:
            connection.close()
            raise NotSent("the transport was closed")
        if self._guard.shut:
            connection.close()
            raise Withheld("the stall guard is shut")
        answered = connection.send(request, until=until)
        # Nothing is sent twice: an answer may take long, and thousands may be waited for.
        del request
        written()
        try:
            answer = await answered
        except BaseException:
            connection.give_up()
            raise
        if connection.usable:
            connection.idle_since = loop.time()
            origin.idle.append(connection)
        return answer

    def check_open(self) -> asyncio.AbstractEventLoop:
        """The loop it was opened in.

        Raises:
            RuntimeError: it was not, or is closed.
        """
        if self._loop is None:
            raise RuntimeError("the transport is not open: use it with `async with`")
        return self._loop

    # Connections

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._gone.set()

    def _idle(self, origin: _Origin, now: float) -> Connection | None:
        while origin.idle:
            connection = origin.idle.pop()
            if not connection.ready():
                continue
            if now - connection.idle_since < KEEP_ALIVE_SECONDS and now - connection.made_at < _AGE_SECONDS:
                return connection
            connection.close()
        return None

    def _close_idle(self) -> None:
        """Close what was idle for long, so that no connection outlives the traffic that needed it."""
        if self._loop is None:
            return
        now = self._loop.time()
        for origin in self._origins.values():
            while origin.idle and now - origin.idle[0].idle_since >= KEEP_ALIVE_SECONDS:
                origin.idle.popleft().close()
        self._sweep = self._loop.call_later(KEEP_ALIVE_SECONDS, self._close_idle)

    async def _connect(self, origin: _Origin, until: float) -> Connection:
        async with self._making:
            return await self._make(origin, until)

    async def _make(self, origin: _Origin, until: float) -> Connection:
        loop = asyncio.get_running_loop()
        patience = min(until, loop.time() + self._timeouts.connect_seconds)
        try:
            async with asyncio.timeout_at(patience):
                found = await self._addresses.of(origin.host, origin.port)
                stream = await aiohappyeyeballs.start_connection(
                    list(found), happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1
                )
                _, connection = await loop.create_connection(
                    partial(
                        Connection,
                        self._lost,
                        self._readings,
                        self._rounds,
                        read_seconds=self._timeouts.read_seconds,
                    ),
                    sock=stream,
                    ssl=origin.context,
                    server_hostname=None if origin.context is None else origin.host,
                    ssl_shutdown_timeout=None if origin.context is None else _CLOSE_SECONDS,
                )
        except TimeoutError as error:
            raise NotSent("no connection in time") from error
        # The loop of uvloop has RuntimeError where others have OSError, and names can be none of the DNS.
        except (OSError, RuntimeError, UnicodeError) as error:
            raise NotSent(said(error)) from error
        if not connection.usable:
            raise NotSent("the connection was closed as soon as it was made")
        self._open.add(connection)
        return connection

    def _origin(self, url: str) -> tuple[_Origin, str]:
        """Where a URL leads, and what is asked for there."""
        scheme, _, rest = url.partition("://")
        end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        name, target = url[: len(scheme) + 3 + end], rest[end:]
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = self._new_origin(scheme, rest[:end])
        target = target if target.startswith("/") else f"/{target}"
        if "?" not in target and len(self._plain) < _PLAIN_URLS:
            self._plain[url] = origin, target
        return origin, target

    def _new_origin(self, scheme: str, netloc: str) -> _Origin:
        if scheme not in _PORTS or not netloc or "@" in netloc:
            raise ValueError("only http:// and https:// URLs with a host, and without a user, can be sent to")
        host, port = netloc, _PORTS[scheme]
        bare = netloc.rpartition("]")[2] if netloc.startswith("[") else netloc
        if ":" in bare:
            host, _, digits = netloc.rpartition(":")
            port = int(digits)
        if scheme == "https" and self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        context = self._context if scheme == "https" else None
        return _Origin(host.strip("[]"), port, context, netloc)


def _request(target: str, netloc: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if "host" not in headers:
        lines.append(f"host: {netloc}\r\n")
    head = f"POST {target} HTTP/1.1\r\n{''.join(lines)}{_FIXED}content-length: {len(body)}\r\n\r\n"
    ends = len(lines) + len(HEADERS) + 3
    if head.count("\n") != ends or head.count("\r") != ends or " " in target or "#" in target or "\0" in head:
        raise ValueError("the URL or a header of the request has something in it that would end it")
    return head.encode() + body
