"""The simulator's sockets: HTTP in and out, the time an answer takes, and connections that break on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Self

from aiohttp import web

from consumer.clock import Clock, SystemClock
from consumer.simulator import oss
from consumer.simulator.backend import Backend, Reply, Request
from consumer.simulator.callbacks import Callbacks
from consumer.simulator.objects import MAX_UPLOAD_BYTES
from consumer.simulator.pages import PAGES, page
from consumer.simulator.settings import SimulatorSettings


if TYPE_CHECKING:
    from types import TracebackType

    from consumer.simulator.faults import Faults
    from consumer.simulator.ledger import Ledger
    from consumer.simulator.objects import Objects
    from consumer.simulator.stats import Stats
    from consumer.simulator.tasks import Tasks


__all__ = ["Simulator"]


_MAX_TARGET_BYTES = 262_144  # multimodal calls carry up to 5,000 characters and 30 URLs in the request target
_TRICKLE_PIECES = 20
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Simulator:
    """A Content Moderation 2.0 that runs on this machine, as an async context manager.

        async with Simulator(SimulatorSettings(text_per_second=None)) as sim:
            ...  # call sim.url, then look at sim.ledger and sim.stats

    `ledger`, `stats`, `tasks`, `uploads` and `faults` are live: read them at any time, change the faults at any time.
    """

    def __init__(self, settings: SimulatorSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self._clock = clock or SystemClock()
        self._backend = Backend(self.settings, self._clock)
        self._callbacks = Callbacks(self.settings, self._clock, self._backend.stats, self._backend.report)
        self._stopping = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._date = (0, "")
        self.url = ""

    @property
    def ledger(self) -> Ledger:
        """What was billed."""
        return self._backend.ledger

    @property
    def stats(self) -> Stats:
        """What was seen."""
        return self._backend.stats

    @property
    def tasks(self) -> Tasks:
        """The multimodal tasks, each with how often and how soon it was asked for."""
        return self._backend.account.tasks

    @property
    def uploads(self) -> Objects:
        """The local images that were uploaded."""
        return self._backend.account.objects

    @property
    def faults(self) -> Faults:
        """What goes wrong, and how long calls take."""
        return self._backend.faults

    def reset(self) -> None:
        """Put everything back to how it started."""
        self._backend.reset()

    async def start(self) -> None:
        """Listen; afterwards `url` is set.

        Raises:
            OSError: the address cannot be listened on.
        """
        server = web.Server(self._handle, access_log=None, max_line_size=_MAX_TARGET_BYTES)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.settings.host, self.settings.port, backlog=1024)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._callbacks.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop reporting and listening; calls under way get a second, hanging ones are reset at once."""
        self._stopping.set()
        try:
            await self._callbacks.stop()
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await _read(http)
        except ConnectionError:
            return web.Response()
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(http.method, http.raw_path, headers, body)
        uploaded = oss.object_name(request)
        if uploaded is not None:
            stored = oss.serve(request, uploaded, self._backend)
            return self._whole(stored) if stored.way == "whole" else await self._break(http, stored)
        if http.raw_path.partition("?")[0] in PAGES:
            return self._whole(page(self._backend, request))
        stats = self.stats
        stats.entered()
        try:
            received = self._backend.receive(request)
            if isinstance(received, Reply):
                return self._whole(received)
            seconds = self.faults.draw_latency_seconds()
            if seconds > 0:
                await self._clock.sleep(seconds)
            reply = self._backend.answer(received)
            if reply.task is not None:
                await self._callbacks.announce(reply.task)
            if reply.way == "whole":
                return self._whole(reply)
            return await self._trickle(http, reply) if reply.way == "trickle" else await self._break(http, reply)
        finally:
            stats.left()

    def _headers(self, reply: Reply) -> dict[str, str]:
        now = int(self._clock.now())
        if now != self._date[0]:
            self._date = (now, formatdate(now, usegmt=True))
        return {"Date": self._date[1], "Content-Type": reply.content_type, **reply.headers}

    def _whole(self, reply: Reply) -> web.Response:
        return web.Response(status=reply.status, body=reply.body, headers=self._headers(reply))

    async def _trickle(self, http: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=self._headers(reply))
        response.content_length = len(reply.body)
        size = max(1, -(-len(reply.body) // _TRICKLE_PIECES))
        with suppress(ConnectionError):  # the client has had enough
            await response.prepare(http)
            for start in range(0, len(reply.body), size):
                await self._clock.sleep(reply.seconds / _TRICKLE_PIECES)
                await response.write(reply.body[start : start + size])
        return response

    async def _break(self, http: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        if reply.way == "hang":
            while http.transport is not None and not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), timeout=0.25)
        if http.transport is not None:
            connection = http.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            http.transport.abort()
        return web.Response()


async def _read(http: web.BaseRequest) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    pieces, size = [], 0
    while size <= MAX_UPLOAD_BYTES and (piece := await http.content.readany()):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
