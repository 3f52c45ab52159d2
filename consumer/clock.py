"""Time as a seam: the running program reads the machine's clocks, tests put a virtual one in their place."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The three questions the program asks of time."""

    def now(self) -> float:
        """Seconds since the epoch, for what people read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards and go on while the machine sleeps, for what is measured."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; ends with `CancelledError` when cancelled and leaves nothing behind."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot, time asleep included, so that a frozen process can see that it was frozen."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop's timer."""
        await asyncio.sleep(seconds)
