"""Tests of the loop that simulated processes run on: time, freezing, waking and killing."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import pytest

from tests.simulation.loop import PROCESS, SimClock, SimLoop, run


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


def ticking(log: list[float], loop: SimLoop, every: float = 1.0) -> Callable[[], Coroutine[Any, Any, None]]:
    """A process that notes the time again and again."""

    async def main() -> None:
        while True:
            log.append(loop.time())
            await asyncio.sleep(every)

    return main


def test_an_hour_passes_at_once() -> None:
    """Time jumps to the next timer, and timers of the same moment run in the order in which they were set."""

    async def main(loop: SimLoop) -> None:
        order: list[int] = []
        for number in range(5):
            loop.call_at(3600, order.append, number)
        await asyncio.sleep(3600)
        assert (loop.time(), SimClock(loop).monotonic(), order) == (3600, 3600, [0, 1, 2, 3, 4])

    began = time.monotonic()
    run(main)
    assert time.monotonic() - began < 5


def test_everything_a_process_starts_belongs_to_it() -> None:
    """Tasks, timers and callbacks know their process, whoever brings them the news that they wait for."""

    async def main(loop: SimLoop) -> None:
        news = loop.create_future()
        seen: list[str] = []

        def note(*_: object) -> None:
            process = PROCESS.get()
            seen.append(process.name if process else "world")

        async def child() -> None:
            await news
            note()

        async def process() -> None:
            note()
            news.add_done_callback(note)
            loop.call_later(1, note)
            await asyncio.create_task(child())

        loop.spawn("p", process)
        await asyncio.sleep(0.5)
        note()
        news.set_result(None)
        await asyncio.sleep(1)
        assert sorted(seen) == ["p", "p", "p", "p", "world"]

    run(main)


def test_a_frozen_process_does_nothing_until_it_is_thawed() -> None:
    """While one process is frozen another one runs; on waking it goes on where it was, at the time it wakes."""

    async def main(loop: SimLoop) -> None:
        frozen_log: list[float] = []
        other_log: list[float] = []
        frozen = loop.spawn("frozen", ticking(frozen_log, loop))
        loop.spawn("other", ticking(other_log, loop))
        await asyncio.sleep(2.5)
        loop.freeze(frozen)
        await asyncio.sleep(5)
        assert frozen_log == [0, 1, 2]
        loop.thaw(frozen)
        await asyncio.sleep(1.2)
        assert frozen_log == [0, 1, 2, 7.5, 8.5]
        assert other_log == [0, 1, 2, 3, 4, 5, 6, 7, 8]

    run(main)


def test_what_came_in_while_frozen_is_found_before_timers_that_are_over() -> None:
    """A process that wakes first hears what was sent to it, and then that its patience is over, as on a real loop."""

    async def main(loop: SimLoop) -> None:
        answer = loop.create_future()
        heard: list[str] = []

        async def process() -> None:
            answer.add_done_callback(lambda _: heard.append("answer"))
            loop.call_later(1, heard.append, "timer")
            await asyncio.sleep(100)

        frozen = loop.spawn("p", process)
        await asyncio.sleep(0.5)
        loop.freeze(frozen)
        await asyncio.sleep(3)
        answer.set_result(None)
        await asyncio.sleep(1)
        loop.thaw(frozen)
        await asyncio.sleep(0.1)
        assert heard == ["answer", "timer"]

    run(main)


def test_a_killed_process_never_runs_again() -> None:
    """After a kill no line of it runs: no timer, no `finally`, no callback; and nobody complains about that."""
    after: list[str] = []

    async def main(loop: SimLoop) -> None:
        async def process() -> None:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(asyncio.sleep(1))
                    await asyncio.sleep(2)
                    after.append("slept")
            finally:
                if loop.time() > 0.5:
                    after.append("finally")

        killed = loop.spawn("p", process)
        await asyncio.sleep(0.5)
        loop.freeze(killed)
        loop.kill(killed)
        loop.thaw(killed)
        await asyncio.sleep(10)
        assert after == []

    run(main)
    gc.collect()


def test_a_deadlock_and_a_failing_callback_are_errors() -> None:
    """Waiting for what nobody will do fails instead of hanging, and what a callback raises ends the run."""

    async def deadlock(_: SimLoop) -> None:
        await asyncio.Event().wait()

    async def failing(loop: SimLoop) -> None:
        loop.call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(RuntimeError, match="can no longer happen"):
        run(deadlock)
    with pytest.raises(RuntimeError, match="a callback failed"):
        run(failing)
