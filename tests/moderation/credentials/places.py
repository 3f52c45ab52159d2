"""Places that give out credentials, on loopback: a metadata service and an STS that check what they are asked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


__all__ = ["DOCUMENT", "ROLES", "Metadata", "Sts", "serving"]


ROLES = "/latest/meta-data/ram/security-credentials/"
DOCUMENT = {
    "AccessKeyId": "STS.id",
    "AccessKeySecret": "sts-secret",
    "SecurityToken": "sts-token",
    "Expiration": "2026-01-02T04:04:05Z",
}


@asynccontextmanager
async def serving(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve on a free port of this machine; the URL has no slash at its end."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Metadata:
    """A metadata service in its hardened mode: nothing without a token."""

    def __init__(self, role: str | None = "moderator", document: Any = None) -> None:
        self.role = role
        self.document: Any = {"Code": "Success", **DOCUMENT} if document is None else document
        self.asked: list[str] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if (request.method, request.path) == ("PUT", "/latest/api/token"):
            assert int(request.headers["X-aliyun-ecs-metadata-token-ttl-seconds"]) in range(1, 21_601)
            return web.Response(text="metadata-token")
        if request.headers.get("X-aliyun-ecs-metadata-token") != "metadata-token":
            return web.Response(status=403)
        if self.role is None or not request.path.startswith(ROLES):
            return web.Response(status=404)
        if request.path == ROLES:
            return web.Response(text=f"{self.role}\n")
        if request.path != f"{ROLES}{self.role}":
            return web.Response(status=404)
        if isinstance(self.document, bytes):
            return web.Response(body=self.document)
        return web.json_response(self.document)


class Sts:
    """An STS that knows one token."""

    def __init__(self, status: int = 200, answer: Any = None) -> None:
        self.status = status
        self.answer: Any = {"RequestId": "R", "Credentials": DOCUMENT} if answer is None else answer
        self.query: dict[str, str] = {}
        self.form: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.query = dict(request.query)
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.form = dict(await request.post())
        if isinstance(self.answer, bytes):
            return web.Response(status=self.status, body=self.answer)
        return web.json_response(self.answer, status=self.status)
