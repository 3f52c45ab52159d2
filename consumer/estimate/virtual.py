"""An event loop in virtual time: it jumps to the next timer, so that a month of waiting takes no time at all."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


__all__ = ["VirtualClock", "run"]


T = TypeVar("T")

# Timers that lie no further apart than this are due together, as they are in the loops of asyncio.
_RESOLUTION_SECONDS = 1e-9


class _NoSelector:
    """No sockets and no threads: nothing can come from outside, so there is nothing to wait for."""

    def select(self, timeout: float | None) -> list[Any]:  # noqa: ARG002  # the loop's call
        return []


class _VirtualLoop(asyncio.BaseEventLoop):
    """Time stands still while anything can run, and jumps to the next timer when nothing can.

    What would run in a thread runs at once: while a thread works, nothing could tell time that it has to wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = _RESOLUTION_SECONDS
        self._selector = _NoSelector()

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ARG002  # it needs no executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # it is for whoever waits for the result
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]  # the base loop's own heap of timers
        while scheduled and scheduled[0]._cancelled:  # noqa: SLF001  # a cancelled timer must not move time
            heapq.heappop(scheduled)._scheduled = False  # noqa: SLF001  # as the base loop does when it drops one
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]  # the base loop's own count
        if scheduled:
            due_at = scheduled[0].when()
            idle = not self._ready and not self._stopping  # type: ignore[attr-defined]  # the base loop's own state
            # The base loop also runs what is due within its resolution: whoever that wakes must not find that it is a
            # rounding error too early, again and again.
            if due_at > self._now and (idle or due_at <= self._now + _RESOLUTION_SECONDS):
                self._now = due_at
        elif not self._ready and not self._stopping:  # type: ignore[attr-defined]  # as above
            raise RuntimeError("everything waits for something that can no longer happen")
        super()._run_once()  # type: ignore[misc]  # private in the stubs

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """It never sleeps, so it needs no waking: a signal is seen before the next step."""


class VirtualClock:
    """The running loop's time as the program's clock; `epoch` is the time of day at which it begins."""

    __slots__ = ("_epoch",)

    def __init__(self, epoch: float) -> None:
        self._epoch = epoch

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """Seconds since the loop began."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Have so much time pass."""
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time.

    Raises:
        RuntimeError: everything waits, and nothing is left that could end a wait.
    """
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)
