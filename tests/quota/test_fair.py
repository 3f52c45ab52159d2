"""Tests of weighted fair turns, alone and in front of a bucket: shares, starvation, and who gives up waiting."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.quota import Bucket
from consumer.quota.fair import Fair, FairQueue
from tests import virtual_time
from tests.quota.test_bucket import busiest_second


WEIGHTS = st.integers(1, 20) | st.sampled_from([100, 1000])
LOG = list[tuple[str, float]]


def serve(fair: Fair[str], turns: int) -> list[str]:
    """Whose turns the next ones were."""
    served = []
    for _ in range(turns):
        served.append(fair.first())
        fair.served()
    return served


@settings(deadline=None, max_examples=200)
@given(weights=st.lists(WEIGHTS, min_size=1, max_size=12), turns=st.integers(1, 600))
def test_each_flow_has_its_exact_part_within_one_turn(weights: list[int], turns: int) -> None:
    """At every moment each flow has had its weight's part of all turns, give or take less than one turn."""
    fair: Fair[str] = Fair()
    for number, weight in enumerate(weights):
        fair.join(str(number), weight)
    had: Counter[str] = Counter()
    for turn, flow in enumerate(serve(fair, turns), 1):
        had[flow] += 1
        for number, weight in enumerate(weights):
            assert abs(had[str(number)] - turn * weight / sum(weights)) < 1


@settings(deadline=None, max_examples=300)
@given(weights=st.lists(WEIGHTS, min_size=2, max_size=8), seed=st.integers(0, 10**6), coming=st.floats(0, 1))
def test_nobody_starves_whatever_the_others_do(weights: list[int], seed: int, coming: float) -> None:
    """While others come and go, one that waits all the time has a turn at least as often as its weight says."""
    chance, fair = random.Random(seed), Fair[str]()
    for number, weight in enumerate(weights):
        fair.join(str(number), weight)
    most = 2 * ceil(sum(weights) / weights[0]) + len(weights)
    served: list[str] = []
    for _ in range(4 * most):
        served += serve(fair, 1)
        other = chance.randrange(1, len(weights))
        if chance.random() < coming:
            fair.join(str(other), weights[other])
        else:
            fair.leave(str(other))
    at = [-1, *(turn for turn, flow in enumerate(served) if flow == "0"), len(served)]
    assert max(later - earlier for earlier, later in pairwise(at)) <= most


def test_who_was_idle_gains_nothing() -> None:
    """A flow that has not wanted a turn for long has none saved up when it comes back."""
    fair: Fair[str] = Fair()
    fair.join("busy", 1)
    fair.join("idle", 1)
    serve(fair, 2)
    fair.leave("idle")
    assert set(serve(fair, 1000)) == {"busy"}
    fair.join("idle", 1)
    assert Counter(serve(fair, 10)) == {"busy": 5, "idle": 5}


def test_coming_back_is_no_way_to_the_front() -> None:
    """A flow that leaves after each turn and comes back at once has its part, and no more."""
    fair: Fair[str] = Fair()
    fair.join("sly", 1)
    fair.join("patient", 1)
    had: Counter[str] = Counter()
    for _ in range(100):
        had.update(serve(fair, 1))
        fair.leave("sly")
        fair.join("sly", 1)
    assert had == {"sly": 50, "patient": 50}


def test_light_flows_together_do_not_hold_up_a_heavy_one() -> None:
    """Of a hundred flows of weight 1 and one of weight 100, the heavy one has every other turn from the start."""
    fair: Fair[str] = Fair()
    for number in range(100):
        fair.join(str(number), 1)
    fair.join("heavy", 100)
    for turns in range(1, 21):
        assert abs(serve(fair, 10).count("heavy") - 5) <= 1, turns


def test_a_new_weight_counts_from_the_next_turn() -> None:
    """A flow whose weight changes while it waits has its new part from then on."""
    fair: Fair[str] = Fair()
    fair.join("a", 1)
    fair.join("b", 1)
    assert Counter(serve(fair, 10)) == {"a": 5, "b": 5}
    fair.join("a", 9)
    assert abs(Counter(serve(fair, 100))["a"] - 90) <= 1


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_is_at_least_one(weight: int) -> None:
    """A weight that would mean never is refused."""
    with pytest.raises(ValueError, match=str(weight)):
        Fair[str]().join("a", weight)


