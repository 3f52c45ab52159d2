"""A schema registry on a real socket, as far as readers need one; it can be away, refuse, or answer nonsense."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web


if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


__all__ = ["FakeRegistry"]


@dataclass
class FakeRegistry:
    """Schemas by their ids, and by subject and version; `asked` are the paths of all requests so far."""

    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    authorization: str | None = None
    failures: list[tuple[int, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    context: ssl.SSLContext | None = None

    def add(
        self, schema_id: object, schema: str, kind: str = "AVRO", references: list[dict[str, Any]] | None = None
    ) -> None:
        """Register a schema under this id; as `subject/version` too, if it is to be referred to."""
        answer: dict[str, Any] = {"schema": schema}
        if kind != "AVRO":
            answer["schemaType"] = kind
        if references:
            answer["references"] = references
        self.schemas[str(schema_id)] = answer

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[FakeRegistry]:
        """Listen, on any port unless one is given."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            host = "127.0.0.1" if self.context is None else "localhost"
            site = web.TCPSite(runner, host, port, ssl_context=self.context)
            await site.start()
            address: Any = runner.addresses[0]
            self.url = f"{'http' if self.context is None else 'https'}://{host}:{address[1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        if self.failures:
            status, text = self.failures.pop(0)
            return web.Response(status=status, text=text)
        if self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            return web.json_response({"error_code": 401, "message": "Unauthorized"}, status=401)
        match request.path.strip("/").split("/"):
            case ["schemas", "ids" | "guids", schema_id]:
                found = self.schemas.get(schema_id)
            case ["subjects", *subject, "versions", version]:
                found = self.schemas.get(self.subjects.get(f"{'/'.join(subject)}/{version}", ""))
            case _:
                return web.json_response({"error_code": 404, "message": "HTTP 404 Not Found"}, status=404)
        if found is None:
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        if found.get("schemaType") == "PROTOBUF" and request.query.get("format") != "serialized":
            found = {**found, "schema": 'syntax = "proto3";'}
        return web.json_response(found, content_type="application/vnd.schemaregistry.v1+json")
