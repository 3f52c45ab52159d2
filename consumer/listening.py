"""Opening a port of ours for HTTP, and saying what to do where that fails."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from consumer.errors import StartError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


__all__ = ["listening"]


@asynccontextmanager
async def listening(runner: web.AppRunner, host: str, port: int, *, name: str, setting: str) -> AsyncIterator[int]:
    """Serve on a port while the context is entered; yields the port, also where 0 asked for any free one.

    Raises:
        StartError: the port cannot be opened; the remedy names the setting.
    """
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise StartError(
                f"the {name} port {host}:{port} cannot be opened: {error.strerror}",
                f"choose another one with {setting}, or 0 for any free one",
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
