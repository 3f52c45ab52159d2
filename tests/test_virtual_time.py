"""Tests of the virtual-time loop that other tests stand on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests import virtual_time


def test_an_hour_of_sleep_takes_no_time() -> None:
    """A sleep of an hour ends at once, one virtual hour later."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    started = time.monotonic()
    assert virtual_time.run(main()) == 3600
    assert time.monotonic() - started < 5


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whoever sleeps shorter wakes first, whatever the order of going to sleep."""

    async def main() -> list[int]:
        woken: list[int] = []

        async def sleeper(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*(sleeper(seconds) for seconds in (3, 1, 2)))
        return woken

    assert virtual_time.run(main()) == [1, 2, 3]


def test_a_cancelled_time_out_does_not_move_time() -> None:
    """A time limit that was not needed leaves the clock where it was."""

    async def main() -> float:
        async with asyncio.timeout(1000):
            await asyncio.sleep(1)
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == 1


def test_a_deadlock_is_an_error() -> None:
    """Waiting for what nobody will do fails instead of hanging."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="can no longer happen"):
        virtual_time.run(main())
