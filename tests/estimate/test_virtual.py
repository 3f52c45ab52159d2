"""Tests of virtual time as estimates have it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from consumer.estimate.virtual import VirtualClock, run


def test_a_month_takes_no_time() -> None:
    """Sleeps end at once, at the time at which they should, and the clock of the day goes on as much."""

    async def main() -> tuple[float, float]:
        clock = VirtualClock(1000.0)
        await clock.sleep(30 * 86_400)
        return clock.monotonic(), clock.now()

    began = time.monotonic()
    assert run(main()) == (30 * 86_400, 30 * 86_400 + 1000)
    assert time.monotonic() - began < 5


def test_sleepers_wake_in_order_and_never_early() -> None:
    """Of many sleepers each wakes when its time has come, also of those whose times are next to equal."""

    async def main() -> list[float]:
        clock = VirtualClock(0.0)
        late: list[float] = []

        async def sleeper(seconds: float) -> None:
            due_at = clock.monotonic() + seconds
            while (left := due_at - clock.monotonic()) > 0:
                await clock.sleep(left)
            late.append(clock.monotonic() - due_at)

        await asyncio.gather(*(sleeper(0.1 + number * 3e-10) for number in range(50)), sleeper(0.05))
        return late

    assert all(0 <= late < 1e-6 for late in run(main()))


def test_a_time_limit_that_is_not_needed_moves_no_time() -> None:
    """A timer that was cancelled leaves the clock where it was."""

    async def main() -> float:
        async with asyncio.timeout(1000):
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    assert run(main()) == 2


def test_work_for_a_thread_is_done_at_once() -> None:
    """What is handed to a thread runs in this one, takes no time, and may fail as it would there."""

    async def main() -> tuple[bool, float]:
        here = await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")
        return here, asyncio.get_running_loop().time()

    assert run(main()) == (True, 0.0)


def test_a_wait_for_nothing_is_an_error() -> None:
    """Waiting for what can no longer happen fails, and does not hang."""
    with pytest.raises(RuntimeError, match="can no longer happen"):
        run(asyncio.wait_for(asyncio.Event().wait(), None))
