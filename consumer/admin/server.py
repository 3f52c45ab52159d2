"""The server of the admin port: probes, metrics in the form that is asked for, the status for programs and people."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson
from aiohttp import web

from consumer.admin.page import SECURITY, page
from consumer.listening import listening


if TYPE_CHECKING:
    from types import TracebackType

    from consumer.metrics import Metrics


__all__ = ["AdminServer", "Health", "Watched"]


# What is shown is of now, and is nobody's to keep or to guess at.
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


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
    """Serves the admin port while its context is entered. Nothing of a request is logged or repeated in an answer."""

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

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.render_for(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    async def _serve_live(self, _: web.Request) -> web.Response:
        return _answer(self._watched.live())

    async def _serve_ready(self, _: web.Request) -> web.Response:
        return _answer(self._watched.ready())

    async def _serve_status(self, request: web.Request) -> web.Response:
        """The page for browsers, which ask for HTML by name; JSON for everybody else."""
        status = self._watched.status()
        headers = {**_HEADERS, "Vary": "Accept"}
        if "text/html" in request.headers.get("Accept", ""):
            ready = self._watched.ready()
            text = page(status, ready=ready.ok, reason=ready.reason)
            return web.Response(text=text, content_type="text/html", headers={**headers, **SECURITY})
        body = orjson.dumps(status, option=orjson.OPT_INDENT_2, default=str)
        return web.Response(body=body, content_type="application/json", headers=headers)


def _answer(health: Health) -> web.Response:
    text = "ok\n" if health.ok else f"{health.reason}\n"
    return web.Response(status=200 if health.ok else 503, text=text, headers=_HEADERS)
