"""The addresses of a host: looked up once for all who ask at the same time, remembered for a while, taken in turn."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


__all__ = ["AddressInfo", "Addresses"]


AddressInfo = tuple[int, int, int, str, Any]
"""Family, type, protocol, canonical name and address, as `getaddrinfo` has them."""

# A host that moves is followed within this time.
_LIFE_SECONDS = 10.0


@dataclass(slots=True)
class _Known:
    """What was found for a host. `turn` is how often it was used since."""

    found: Sequence[AddressInfo]
    until: float
    turn: int = 0


class Addresses:
    """Looks hosts up. While a look-up fails, what was found before is used."""

    def __init__(self, look_up: Callable[[str, int], Awaitable[Sequence[AddressInfo]]] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._known: dict[tuple[str, int], _Known] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[_Known | None]] = {}

    async def of(self, host: str, port: int) -> Sequence[AddressInfo]:
        """All addresses, beginning with another one each time.

        When cancelled it leaves the look-up to the next who asks.

        Raises:
            OSError: the host is not known.
        """
        key = host, port
        while True:
            known = self._known.get(key)
            if known is None or known.until <= asyncio.get_running_loop().time():
                asked = self._asked.get(key)
                known = await self._ask(key) if asked is None else await asyncio.shield(asked)
            if known is not None:
                break
        known.turn += 1
        first = known.turn % len(known.found)
        return [*known.found[first:], *known.found[:first]]

    async def _ask(self, key: tuple[str, int]) -> _Known:
        """Look a host up for all who wait. Who is told None has to ask anew: this one was cancelled."""
        loop = asyncio.get_running_loop()
        told = self._asked[key] = loop.create_future()
        try:
            found = await self._look_up(*key)
            known = self._known[key] = _Known(found, loop.time() + _LIFE_SECONDS)
        except OSError as error:
            old = self._known.get(key)
            if old is None:
                told.set_exception(error)
                # Nobody else may be waiting for it.
                told.exception()
                raise
            old.until = loop.time() + _LIFE_SECONDS
            told.set_result(old)
            return old
        except BaseException:
            told.set_result(None)
            raise
        else:
            told.set_result(known)
            return known
        finally:
            del self._asked[key]


async def _look_up(host: str, port: int) -> Sequence[AddressInfo]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError("the name has no address")
    return found
