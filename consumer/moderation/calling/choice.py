"""Which of the two transports carries requests, and that files always go by aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.moderation.calling.lean import LeanTransport


if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
    from consumer.moderation.calling.transport import HttpAnswer, UploadTransport
    from consumer.quota import Guard
    from consumer.settings.models import Moderation, Timeouts


__all__ = ["LeanWithUploads", "transport_for"]


class LeanWithUploads(LeanTransport):
    """Requests by the lean transport, and files by aiohttp, which is loaded when the first one is to be sent."""

    def __init__(self, timeouts: Timeouts, guard: Guard | None = None) -> None:
        super().__init__(timeouts, guard)
        self._uploads: AiohttpTransport | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._uploads is not None:
                await self._uploads.__aexit__(kind, error, trace)
        finally:
            await super().__aexit__(kind, error, trace)

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send one PUT and read its answer; see `UploadTransport`."""
        self.check_open()
        if self._uploads is None:
            from consumer.moderation.calling.aiohttp_transport import AiohttpTransport  # noqa: PLC0415  # most have no files

            # Opening it does not give way to the event loop: nobody else opens another one meanwhile.
            self._uploads = await AiohttpTransport(self._timeouts, self._guard).__aenter__()
        return await self._uploads.put(url, headers, body)


def transport_for(settings: Moderation, guard: Guard) -> AbstractAsyncContextManager[UploadTransport]:
    """The transport of `moderation.transport`, still to be opened; `auto` is the lean one."""
    if settings.transport == "aiohttp":
        from consumer.moderation.calling.aiohttp_transport import AiohttpTransport  # noqa: PLC0415  # lean runs without it

        return AiohttpTransport(settings.timeouts, guard)
    return LeanWithUploads(settings.timeouts, guard)
