"""An OAuth 2 token endpoint for one client, which signs what the secured broker takes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import BasicAuth, web


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.broker.secured import Issuer


__all__ = ["TokenEndpoint"]


@dataclass(slots=True)
class TokenEndpoint:
    """Gives tokens that live for `seconds`, while it is `up`; remembers what it was asked."""

    issuer: Issuer
    client_id: str
    client_secret: str
    seconds: float = 3600.0
    up: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def security(self, **more: Any) -> dict[str, Any]:
        """The settings of a client that asks it."""
        return {
            "sasl_mechanism": "OAUTHBEARER",
            "oauth_token_endpoint": self.url,
            "oauth_client_id": self.client_id,
            "oauth_client_secret": self.client_secret,
            **more,
        }

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[TokenEndpoint]:
        """While it is served, at `url`."""
        application = web.Application()
        application.router.add_post("/token", self._token)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
            yield self
        finally:
            await runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append({key: str(value) for key, value in (await request.post()).items()})
        if not self.up:
            return web.json_response({"error": "temporarily_unavailable"}, status=503)
        given = BasicAuth.decode(request.headers["Authorization"])
        if (given.login, given.password) != (self.client_id, self.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = self.issuer.token("alice", seconds=self.seconds)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.seconds})
