"""From the token to the wire: a token counts from when its request was written, whoever writes it."""

from __future__ import annotations

import asyncio

import pytest

from consumer.quota import Bucket
from consumer.quota.wire import expect, written
from tests import virtual_time


def test_who_waits_for_the_next_request_is_told_once() -> None:
    """The first request written after the wish is told of, and those after it are not."""
    told: list[int] = []
    written()
    expect(lambda: told.append(1))
    written()
    written()
    assert told == [1]


def test_a_request_that_another_task_writes_is_told_of() -> None:
    """What a task starts to write its request tells it, and what other tasks write does not."""

    async def main() -> list[str]:
        told: list[str] = []

        async def call(name: str) -> None:
            expect(lambda: told.append(name))
            await asyncio.sleep(1)
            if name == "b":
                await asyncio.create_task(write())

        async def write() -> None:
            await asyncio.sleep(1)
            written()

        await asyncio.gather(call("a"), call("b"))
        return told

    assert virtual_time.run(main()) == ["b"]


@pytest.mark.parametrize(("late_seconds", "next_at"), [(0.0, 1.03), (0.2, 1.23), (0.9, 1.93)])
def test_a_token_counts_from_when_its_request_was_written(late_seconds: float, next_at: float) -> None:
    """The next token of a limit of one comes a window after the request that had the last one was written."""

    async def main() -> float:
        bucket = Bucket(1, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        await bucket.acquire()
        await asyncio.sleep(late_seconds)
        written()
        written()
        await bucket.acquire()
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == pytest.approx(next_at)


def test_tokens_taken_meanwhile_keep_their_times() -> None:
    """A request that leaves late moves its own token, and not those that others took after it."""

    async def main() -> list[float]:
        bucket = Bucket(3, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        seen: list[float] = []

        async def late() -> None:
            await bucket.acquire()
            await asyncio.sleep(0.75)
            written()

        async def prompt() -> None:
            await bucket.acquire()
            written()
            seen.append(asyncio.get_running_loop().time())

        await asyncio.gather(late(), *(prompt() for _ in range(5)))
        return seen

    assert virtual_time.run(main()) == pytest.approx([0.2, 0.5, 1.2, 1.5, 1.75])
