"""One request over HTTP: the seam between the protocol and the network, and its implementation with aiohttp."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import aiohttp
from yarl import URL

from consumer import __version__
from consumer.errors import NoAnswer, NotSent, Withheld
from consumer.quota import OpenGuard
from consumer.quota.wire import written


if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from aiohttp.abc import AbstractStreamWriter

    from consumer.quota import Guard
    from consumer.settings.models import Timeouts


__all__ = ["MAX_ANSWER_BYTES", "AiohttpTransport", "HttpAnswer", "Transport", "UploadTransport"]


MAX_ANSWER_BYTES = 1_048_576
# The gateway may close a connection that was idle for long; closing it first loses no request to that race.
_KEEP_ALIVE_SECONDS = 15
# A host that moves is followed within this time.
_DNS_SECONDS = 10
_HEADERS = {
    "accept": "application/json",
    # An answer is about a kilobyte: inflating it costs more than it saves, and what is not packed cannot swell.
    "accept-encoding": "identity",
    "user-agent": f"moderation-consumer/{__version__}",
}
_NO_CONTENT_TYPE = ("content-type",)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back over HTTP. Names of `headers` are lower-case, or looked up in any case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """Sends one request."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one POST to exactly this URL and read its answer, whatever its status.

        When cancelled it gives the connection up; the service may have read the request.

        Raises:
            NotSent: the service cannot have read the request.
            Withheld: the same, since the stall guard was shut when the first byte was to be written.
            NoAnswer: the service may have read the request, and no whole answer came.
        """
        ...


class UploadTransport(Transport, Protocol):
    """Sends one request, or one file: what puts images into the service's bucket needs both."""

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one PUT to exactly this URL and read its answer, whatever its status; fails and ends as `post` does."""
        ...


class _Guarded(aiohttp.Payload):
    """A body that asks the guard directly before the first byte of its request is written.

    aiohttp keeps the head back until it has the body, and writes both without giving way to the event loop. Before
    that it does give way: for the name and the connection, and on Python 3.11 once more in any case.
    """

    def __init__(self, value: Any, guard: Guard) -> None:
        super().__init__(value)
        self._guard = guard
        self.withheld = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self._guard.shut:
            self.withheld = True
            raise Withheld("the stall guard is shut")
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
    """

    def __init__(self, timeouts: Timeouts, guard: Guard | None = None) -> None:
        self._timeouts = timeouts
        self._guard = guard or OpenGuard()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=_DNS_SECONDS, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeouts.total_seconds,
                connect=self._timeouts.connect_seconds,
                sock_read=self._timeouts.read_seconds,
            ),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one POST and read its answer; see `Transport`."""
        return await self._send("POST", url, headers, _Bytes(body, self._guard))

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one PUT and read its answer; see `UploadTransport`."""
        return await self._send("PUT", url, headers, _File(io.BytesIO(body), self._guard))

    async def _send(self, verb: str, url: str, headers: Mapping[str, str], body: _Bytes | _File) -> HttpAnswer:
        if self._session is None:
            raise RuntimeError("the transport is not open: use it with `async with`")
        try:
            async with self._session.request(
                verb,
                URL(url, encoded=True),
                headers={**_HEADERS, **headers},
                data=body,
                allow_redirects=False,
                # The signature covers the content type where there is a body; without one there is none to name.
                skip_auto_headers=None if body.size else _NO_CONTENT_TYPE,
            ) as response:
                size = response.content_length
                whole = size is not None and size <= MAX_ANSWER_BYTES
                answer = await response.read() if whole else await _at_most(response.content, MAX_ANSWER_BYTES)
                return HttpAnswer(response.status, answer, response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(_said(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if body.withheld:
                raise Withheld("the stall guard was shut") from error
            # A connection that breaks before the first byte of an answer tells nothing about the request's fate.
            raise NoAnswer(_said(error)) from error


async def _at_most(content: aiohttp.StreamReader, limit: int) -> bytes:
    """All of an answer whose size is not known to be small."""
    answer = bytearray()
    async for part in content.iter_any():
        answer += part
        if len(answer) > limit:
            raise NoAnswer(f"the answer is larger than {limit} bytes")
    return bytes(answer)


def _said(error: BaseException) -> str:
    # Only the system's errors are quoted: others quote the URL or the answer, and these may have content in them.
    quoted = isinstance(error, OSError) and not isinstance(error, TimeoutError)
    return f"{type(error).__name__}: {error}" if quoted else type(error).__name__
