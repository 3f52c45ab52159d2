"""An event loop whose time is virtual: it jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Coroutine


__all__ = ["EPOCH", "LoopClock", "freeze", "run"]


EPOCH = 1_767_323_045.0  # 2026-01-02T03:04:05Z

T = TypeVar("T")


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can run, and jumps to the next timer when nothing can."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual_now

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]  # the base loop's own heap of timers
        while scheduled and scheduled[0]._cancelled:  # a cancelled timer must not move time
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # as the base loop does when it drops one
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]  # the base loop's own count
        if not self._ready and not self._stopping:  # type: ignore[attr-defined]  # the base loop's own queue
            if not scheduled:
                raise RuntimeError("everything waits for something that can no longer happen")
            self._virtual_now = max(self._virtual_now, scheduled[0].when())
        elif scheduled and scheduled[0].when() <= self._virtual_now + self._clock_resolution:
            # The base loop runs it now: for whoever it wakes it must not be a rounding error too early, for ever.
            self._virtual_now = max(self._virtual_now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]  # private in the stubs


class LoopClock:
    """The running loop's time as the program's clock."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def freeze(seconds: float) -> None:
    """Stand still for so long, as a stopped process does: nothing runs, and what was due meanwhile is due at once."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _VirtualTimeLoop)
    loop._virtual_now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
        return runner.run(main)
