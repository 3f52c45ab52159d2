"""When this machine itself stood still: a loop that is late says so, since nothing can be in time then."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["watch"]


_TICK_SECONDS = 0.02
_LATE_SECONDS = 0.1


async def watch(late: Callable[[float, float], None]) -> None:
    """Tell of every moment at which the event loop came back too late, and by how many seconds, until cancelled."""
    while True:
        due = time.monotonic() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        seconds = time.monotonic() - due
        if seconds > _LATE_SECONDS:
            late(time.time(), seconds)
