"""Tests of the token bucket: what a service that counts strictly would see of it."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota import Bucket
from tests import virtual_time


def busiest_second(arrivals: list[float]) -> int:
    """The most arrivals in any one second, wherever it starts."""
    arrivals = sorted(arrivals)
    first, most = 0, 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - 1.0 + 1e-9:  # sums of binary fractions are not exact
            first += 1
        most = max(most, last - first + 1)
    return most


async def send_for(bucket: Bucket, seconds: float, *, late: float = 0.0, seed: int = 0) -> list[float]:
    """Send as fast as the bucket lets us; `late` is how late the event loop may be each time."""
    loop, chance = asyncio.get_running_loop(), random.Random(seed)
    sent: list[float] = []
    while loop.time() < seconds:
        await bucket.acquire()
        sent.append(loop.time())
        if late:
            await asyncio.sleep(chance.uniform(0, late))
    return sent


@settings(deadline=None, max_examples=25)
@given(limit=st.sampled_from([1, 3, 10, 50, 100]), jitter=st.sampled_from([0.0, 0.01, 0.03]), seed=st.integers(0, 999))
def test_no_second_of_the_service_holds_more_than_the_limit(limit: int, jitter: float, seed: int) -> None:
    """Whatever the network does within the jitter, no second at the service sees more calls than the limit."""

    async def main() -> list[float]:
        return await send_for(Bucket(limit, jitter_seconds=jitter, clock=virtual_time.LoopClock()), 12)

    chance = random.Random(seed)
    sent = virtual_time.run(main())
    assert busiest_second([at + chance.uniform(0, jitter) for at in sent]) <= limit
    assert busiest_second([at + jitter * (n % 2) for n, at in enumerate(sent)]) <= limit


@pytest.mark.parametrize(("limit", "jitter"), [(50, 0.03), (100, 0.03), (10, 0.03), (50, 0.01)])
def test_all_of_the_quota_is_used_while_work_waits(limit: int, jitter: float) -> None:
    """At least 99 % of limit/(1 + jitter) is sent, which is the most that can never be refused."""

    async def main() -> list[float]:
        return await send_for(Bucket(limit, jitter_seconds=jitter, clock=virtual_time.LoopClock()), 120)

    assert len(virtual_time.run(main())) >= 0.99 * 120 * limit / (1 + jitter)


def test_a_late_event_loop_costs_little() -> None:
    """A loop that is up to 5 ms late after every send still uses 98 % of what is possible."""

    async def main() -> list[float]:
        bucket = Bucket(50, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        return await send_for(bucket, 120, late=0.005)

    sent = virtual_time.run(main())
    assert len(sent) >= 0.98 * 120 * 50 / 1.03
    assert busiest_second(sent) <= 50


def test_sends_are_spread_over_the_second() -> None:
    """After an idle spell the tokens leave as a stream, not as one burst."""

    async def main() -> list[float]:
        bucket = Bucket(50, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        await asyncio.sleep(10)
        return [await bucket.acquire() + asyncio.get_running_loop().time() for _ in range(50)]

    sent = virtual_time.run(main())
    in_the_first_tenth = sum(at < sent[0] + 0.1 for at in sent)
    assert in_the_first_tenth <= 12


def test_first_come_first_served() -> None:
    """Tokens are given in the order in which they were asked for."""

    async def main() -> list[int]:
        bucket = Bucket(2, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        served: list[int] = []

        async def ask(number: int) -> None:
            await bucket.acquire()
            served.append(number)

        await asyncio.gather(*(ask(number) for number in range(9)))
        return served

    assert virtual_time.run(main()) == list(range(9))


def test_giving_up_takes_no_token() -> None:
    """A caller that stops waiting leaves its token to the next in line."""

    async def main() -> float:
        bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        await bucket.acquire()
        impatient = asyncio.create_task(bucket.acquire())
        patient = asyncio.create_task(bucket.acquire())
        await asyncio.sleep(0.5)
        impatient.cancel()
        return await patient

    assert virtual_time.run(main()) == pytest.approx(1.0)


def test_the_time_waited_is_returned() -> None:
    """A token that is free costs no wait; the next one says how long it took."""

    async def main() -> tuple[float, float]:
        bucket = Bucket(1, jitter_seconds=0.25, clock=virtual_time.LoopClock())
        return await bucket.acquire(), await bucket.acquire()

    first, second = virtual_time.run(main())
    assert first == 0.0
    assert second == pytest.approx(1.25)


def test_a_refusal_lowers_the_rate_at_once_and_it_recovers() -> None:
    """After a refusal 30 % fewer calls are sent in the next second; a minute later all of them again."""

    async def main() -> tuple[int, int, int]:
        bucket = Bucket(100, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        full = bucket.limit_now
        bucket.throttled()
        bucket.throttled()
        low = bucket.limit_now
        assert busiest_second(await send_for(bucket, 1.0)) <= 71
        await asyncio.sleep(60)
        return full, low, bucket.limit_now

    assert virtual_time.run(main()) == (100, 70, 100)


def test_refusals_never_close_the_bucket() -> None:
    """However often the service refuses, one call a second is still tried."""

    async def main() -> int:
        bucket = Bucket(10, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        for _ in range(50):
            bucket.throttled()
            await asyncio.sleep(1)
        await bucket.acquire()
        return bucket.limit_now

    assert virtual_time.run(main()) == 1


def test_a_bucket_without_tokens_is_refused() -> None:
    """A limit of zero would wait for ever, so it cannot be made."""
    with pytest.raises(ValueError, match="at least one"):
        Bucket(0, jitter_seconds=0.0, clock=virtual_time.LoopClock())


def test_a_free_token_can_be_seen_without_taking_it() -> None:
    """Whoever asks whether a token is free learns it, and takes none."""

    async def main() -> list[bool]:
        bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        seen = [bucket.free(), bucket.free()]
        await bucket.acquire()
        seen.append(bucket.free())
        await asyncio.sleep(1)
        return [*seen, bucket.free()]

    assert virtual_time.run(main()) == [True, True, False, True]
