"""The bound, simulated: limiter, network jitter and late event loops against a service that counts strictly."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota import Bucket
from consumer.quota.wire import written
from consumer.simulator.window import SlidingSecond
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.clock import Clock


LONGEST_STALL_SECONDS = 0.2
# What the network does to the calls of a second: anything, all or nothing in turn, or as many as it can at one time.
NETWORKS: dict[str, Callable[[random.Random, int, float], float]] = {
    "any": lambda chance, _, __: chance.random(),
    "in turn": lambda _, number, __: number % 2,
    "bunching": lambda _, __, sent_at: 1 - sent_at % 1.0,
    "late, then early": lambda _, __, sent_at: float(sent_at % 2.0 < 1.0),
}


class LateClock(LoopClock):
    """The clock of one process: it stands still now and then, and what should wake up meanwhile wakes up afterwards."""

    def __init__(self, seconds: float, seed: int, longest_gap_seconds: float = 4.0) -> None:
        chance = random.Random(seed)
        self._stalls: list[tuple[float, float]] = []
        at = 0.0
        while at < seconds:
            at += chance.uniform(0.2, longest_gap_seconds)
            self._stalls.append((at, at + chance.uniform(0, LONGEST_STALL_SECONDS)))
            at = self._stalls[-1][1]

    async def sleep(self, seconds: float) -> None:
        # The virtual loop's timers may be a nanosecond early: two that correct that in turn would stop its time.
        await super().sleep(max(seconds, 1e-8))
        before = bisect_right(self._stalls, (self.monotonic(), float("inf"))) - 1
        if before >= 0 and (late := self._stalls[before][1] - self.monotonic()) > 0:
            await super().sleep(late)


class Limiter(Protocol):
    """What a process asks before it sends."""

    async def acquire(self) -> float: ...


class NaiveBucket:
    """What is usually written: tokens that come back evenly, as many as there are in a second at most."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit)
        self._at = clock.monotonic()

    async def acquire(self) -> float:
        while True:
            now = self._clock.monotonic()
            self._tokens = min(self._limit, self._tokens + (now - self._at) * self._limit)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            await self._clock.sleep((1 - self._tokens) / self._limit)


@dataclass
class Work:
    """What there is to send: idle now and then, or kept back between token and wire now and then, if chance says so."""

    seconds: float
    idle: random.Random | None = None
    kept_back: random.Random | None = None
    told: bool = True
    sent: list[float] = field(default_factory=list)

    async def send(self, limiter: Limiter, clock: Clock) -> None:
        """Send whenever the limiter says, for ever."""
        while True:
            await limiter.acquire()
            if self.kept_back is not None and self.kept_back.random() < 0.1:
                await clock.sleep(self.kept_back.uniform(0, LONGEST_STALL_SECONDS))
            self.sent.append(clock.monotonic())
            if self.told:
                written()
            if self.idle is not None and self.idle.random() < 0.03:
                await clock.sleep(self.idle.expovariate(1.0))


async def sent_by(limiters: Sequence[tuple[Limiter, Clock]], work: Work) -> list[float]:
    """All sends of processes with five workers each."""
    workers = [asyncio.create_task(work.send(*one)) for one in limiters for _ in range(5)]
    await asyncio.sleep(work.seconds)
    for worker in workers:
        worker.cancel()
    return sorted(work.sent)


def refusals(sent: Sequence[float], limit: int, jitter_seconds: float, network: str, seed: int) -> int:
    """How many of these calls the service refuses, when each of them takes up to the jitter longer than the fastest."""
    chance = random.Random(seed)
    # Sums of binary fractions are not exact: a jitter that is a little shorter makes up for that.
    longest = jitter_seconds * (1 - 1e-9)
    arrived = sorted(at + longest * NETWORKS[network](chance, number, at) for number, at in enumerate(sent))
    service = SlidingSecond(limit)
    return sum(not service.admit(at + 1e-9 * number) for number, at in enumerate(arrived))


def divided(limit: int, processes: int, seed: int) -> list[int]:
    """The limit in as many whole parts, of any size, but of one token at least."""
    cuts = sorted(random.Random(seed).sample(range(1, limit), processes - 1))
    return [after - before for before, after in zip([0, *cuts], [*cuts, limit], strict=True)]


def buckets(
    parts: Sequence[int], jitter_seconds: float, seconds: float, seed: int, longest_gap_seconds: float = 4.0
) -> list[tuple[Bucket, Clock]]:
    """A process for each part, with event loops that are late independently."""
    clocks = [LateClock(seconds, seed + number, longest_gap_seconds) for number in range(len(parts))]
    made: list[tuple[Bucket, Clock]] = [
        (Bucket(part, jitter_seconds=jitter_seconds, clock=clock), clock)
        for part, clock in zip(parts, clocks, strict=True)
    ]
    for (bucket, _), part in zip(made, parts, strict=True):
        bucket.hand_out(part)
    return made


