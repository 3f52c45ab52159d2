"""Tests of events that wait for minutes: they make room in the window, hold up no stop, and are settled in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from consumer.record import Partition
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time
from tests.engine.memory import TOPIC, Cluster, ScriptedJudge, engine


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.record import Record
    from consumer.routing import Route


class ParkingJudge(ScriptedJudge):
    """Submits in a tenth of a second, then waits for the result for a minute."""

    def __init__(self, seconds: float = 60) -> None:
        super().__init__()
        self.seconds = seconds
        self.parked = 0
        self.most_parked = 0

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        claim.begin()
        self.judged[event.id] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.1)
        self.now -= 1
        claim.end(billed=True)
        claim.park()
        self.parked += 1
        self.most_parked = max(self.most_parked, self.parked)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.parked -= 1
            claim.unpark()
        self.answered[event.id] += 1
        return Judgement(RiskLevel.NONE, route.services)


def test_parked_events_make_room_for_others() -> None:
    """A hundred events that wait a minute each, in a window of ten, are all done after little more than a minute."""
    cluster, judge = Cluster(), ParkingJudge()
    cluster.fill(100)

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(65, stop.set)
        await engine(cluster, judge, max_in_flight=10).run(stop)

    virtual_time.run(main())
    assert len(cluster.written) == 100
    assert judge.most == 10
    assert judge.most_parked == 100


def test_a_stop_does_not_wait_for_parked_events() -> None:
    """A stop while events wait for their results takes no longer than what is on the wire."""
    cluster, judge = Cluster(), ParkingJudge()
    cluster.fill(5)

    async def main() -> float:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(10, stop.set)
        await engine(cluster, judge).run(stop)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == pytest.approx(10, abs=0.5)
    assert cluster.written == []
    assert cluster.offsets[Partition(TOPIC, 0)].offset == 0


def test_a_stop_does_not_wait_for_what_is_parked_while_it_drains() -> None:
    """An event whose submission is answered during the drain is left to the next owner, who has it at no cost."""
    cluster, judge = Cluster(), ParkingJudge()
    cluster.fill(5)

    async def main() -> float:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.15, stop.set)
        await engine(cluster, judge).run(stop)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) < 1
    assert judge.most_parked == 5
    assert cluster.written == []


def test_what_was_noted_is_settled_after_its_commit() -> None:
    """Notes about an event may go only when its offset is committed, and then they do."""
    cluster, judge = Cluster(), ParkingJudge(seconds=1)
    cluster.fill(20)
    settled: list[int] = []

    async def settle(records: Sequence[Record]) -> None:
        for record in records:
            assert cluster.offsets[record.partition].offset > record.offset
            settled.append(record.offset)

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(20, stop.set)
        await engine(cluster, judge, settled=settle).run(stop)

    virtual_time.run(main())
    assert sorted(settled) == list(range(20))


def test_a_revoked_event_that_is_parked_leaves_the_count_right() -> None:
    """After a revocation with parked events the window is whole again."""
    cluster, judge = Cluster(), ParkingJudge()
    cluster.fill(30)

    async def main() -> None:
        made = engine(cluster, judge, max_in_flight=5)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(3)
            assert judge.parked == 30
            await made.revoked([Partition(TOPIC, 0)])
            await asyncio.sleep(1)
            assert (judge.parked, made.in_flight) == (0, 0)
            judge.seconds, judge.most = 1, 0
            made.assigned([Partition(TOPIC, 0)])
            await asyncio.sleep(10)
            stop.set()

    virtual_time.run(main())
    assert judge.most == 5
    assert len(cluster.written) == 30
