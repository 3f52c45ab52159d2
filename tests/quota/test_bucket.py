"""Tests of the token bucket: what a service that counts strictly would see of it."""

from __future__ import annotations

import asyncio
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota import Bucket
from tests import virtual_time


def busiest_second(arrivals: list[float], seconds: float = 1.0) -> int:
    """The most arrivals in any one second, or in so many, wherever they start."""
    arrivals = sorted(arrivals)
    first, most = 0, 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - seconds + 1e-9:  # sums of binary fractions are not exact
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


# Each hand-out: the parts of three processes, how late each hears of it, and how long it lasts.
N = 12
HAND_OUTS = st.lists(
    st.tuples(
        st.tuples(st.integers(0, N), st.integers(0, N)).map(lambda two: (min(two), max(two) - min(two), N - max(two))),
        st.tuples(*[st.floats(0, 1.5)] * 3),
        st.floats(0, 3),
    ),
    min_size=1,
    max_size=6,
)


async def share(hand_outs: list[tuple[tuple[int, ...], tuple[float, ...], float]], seed: int) -> list[float]:
    """All sends of three processes with more work than tokens, one limit between them, and parts that change."""
    clock = virtual_time.LoopClock()
    buckets = [Bucket(N // 3, jitter_seconds=0.03, clock=clock) for _ in range(3)]
    chance = random.Random(seed)
    sent: list[float] = []

    async def work(bucket: Bucket) -> None:
        while True:
            await bucket.acquire()
            sent.append(clock.monotonic())
            if chance.random() < 0.02:
                bucket.throttled()
            if chance.random() < 0.05:
                await asyncio.sleep(chance.uniform(0, 2))

    async def told(bucket: Bucket, late_seconds: float, limit: int) -> None:
        await asyncio.sleep(late_seconds)
        bucket.hand_out(limit)

    workers = [asyncio.create_task(work(bucket)) for bucket in buckets for _ in range(3)]
    for parts, lateness, seconds in hand_outs:
        for grows in (False, True):
            changes = [
                told(bucket, late, part)
                for bucket, part, late in zip(buckets, parts, lateness, strict=True)
                if (part > bucket.limit) is grows
            ]
            await asyncio.gather(*changes)
            if not grows:
                await asyncio.sleep(buckets[0].window_seconds)
        await asyncio.sleep(seconds)
    for worker in workers:
        worker.cancel()
    return sent


@settings(deadline=None, max_examples=150)
@given(hand_outs=HAND_OUTS, seed=st.integers(0, 999))
def test_the_sum_of_handed_out_tokens_holds(
    hand_outs: list[tuple[tuple[int, ...], tuple[float, ...], float]], seed: int
) -> None:
    """However a limit is divided, with a window between shrinking and growing, it holds whatever the jitter does."""
    assert busiest_second(virtual_time.run(share(hand_outs, seed)), 1.03) <= N


def test_a_process_without_tokens_sends_nothing_until_it_has_some() -> None:
    """With no token handed out everybody waits, in turn, and goes on a window after there is one."""

    async def main() -> tuple[list[tuple[int, float]], bool, int]:
        bucket = Bucket(10, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        bucket.hand_out(0)
        bucket.throttled()
        seen = bucket.free(), bucket.limit_now
        served: list[tuple[int, float]] = []

        async def ask(number: int) -> None:
            await bucket.acquire()
            served.append((number, asyncio.get_running_loop().time()))

        asking = [asyncio.create_task(ask(number)) for number in range(4)]
        await asyncio.sleep(60)
        asking[1].cancel()
        bucket.hand_out(5)
        await asyncio.wait(asking)
        return served, *seen

    served, free, limit = virtual_time.run(main())
    assert [number for number, _ in served] == [0, 2, 3]
    assert served[0][1] == 61
    assert served[-1][1] < 62
    assert (free, limit) == (False, 0)


def test_tokens_that_are_taken_away_stop_those_who_wait() -> None:
    """Whoever waits for a token when the last one is taken away gets none of the old ones."""

    async def main() -> list[float]:
        bucket = Bucket(2, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        asked = asyncio.create_task(send_for(bucket, 12))
        await asyncio.sleep(5.1)
        bucket.hand_out(0)
        await asyncio.sleep(5)
        bucket.hand_out(2)
        return await asked

    sent = virtual_time.run(main())
    assert not [at for at in sent if 5.1 < at < 10.1]
    assert len([at for at in sent if at < 5.1]) >= 10
    assert len([at for at in sent if at > 10.1]) >= 3


@pytest.mark.parametrize("parts", [[20], [1, 20], [3, 0, 20], [50, 20]])
def test_all_of_a_part_is_used(parts: list[int]) -> None:
    """Whatever was handed out before, a process uses its part as fully as a limit of its own."""

    async def main() -> int:
        bucket = Bucket(20, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        sending = asyncio.create_task(send_for(bucket, 120))
        for part in parts:
            bucket.hand_out(part)
            await asyncio.sleep(5)
        started_at = asyncio.get_running_loop().time()
        return len([at for at in await sending if at >= started_at])

    seconds = 120 - 5 * len(parts)
    assert virtual_time.run(main()) >= 0.98 * seconds * 20 / 1.03


def test_what_was_sent_before_a_hand_out_counts() -> None:
    """Tokens that are taken away and given back at once are not there twice."""

    async def main() -> list[float]:
        bucket = Bucket(20, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        asked = asyncio.create_task(send_for(bucket, 30))
        for _ in range(60):
            await asyncio.sleep(0.43)
            for part in (1, 0, 30, 20):
                bucket.hand_out(part)
        return await asked

    assert busiest_second(virtual_time.run(main())) <= 20


def test_what_was_lost_to_refusals_stays_lost_when_tokens_are_handed_out() -> None:
    """A limit that a refusal has lowered by 30 % is lowered as much after a hand-out, and grows back in a minute."""

    async def main() -> list[int]:
        bucket = Bucket(100, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        bucket.throttled()
        seen = [bucket.limit_now]
        for part in (50, 10, 1, 0, 200):
            bucket.hand_out(part)
            seen.append(bucket.limit_now)
        await asyncio.sleep(60)
        return [*seen, bucket.limit_now]

    assert virtual_time.run(main()) == [70, 35, 7, 1, 0, 140, 200]


def test_fewer_tokens_than_none_are_refused() -> None:
    """A negative part is a mistake of whoever divides the limit."""
    bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())
    with pytest.raises(ValueError, match="-1"):
        bucket.hand_out(-1)


def test_a_limit_that_is_never_reached_takes_no_memory() -> None:
    """However many were sent within a limit of a million a second, only those of the last second are remembered."""

    async def main() -> int:
        bucket = Bucket(1_000_000, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            for _ in range(100):
                await bucket.acquire()
            await asyncio.sleep(1)
        assert bucket.used_now == 100
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        assert virtual_time.run(main()) < 50_000
    finally:
        tracemalloc.stop()
