"""Tests of limits that are handed out, and replaced while the program runs."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota import Bucket
from consumer.quota.tokens import Tokens
from tests import virtual_time


JITTER_SECONDS = 0.03


def made(limit: int, *, works_alone: bool = True) -> tuple[Bucket, Tokens]:
    bucket = Bucket(limit, jitter_seconds=JITTER_SECONDS, clock=virtual_time.LoopClock())
    return bucket, Tokens([("text", bucket)], {"text": limit}, works_alone=works_alone)


@settings(deadline=None, max_examples=40)
@given(
    first=st.integers(1, 60),
    changes=st.lists(st.tuples(st.floats(0.01, 2.5), st.integers(1, 60)), min_size=1, max_size=6),
)
def test_no_change_of_a_limit_allows_a_burst(first: int, changes: list[tuple[float, int]]) -> None:
    """However limits change, no send makes more of them within a window than the limit in force at that moment."""

    async def main() -> None:
        bucket, tokens = made(first)
        sent: list[float] = []
        limit = first
        loop = asyncio.get_running_loop()

        async def send() -> None:
            while True:
                await bucket.acquire()
                sent.append(loop.time())
                now = loop.time()
                within = [at for at in sent if at > now - bucket.window_seconds + 1e-9]
                assert len(within) <= limit

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send())
            for seconds, changed in changes:
                await asyncio.sleep(seconds)
                limit = changed
                tokens.replace({"text": limit})
            await asyncio.sleep(2.5)
            sending.cancel()
        assert sent[-1] > loop.time() - bucket.window_seconds

    virtual_time.run(main())


def test_a_limit_that_grows_is_used_up() -> None:
    """A greater limit is in full use a window after it came."""

    async def main() -> int:
        bucket, tokens = made(5)
        loop = asyncio.get_running_loop()
        count = 0
        async with asyncio.timeout(10) as over:
            await bucket.acquire()
            tokens.replace({"text": 50})
            await asyncio.sleep(bucket.window_seconds)
            until = loop.time() + 10 * bucket.window_seconds
            over.reschedule(None)
            while loop.time() < until:
                await bucket.acquire()
                count += 1
        return count

    assert virtual_time.run(main()) >= 490


def test_who_stands_by_gets_no_tokens_by_a_reload() -> None:
    """A process without tokens has none after a change either, and has all of the new limit when work comes to it."""

    async def main() -> None:
        bucket, tokens = made(50)
        tokens.hand_out({})
        tokens.replace({"text": 20})
        assert bucket.limit == 0
        tokens.hand_out({"text": 50})
        assert bucket.limit == 20

    virtual_time.run(main())


def test_tokens_that_are_shared_stay_as_they_were_handed_out() -> None:
    """Where replicas share a limit, each has what it was handed, and none changes it by itself."""

    async def main() -> None:
        bucket, tokens = made(50, works_alone=False)
        tokens.hand_out({"text": 17})
        assert bucket.limit == 17
        with pytest.raises(RuntimeError, match="restart"):
            tokens.replace({"text": 20})
        assert bucket.limit == 17

    virtual_time.run(main())