WORLDS = given(
    limit=st.sampled_from([3, 10, 50, 100]),
    jitter_seconds=st.sampled_from([0.0, 0.01, 0.03, 0.1]),
    processes=st.integers(1, 3),
    network=st.sampled_from(sorted(NETWORKS)),
    seed=st.integers(0, 9999),
)


@settings(deadline=None, max_examples=60)
@WORLDS
def test_nothing_is_refused_whatever_the_network_and_the_machines_do(
    limit: int, jitter_seconds: float, processes: int, network: str, seed: int
) -> None:
    """Processes that share a limit, idle and busy, each late on its own, have no call refused within the jitter."""

    async def main() -> list[float]:
        parts = divided(limit, processes, seed)
        return await sent_by(buckets(parts, jitter_seconds, 15, seed), Work(15, idle=random.Random(seed)))

    sent = run(main())
    assert len(sent) > 15
    assert refusals(sent, limit, jitter_seconds, network, seed) == 0


@settings(deadline=None, max_examples=40)
@WORLDS
def test_while_work_waits_nearly_all_of_the_bound_is_used(
    limit: int, jitter_seconds: float, processes: int, network: str, seed: int
) -> None:
    """With work that waits, 99 % of limit / (1 + jitter) is used by all together, and nothing is refused."""
    # So long that a single token, which may come a moment after the end, is no matter.
    seconds = 40 + 3000 / limit

    async def main() -> list[float]:
        parts = divided(limit, processes, seed)
        return await sent_by(buckets(parts, jitter_seconds, seconds, seed, 10.0), Work(seconds))

    sent = run(main())
    begin = 5.0
    used = sum(at >= begin for at in sent) / (seconds - begin)
    assert used >= 0.99 * limit / (1 + jitter_seconds)
    assert refusals(sent, limit, jitter_seconds, network, seed) == 0


def kept_back(limit: int, jitter_seconds: float, processes: int, network: str, seed: int, *, told: bool) -> int:
    """How many calls are refused where a tenth of the requests leaves up to 0.2 s after its token was taken."""

    async def main() -> list[float]:
        parts = divided(limit, processes, seed)
        work = Work(15, kept_back=random.Random(seed), told=told)
        return await sent_by(buckets(parts, jitter_seconds, 15, seed), work)

    return refusals(run(main()), limit, jitter_seconds, network, seed)


@settings(deadline=None, max_examples=40)
@WORLDS
def test_requests_that_leave_late_have_nothing_refused(
    limit: int, jitter_seconds: float, processes: int, network: str, seed: int
) -> None:
    """A request that a busy loop or a new connection keeps back counts from when it was written."""
    assert kept_back(limit, jitter_seconds, processes, network, seed, told=True) == 0


def test_requests_that_leave_late_and_are_not_noted_are_refused() -> None:
    """If tokens counted from when they were taken, requests that leave late would meet others in a second."""
    assert kept_back(50, 0.03, 1, "any", 1, told=False) > 0


@settings(deadline=None, max_examples=25)
@given(network=st.sampled_from(sorted(NETWORKS)), seed=st.integers(0, 9999))
def test_a_rebalance_has_nothing_refused(network: str, seed: int) -> None:
    """Tokens that move to other processes, when those that had them have stopped using them, are not there twice."""
    limit, jitter_seconds, seconds = 20, 0.03, 20.0

    async def main() -> list[float]:
        made = buckets(divided(limit, 3, seed), jitter_seconds, seconds, seed)

        async def rebalance() -> None:
            for number in range(1, 4):
                await asyncio.sleep(5)
                parts = divided(limit, 3, seed + number)
                for grows in (False, True):
                    for (bucket, clock), part in zip(made, parts, strict=True):
                        if (part > bucket.limit) is grows:
                            await clock.sleep(0.01)
                            bucket.hand_out(part)

        rebalancing = asyncio.create_task(rebalance())
        sent = await sent_by(made, Work(seconds))
        await rebalancing
        return sent

    assert refusals(run(main()), limit, jitter_seconds, network, seed) == 0


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_a_naive_bucket_is_refused(network: str) -> None:
    """The service that counts here does refuse: a bucket that fills evenly is over the limit after each idle spell."""

    async def main() -> list[float]:
        clock = LateClock(15, 1)
        return await sent_by([(NaiveBucket(50, clock), clock)], Work(15, idle=random.Random(1)))

    assert refusals(run(main()), 50, 0.03, network, 1) > 10


def test_a_bucket_without_the_jitter_is_refused() -> None:
    """A log of sends over one second alone is not enough once the network bunches calls up."""

    async def main() -> list[float]:
        return await sent_by(buckets([50], 0.0, 15, 1), Work(15))

    assert refusals(run(main()), 50, 0.03, "any", 1) > 0
