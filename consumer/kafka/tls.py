"""TLS on uvloop's connections by asyncio's own means: uvloop's now and then keeps to itself what a broker has sent."""

from __future__ import annotations

import asyncio
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


__all__ = ["mend_tls"]


_connect = AIOKafkaConnection.connect


class _Abortable:
    """A transport of uvloop with the one method more that asyncio's TLS calls."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _force_close(self, _: BaseException | None) -> None:
        self._transport.abort()


class _Tls(SSLProtocol):
    """asyncio's TLS on a transport of another loop."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Abortable(transport))  # type: ignore[arg-type]  # it has all that is called


class _Loop:
    """A loop whose connections have asyncio's TLS; all else is the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, *, ssl: ssl.SSLContext
    ) -> tuple[Any, asyncio.Protocol]:
        """Connect as the loop does; when cancelled, or refused, nothing stays open."""
        protocol, made = factory(), self._loop.create_future()
        tls = _Tls(self._loop, protocol, ssl, made, server_side=False, server_hostname=host)
        transport, _ = await self._loop.create_connection(lambda: tls, host, port)
        try:
            await made
        except BaseException:
            transport.abort()
            raise
        return tls._app_transport, protocol  # noqa: SLF001  # as asyncio itself takes it


async def _connect_by_asyncio(connection: Any) -> Any:
    """Connect; only while that lasts the connection has a loop that is wrapped."""
    loop = connection._loop  # noqa: SLF001  # aiokafka has no public way in
    if isinstance(loop, asyncio.BaseEventLoop) or not connection._security_protocol.endswith("SSL"):  # noqa: SLF001  # as above
        return await _connect(connection)
    connection._loop = _Loop(loop)  # noqa: SLF001  # as above
    try:
        return await _connect(connection)
    finally:
        connection._loop = loop  # noqa: SLF001  # as above


def mend_tls() -> None:
    """Put the mended piece in place; more than once is once."""
    AIOKafkaConnection.connect = _connect_by_asyncio
