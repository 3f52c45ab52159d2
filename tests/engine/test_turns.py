"""Tests of lanes of different weights: their turns, their part of the window, and what is read of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.engine.lane import Lane, LaneState
from consumer.engine.turns import Turns
from consumer.quota import Bucket
from consumer.record import Partition, Position, Record
from consumer.routing import Route, Router, When
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time
from tests.engine.memory import Cluster, MemorySource, engine


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from consumer.engine.ports import Claim
    from consumer.event import Event


def lane_of(topic: str, partition: int, weight: int, records: int) -> tuple[Lane, list[Record]]:
    """An open lane and records of it."""
    at = Partition(topic, partition)
    lane = Lane(at, 1, weight=weight)
    lane.begin_at(0, committed=None, note=None, budget_bytes=0)
    lane.state, lane.stalled = LaneState.OPEN, False
    return lane, [Record(at, offset, 0, None, b"{}") for offset in range(records)]


def turns_of(lanes: Sequence[tuple[Lane, list[Record]]], window: int = 10**6) -> Turns:
    turns = Turns(window, dropped=lambda _: None, stalled=lambda _: None)
    for lane, records in lanes:
        turns.follow(lane)
        turns.take_in(lane, records, 0.0)
    return turns


@settings(deadline=None, max_examples=100)
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6), weight=st.integers(1, 50))
def test_lanes_of_one_weight_take_turns_one_after_the_other(sizes: list[int], weight: int) -> None:
    """Whatever the weight, each lane that has a record gets one turn in each round, and each record has its turn."""
    lanes = [lane_of(f"topic {number % 2}", number, weight, size) for number, size in enumerate(sizes)]
    turns = turns_of(lanes)
    line = deque((lane, deque(records)) for lane, records in lanes if records)
    while line:
        lane, records = line.popleft()
        work = turns.next()
        assert work is not None
        assert (work.lane, work.record) == (lane, records.popleft())
        turns.takes_room(lane, -1)
        if records:
            line.append((lane, records))
    assert turns.next() is None
    assert turns.waiting == turns.startable == 0


@pytest.mark.parametrize("window", [1, 100, 100_000])
def test_what_waits_is_bounded_however_large_the_window_is(window: int) -> None:
    """No more is read while as many records wait as may be worked on, or two thousand."""
    lane, records = lane_of("topic", 0, 1, 2_001)
    turns = turns_of([(lane, [])], window)
    while turns.has_room():
        assert turns.has_room(lane)
        turns.take_in(lane, records[turns.waiting : turns.waiting + 1], 0.0)
    assert not turns.has_room(lane)
    assert turns.waiting == min(window, 2_000)


TOPICS = st.lists(st.tuples(st.sampled_from([1, 2, 3, 10, 100]), st.integers(1, 5)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=100)
@given(topics=TOPICS, count=st.integers(1, 300))
def test_topics_get_turns_by_weight_and_not_by_partitions(topics: list[tuple[int, int]], count: int) -> None:
    """Topics of one weight together get their exact part of the turns within one, and in it their lanes equal parts."""
    lanes = [
        lane_of(f"topic {number}", partition, weight, 300)
        for number, (weight, partitions) in enumerate(topics)
        for partition in range(partitions)
    ]
    turns = turns_of(lanes)
    had: Counter[int] = Counter()
    of_lanes: Counter[Lane] = Counter()
    whole = sum(weight for weight, _ in topics)
    for turn in range(1, count + 1):
        work = turns.next()
        assert work is not None
        had[work.lane.weight] += 1
        of_lanes[work.lane] += 1
        for weight in {weight for weight, _ in topics}:
            part = sum(one for one, _ in topics if one == weight) / whole
            assert abs(had[weight] - turn * part) < 1
    for weight in had:
        ours = [of_lanes[lane] for lane, _ in lanes if lane.weight == weight]
        assert max(ours) - min(ours) <= 1


@settings(deadline=None, max_examples=40)
@given(window=st.integers(1, 300), weights=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_lighter_lanes_leave_room_for_heavier_ones_that_are_there(window: int, weights: list[int]) -> None:
    """A weight may fill three quarters of what the next heavier one may, at least one, and more when that is gone."""
    lanes = [lane_of(f"topic {number}", 0, weight, 400) for number, weight in enumerate(weights)]
    turns = turns_of(lanes, window)
    started = Counter(work.lane.weight for work in iter(turns.next, None))
    assert turns.startable == 0
    present = sorted(set(weights), reverse=True)
    assert started == {weight: max(1, int(window * 0.75**rank)) for rank, weight in enumerate(present)}
    gone = [lane for lane, _ in lanes if lane.weight == present[0]]
    for lane in gone:
        turns.give_up(lane)
    turns.forget(gone)
    started += Counter(work.lane.weight for work in iter(turns.next, None))
    assert all(started[weight] == max(1, int(window * 0.75**rank)) for rank, weight in enumerate(present[1:]))


# In the whole engine


class Arriving(MemorySource):
    """A source whose poll returns as soon as a record that is wanted arrives, as that of a broker does."""

    def __init__(self, cluster: Cluster, chunk: int = 800) -> None:
        super().__init__(cluster, chunk=chunk)
        self.arrived = asyncio.Event()

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        while True:
            log, at = self.cluster.log, self.next
            found = {one: log[one][at[one] : at[one] + self.chunk] for one in ready if len(log[one]) > at[one]}
            if found or loop.time() >= until:
                self.next.update({one: records[-1].offset + 1 for one, records in found.items()})
                return found
            self.arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.arrived.wait()

    def bring(self, partition: Partition, count: int = 1) -> None:
        log = self.cluster.log[partition]
        for _ in range(count):
            value = orjson.dumps({"id": f"{partition}@{len(log)}"})
            log.append(Record(partition, len(log), 0, None, value))
        self.arrived.set()


class Asking:
    """A judge that asks for a token and then takes a while; notes when it had the token of each event."""

    def __init__(self, ask: Callable[[Route], Awaitable[object]], *, seconds: float = 0.2) -> None:
        self.ask = ask
        self.seconds = seconds
        self.at: dict[str, dict[str, float]] = {"live": {}, "backfill": {}}
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        self.now[route.name] += 1
        self.most[route.name] = max(self.most[route.name], self.now[route.name])
        try:
            await self.ask(route)
            claim.begin()
            self.at[route.name][event.id] = asyncio.get_running_loop().time()
            await asyncio.sleep(self.seconds)
            claim.end(billed=True)
        finally:
            self.now[route.name] -= 1
        return Judgement(RiskLevel.NONE, route.services)


LIVE = Partition("live", 0)


def routes(live: int, backfill: int) -> Router:
    return Router(
        [
            Route("live", ("service",), When(topics=frozenset({"live"})), weight=live),
            Route("backfill", ("service",), weight=backfill),
        ]
    )


async def live_beside_backfill(
    judge: Asking, router: Router, *, seconds: float, rate: float, partitions: int = 1, window: int = 256
) -> list[float]:
    """How long each live event waited for its token, while a backfill without end is read beside it."""
    cluster = Cluster(0)
    source = Arriving(cluster)
    cluster.log[LIVE] = []
    for number in range(partitions):
        cluster.log[Partition("backfill", number)] = []
        source.bring(Partition("backfill", number), round(seconds * 55 / partitions) + 1500)
    chance = random.Random(7)
    loop = asyncio.get_running_loop()
    arrived: dict[str, float] = {}
    running = asyncio.create_task(
        engine(cluster, judge, router=router, source=source, max_in_flight=window).run(asyncio.Event())
    )
    while loop.time() < seconds:
        await asyncio.sleep(chance.expovariate(rate))
        source.bring(LIVE)
        arrived[f"{LIVE}@{len(arrived)}"] = loop.time()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return sorted(judge.at["live"].get(event, seconds) - at for event, at in arrived.items())


def tokens_of(bucket: Bucket) -> Callable[[Route], Awaitable[float]]:
    return lambda route: bucket.acquire(route.name, route.weight)


@pytest.mark.parametrize("partitions", [1, 30])
def test_live_events_do_not_wait_behind_an_endless_backfill(partitions: int) -> None:
    """At weights of 10 to 1, 50 tokens a second and a full window, 99 of 100 live events wait under half a second."""

    async def main() -> tuple[list[float], Asking]:
        judge = Asking(tokens_of(Bucket(50, jitter_seconds=0.03, clock=virtual_time.LoopClock())))
        waits = await live_beside_backfill(judge, routes(10, 1), seconds=60, rate=5, partitions=partitions)
        return waits, judge

    waits, judge = virtual_time.run(main())
    assert len(waits) > 250
    assert waits[len(waits) * 99 // 100] < 0.5
    assert waits[len(waits) // 2] < 0.1
    assert judge.most["backfill"] > 150
    assert sum(map(len, judge.at.values())) >= 0.97 * 60 * 50 / 1.03


def test_weights_decide_while_there_is_too_much_of_both() -> None:
    """Live events without end leave a backfill of weight 1 beside their 10 its eleventh of the tokens, and no less."""

    async def main() -> Asking:
        judge = Asking(tokens_of(Bucket(50, jitter_seconds=0.03, clock=virtual_time.LoopClock())))
        await live_beside_backfill(judge, routes(10, 1), seconds=60, rate=80, partitions=3)
        return judge

    judge = virtual_time.run(main())
    had = {name: len(at) for name, at in judge.at.items()}
    assert had["backfill"] / sum(had.values()) == pytest.approx(1 / 11, rel=0.1)


def test_a_backfill_that_gets_no_answers_does_not_stop_live_events() -> None:
    """While every backfill event in the window waits for ever, three quarters of it at most, live ones are judged."""

    async def main() -> tuple[list[float], Asking]:
        async def ask(route: Route) -> None:
            if route.name == "backfill":
                await asyncio.Event().wait()

        judge = Asking(ask)
        return await live_beside_backfill(judge, routes(2, 1), seconds=20, rate=40, window=40), judge

    waits, judge = virtual_time.run(main())
    assert judge.most["backfill"] == 30
    assert waits[-1] < 0.5


def test_without_heavier_lanes_a_light_one_has_all_of_the_window() -> None:
    """Weights that are all alike, or alone, cost no room."""

    async def main() -> Asking:
        judge = Asking(tokens_of(Bucket(50, jitter_seconds=0.03, clock=virtual_time.LoopClock())))
        await live_beside_backfill(judge, routes(3, 3), seconds=5, rate=1, window=40)
        return judge

    assert virtual_time.run(main()).most["backfill"] == 40


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), window=st.integers(1, 12))
def test_with_any_weights_every_record_ends_once_and_none_waits_for_ever(seed: int, window: int) -> None:
    """Whatever the weights, the delays, what is parked and what comes when, every record is judged once in time."""
    chance = random.Random(seed)
    names = [f"topic {number}" for number in range(chance.randrange(1, 5))]
    router = Router(
        [Route(name, ("s",), When(topics=frozenset({name})), weight=chance.choice([1, 1, 2, 50])) for name in names]
    )
    judged: Counter[str] = Counter()
    now, most, parks = 0, 0, chance.choice([0, 0.2])

    class Parking:
        async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
            nonlocal now, most
            judged[event.id] += 1
            now += 1
            most = max(most, now)
            await asyncio.sleep(chance.choice([0, 0.01, 0.2]))
            if chance.random() < parks:
                claim.park()
                await asyncio.sleep(chance.choice([0, 0.3, 3]))
                claim.unpark()
            now -= 1
            return Judgement(RiskLevel.NONE, route.services)

    async def main() -> None:
        cluster = Cluster(0)
        source = Arriving(cluster, chunk=chance.randrange(1, 30))
        partitions = [Partition(name, number) for name in names for number in range(chance.randrange(1, 3))]
        cluster.log |= {one: [] for one in partitions}
        stop = asyncio.Event()
        running = asyncio.create_task(
            engine(cluster, Parking(), router=router, source=source, max_in_flight=window).run(stop)
        )
        for _ in range(chance.randrange(1, 20)):
            source.bring(chance.choice(partitions), chance.randrange(1, 30))
            await asyncio.sleep(chance.choice([0, 0.1, 1]))
        async with asyncio.timeout(600):
            while any(cluster.offsets.get(one, Position(0)).offset < len(log) for one, log in cluster.log.items()):
                await asyncio.sleep(0.05)
        stop.set()
        await running
        assert judged == {f"{one}@{n}": 1 for one, log in cluster.log.items() for n in range(len(log))}

    virtual_time.run(main())
    assert parks or most <= window
