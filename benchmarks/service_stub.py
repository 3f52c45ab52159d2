"""A moderation service that is not the bottleneck: it answers every POST the same after a fixed time, checking nothing.

usage: python -m benchmarks.service_stub LATENCY_MS [count]
prints its port, serves until its standard input closes; with `count` a GET is told how many calls and events there were
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import orjson


__all__ = ["Stub"]


_BODY = orjson.dumps(
    {
        "Code": 200,
        "Message": "OK",
        "RequestId": "00000000-0000-4000-8000-000000000000",
        "Data": {"RiskLevel": "none", "Result": [{"Label": "nonLabel", "Description": "No risk detected"}]},
    }
)
_EVENT = re.compile(rb"dataId%22%3A%22([^%]+)%22")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY


class Stub(asyncio.Protocol):
    """One connection: finds the end of each request by its Content-Length and answers `latency_seconds` later.

    Args:
        latency_seconds: How long an answer takes.
        asked: How often each event was asked about; None where nobody wants to know.
    """

    def __init__(self, latency_seconds: float, asked: dict[bytes, int] | None = None) -> None:
        self._latency = latency_seconds
        self._asked = asked
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            if self._asked is not None and self._counted(self._asked, self._buffer[: end + 4 + length]):
                self._buffer = b""
                return
            self._buffer = self._buffer[end + 4 + length :]
            if self._latency:
                self._loop.call_later(self._latency, self._answer)
            else:
                self._answer()

    def _counted(self, asked: dict[bytes, int], request: bytes) -> bool:
        """Count a call; whether it was none, but somebody who asked for the counts."""
        if request.startswith(b"GET") and self._transport is not None:
            body = orjson.dumps({"calls": sum(asked.values()), "events": len(asked)})
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return True
        for name in _EVENT.findall(request):
            asked[name] = asked.get(name, 0) + 1
        return False

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def _serve(latency_seconds: float, *, count: bool) -> None:
    loop = asyncio.get_running_loop()
    asked: dict[bytes, int] | None = {} if count else None
    server = await loop.create_server(lambda: Stub(latency_seconds, asked), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(float(sys.argv[1]) / 1000, count="count" in sys.argv[2:]))
