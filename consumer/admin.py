"""The admin port: /metrics, /livez, /readyz and /status."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson
from aiohttp import web

from consumer.listening import listening
from consumer.metrics import CONTENT_TYPE


if TYPE_CHECKING:
    from types import TracebackType

    from consumer.metrics import Metrics


__all__ = ["AdminServer", "Health", "Watched"]


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to a probe: whether all is well, and why not."""

    ok: bool
    reason: str = ""


class Watched(Protocol):
    """What the admin port looks at."""

    def live(self) -> Health:
        """Whether the process still turns; if not, it should be started anew."""
        ...

    def ready(self) -> Health:
        """Whether it works or stands by, and does not hold."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything worth knowing, without secrets and without content."""
        ...


class AdminServer:
    """Serves the admin port while its context is entered."""

    def __init__(self, *, host: str, port: int, metrics: Metrics, watched: Watched) -> None:
        self._host = host
        self._asked_port = port
        self._metrics = metrics
        self._watched = watched
        self._stack = AsyncExitStack()
        self.port = port

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/livez", self._serve_live),
                web.get("/readyz", self._serve_ready),
                web.get("/status", self._serve_status),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        port = listening(runner, self._host, self._asked_port, name="admin", setting="admin.port")
        self.port = await self._stack.enter_async_context(port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _serve_live(self, _: web.Request) -> web.Response:
        return _answer(self._watched.live())

    async def _serve_ready(self, _: web.Request) -> web.Response:
        return _answer(self._watched.ready())

    async def _serve_status(self, _: web.Request) -> web.Response:
        body = orjson.dumps(self._watched.status(), option=orjson.OPT_INDENT_2, default=str)
        return web.Response(body=body, content_type="application/json")


def _answer(health: Health) -> web.Response:
    return web.Response(status=200 if health.ok else 503, text="ok\n" if health.ok else f"{health.reason}\n")