class Queueing(RuleBasedStateMachine):
    """A queue beside what it has to be: for each flow a list."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.model: dict[str, list[int]] = {}
        self.next = 0

    @rule(flow=st.sampled_from("abc"), weight=st.integers(1, 9))
    def push(self, flow: str, weight: int) -> None:
        self.queue.push(self.next, flow, weight)
        self.model.setdefault(flow, []).append(self.next)
        self.next += 1

    @precondition(lambda self: self.queue)
    @rule()
    def pop(self) -> None:
        first = self.queue.first()
        assert self.queue.pop() == first
        (flow,) = [name for name, items in self.model.items() if items and items[0] == first]
        self.model[flow].pop(0)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        flow = data.draw(st.sampled_from([name for name, items in self.model.items() if items]))
        item = data.draw(st.sampled_from(self.model[flow]))
        self.queue.remove(item, flow)
        self.model[flow].remove(item)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == sum(map(len, self.model.values()))


Queueing.TestCase.settings = settings(deadline=None, max_examples=60)
TestQueueing = Queueing.TestCase


def test_what_was_given_up_has_cost_its_flow_nothing() -> None:
    """A flow of which nine of ten items give up waiting has as many turns as one of which none does."""
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.push(f"a{number}", "a", 1)
        if number < 100:
            queue.push(f"b{number}", "b", 1)
    for number in range(1000):
        if number % 10:
            queue.remove(f"a{number}", "a")
    served = [queue.pop() for _ in range(100)]
    assert Counter(item[0] for item in served) == {"a": 50, "b": 50}
    assert [item for item in served if item[0] == "a"] == [f"a{10 * number}" for number in range(50)]


# In front of a bucket


async def compete(bucket: Bucket, flows: dict[str, int], seconds: float, *, workers: int = 20) -> LOG:
    """All sends of flows that each have more work than tokens, all of it from the start."""
    loop, limit = asyncio.get_running_loop(), bucket.limit
    log: LOG = []

    async def work(flow: str, weight: int) -> None:
        while True:
            await bucket.acquire(flow, weight)
            log.append((flow, loop.time()))

    bucket.hand_out(0)
    tasks = [asyncio.create_task(work(*one)) for one in flows.items() for _ in range(workers)]
    await asyncio.sleep(0)
    bucket.hand_out(limit)
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return log


@settings(deadline=None, max_examples=20)
@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=5), limit=st.sampled_from([1, 10, 50]))
def test_tokens_are_divided_by_weight_and_the_bound_holds(weights: list[int], limit: int) -> None:
    """Flows that always want tokens have theirs within one of exact; no token is idle, and no second overfull."""

    async def main() -> LOG:
        bucket = Bucket(limit, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        return await compete(bucket, {str(n): weight for n, weight in enumerate(weights)}, 20)

    log = virtual_time.run(main())
    assert busiest_second([at for _, at in log], 1.03) <= limit
    assert len(log) >= 0.97 * (20 - 1.03) * limit / 1.03
    had: Counter[str] = Counter()
    for sent, (flow, _) in enumerate(log, 1):
        had[flow] += 1
        for number, weight in enumerate(weights):
            assert abs(had[str(number)] - sent * weight / sum(weights)) < 1


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), limit=st.sampled_from([1, 5, 20]))
def test_giving_up_at_any_moment_loses_no_token_and_stalls_nobody(seed: int, limit: int) -> None:
    """Whoever gives up whenever, no second is overfull, each flow keeps its order, and who waits on has its token."""
    chance = random.Random(seed)
    flows = {"a": 1, "b": 3, "c": 10}

    async def main() -> tuple[list[float], dict[str, list[int]], list[tuple[str, int]]]:
        bucket = Bucket(limit, jitter_seconds=0.03, clock=virtual_time.LoopClock())
        loop = asyncio.get_running_loop()
        at: list[float] = []
        served: dict[str, list[int]] = {flow: [] for flow in flows}
        left: list[tuple[str, int]] = []

        async def ask(flow: str, number: int) -> None:
            try:
                await bucket.acquire(flow, flows[flow])
            except asyncio.CancelledError:
                left.append((flow, number))
                raise
            at.append(loop.time())
            served[flow].append(number)

        asking: list[asyncio.Task[None]] = []
        asked = 0
        while loop.time() < 5:
            asking = [one for one in asking if not one.done()]
            while len(asking) < 12:
                asking.append(asyncio.create_task(ask(chance.choice("abc"), asked)))
                asked += 1
            for _ in range(chance.randrange(5)):
                chance.choice(asking).cancel()
            if chance.random() < 0.02:
                bucket.hand_out(0)
                bucket.hand_out(limit)
            if chance.random() < 0.5:
                # In the middle of a turn that is handed over.
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(chance.choice([0.01, 0.03, 0.05, 0.2]))
        patient = asyncio.create_task(ask("a", asked))
        await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        async with asyncio.timeout(2.1):
            await patient
        return at, served, left

    at, served, left = virtual_time.run(main())
    assert busiest_second(at, 1.03) <= limit
    for flow, numbers in served.items():
        assert numbers == sorted(numbers)
        assert not set(numbers) & {number for name, number in left if name == flow}


def test_a_heavy_one_need_not_wait_behind_a_long_queue() -> None:
    """Behind two thousand callers of weight 1, one of weight 10 waits no longer than the pace of the sends has it."""

    async def main() -> tuple[float, int]:
        bucket = Bucket(50, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        backfill = asyncio.create_task(compete(bucket, {"backfill": 1}, 61, workers=2000))
        longest = 0.0
        await asyncio.sleep(2)
        for _ in range(100):
            await asyncio.sleep(0.5)
            longest = max(longest, await bucket.acquire("live", 10))
        return longest, len(await backfill)

    longest, sent = virtual_time.run(main())
    assert longest < 0.25
    assert sent + 100 >= 0.99 * 60 * 50


def test_who_finds_a_token_takes_it_at_once() -> None:
    """While nobody waits a token costs no wait, whatever the weight, and is charged to no flow."""

    async def main() -> tuple[list[float], LOG]:
        bucket = Bucket(10, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        waits = []
        for _ in range(30):
            waits.append(await bucket.acquire("a", 1))
            await asyncio.sleep(0.2)
        return waits, await compete(bucket, {"a": 1, "b": 1}, 4)

    waits, log = virtual_time.run(main())
    assert set(waits) == {0.0}
    had = Counter(flow for flow, _ in log)
    assert abs(had["a"] - had["b"]) <= 2


def test_a_weight_of_nothing_is_refused_and_stalls_nobody() -> None:
    """A caller with a weight below one learns of it as soon as it would have to wait; the next goes on."""

    async def main() -> float:
        bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        await bucket.acquire()
        with pytest.raises(ValueError, match="0"):
            await bucket.acquire("a", 0)
        return await bucket.acquire("a", 1)

    assert virtual_time.run(main()) == pytest.approx(1.0)
