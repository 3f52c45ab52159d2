"""One request over HTTP: the seam between the protocol and the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from consumer import __version__
from consumer.moderation.calling.unpacking import MAX_ANSWER_BYTES


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["HEADERS", "KEEP_ALIVE_SECONDS", "MAX_ANSWER_BYTES", "HttpAnswer", "Transport", "UploadTransport", "said"]


KEEP_ALIVE_SECONDS = 15
"""The gateway may close a connection that was idle for long; closing it first loses no request to that race."""
HEADERS = {
    "accept": "application/json",
    # An answer is about a kilobyte: inflating it costs more than it saves, and what is not packed cannot swell.
    "accept-encoding": "identity",
    "user-agent": f"moderation-consumer/{__version__}",
}
"""What each request says beside what is signed."""


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

        Names of headers are lower-case, and none of those that each request has: `HEADERS` and `content-length`.

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


def said(error: BaseException) -> str:
    """What may be said of an error of the network."""
    # Only the system's errors are quoted: others quote the URL or the answer, and these may have content in them.
    quoted = isinstance(error, OSError) and not isinstance(error, TimeoutError)
    return f"{type(error).__name__}: {error}" if quoted else type(error).__name__
