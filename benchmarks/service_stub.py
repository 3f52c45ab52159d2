"""A moderation service that is not the bottleneck: it answers every POST the same after a fixed time, checking nothing.

usage: python -m benchmarks.service_stub LATENCY_MS   prints its port, serves until its standard input closes
"""

from __future__ import annotations

import asyncio
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
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY


class Stub(asyncio.Protocol):
    """One connection: finds the end of each request by its Content-Length and answers `latency_seconds` later."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency = latency_seconds
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
            self._buffer = self._buffer[end + 4 + length :]
            if self._latency:
                self._loop.call_later(self._latency, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def _serve(latency_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(latency_seconds), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(float(sys.argv[1]) / 1000))
