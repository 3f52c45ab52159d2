"""Requests by aiohttp: the transport that can do everything, whole files included."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from yarl import URL

from consumer.errors import NoAnswer, NotSent, Withheld
from consumer.moderation.calling.transport import HEADERS, KEEP_ALIVE_SECONDS, MAX_ANSWER_BYTES, HttpAnswer, said
from consumer.moderation.calling.unpacking import TOO_LARGE, unpacked
from consumer.quota import OpenGuard
from consumer.quota.wire import written


if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from aiohttp.abc import AbstractStreamWriter

    from consumer.quota import Guard
    from consumer.settings.models import Timeouts


__all__ = ["AiohttpTransport"]


# A host that moves is followed within this time.
_DNS_SECONDS = 10
_NO_CONTENT_TYPE = ("content-type",)
_CLOSE_SECONDS = 1.0
_OTHER_PROTOCOL = 101
_SPOILT = "something came on the connection that nobody had asked for"


class _Guarded(aiohttp.Payload):
    """A body that asks the guard directly before the first byte of its request is written.

    aiohttp keeps the head back until it has the body, and writes both without giving way to the event loop. Before
    that it does give way: for the name and the connection, and on Python 3.11 once more in any case.
    """

    def __init__(self, value: Any, guard: Guard) -> None:
        super().__init__(value)
        self._guard = guard
        self.withheld = self.begun = self.spoilt = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self._guard.shut:
            self.withheld = True
            raise Withheld("the stall guard is shut")
        # aiohttp does not look whether something came on a connection while it was idle.
        if self.spoilt or getattr(getattr(writer, "protocol", None), "should_close", False):
            self.spoilt = True
            raise NotSent(_SPOILT)
        self.begun = True
        await super().write_with_length(writer, content_length)
        written()


class _Bytes(_Guarded, aiohttp.BytesPayload):
    """A body that is written at once."""


class _File(_Guarded, aiohttp.BytesIOPayload):
    """A body that is written in pieces: twenty megabytes at once would keep all other calls from the loop."""


class AiohttpTransport:
    """All requests over one aiohttp session. Use it as a context manager, inside the event loop.

    It follows no redirects, keeps no cookies, reads no proxy from the environment, and takes no answer over
    `MAX_ANSWER_BYTES`. What was on the wire when `guard` shut is finished; nothing else is written while it is.
    `context` says which certificates to trust; without one it is the system's.
    """

    def __init__(
        self, timeouts: Timeouts, guard: Guard | None = None, *, context: ssl.SSLContext | None = None
    ) -> None:
        self._timeouts = timeouts
        self._guard = guard or OpenGuard()
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ttl_dns_cache=_DNS_SECONDS,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                ssl=True if self._context is None else self._context,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeouts.total_seconds,
                connect=self._timeouts.connect_seconds,
                sock_read=self._timeouts.read_seconds,
            ),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        with suppress(TimeoutError):
            # It waits until all is written, however slowly a service reads.
            async with asyncio.timeout(_CLOSE_SECONDS):
                await session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one POST and read its answer; see `Transport`."""
        return await self._send("POST", url, headers, _Bytes(body, self._guard))

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one PUT and read its answer; see `UploadTransport`."""
        return await self._send("PUT", url, headers, _File(io.BytesIO(body), self._guard))

    async def _send(self, verb: str, url: str, headers: Mapping[str, str], body: _Bytes | _File) -> HttpAnswer:
        if self._session is None:
            raise RuntimeError("the transport is not open: use it with `async with`")
        # aiohttp does not say whether it has seen the beginning of a head.
        begun: bool | None = None
        try:
            async with self._session.request(
                verb,
                URL(url, encoded=True),
                headers={**HEADERS, **headers},
                data=body,
                allow_redirects=False,
                # The signature covers the content type where there is a body; without one there is none to name.
                skip_auto_headers=None if body.size else _NO_CONTENT_TYPE,
            ) as response:
                begun = True
                if not body.begun:
                    body.spoilt = True
                    response.close()
                    raise Withheld("the stall guard was shut") if body.withheld else NotSent(_SPOILT)
                if response.status == _OTHER_PROTOCOL:
                    response.close()
                    raise NoAnswer("the service changed the protocol", begun=True)
                size = response.content_length
                whole = size is not None and size <= MAX_ANSWER_BYTES
                answer = await response.read() if whole else await _at_most(response.content, MAX_ANSWER_BYTES)
                answer = unpacked(answer, response.headers.get("content-encoding", ""))
                return HttpAnswer(response.status, answer, response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(said(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if body.withheld:
                raise Withheld("the stall guard was shut") from error
            if not body.begun:
                raise NotSent(said(error)) from error
            # What is no HTTP is something, too.
            begun = begun or isinstance(error, aiohttp.ClientResponseError) or None
            # A connection that breaks before the first byte of an answer tells nothing about the request's fate.
            raise NoAnswer(said(error), begun=begun) from error


async def _at_most(content: aiohttp.StreamReader, limit: int) -> bytes:
    """All of an answer whose size is not known to be small."""
    answer = bytearray()
    async for part in content.iter_any():
        answer += part
        if len(answer) > limit:
            raise NoAnswer(TOO_LARGE, begun=True)
    return bytes(answer)
