"""Tests of records that kill the process: they are found, and set aside, and no other record pays for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from consumer.engine.notes import read
from consumer.record import Partition
from tests import virtual_time
from tests.engine.memory import TOPIC, Cluster, MemoryUnit, ScriptedJudge, engine, killed, outcomes, stopped


if TYPE_CHECKING:
    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.routing import Route
    from consumer.verdict import Judgement


FIRST = Partition(TOPIC, 0)


class Deadly(ScriptedJudge):
    """The process dies as soon as it looks at one of these events."""

    def __init__(self, *events: str, seconds: float = 0.1) -> None:
        super().__init__(lambda _: asyncio.sleep(seconds))
        self.events = events
        self.died = asyncio.Event()

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        if event.id in self.events:
            self.died.set()
            await asyncio.Event().wait()
        return await super().judge(event, route, claim)


async def lives(cluster: Cluster, *deadly: str, most: int = 40, exactly: bool = False) -> tuple[int, ScriptedJudge]:
    """Start the program again each time that it dies, until all is done; returns how often it died."""
    judged = ScriptedJudge()
    for deaths in range(most):
        judge = Deadly(*deadly)
        stop = asyncio.Event()
        made = engine(cluster, judge, unit=MemoryUnit(cluster) if exactly else None, max_in_flight=8)
        running = asyncio.create_task(made.run(stop))
        done = asyncio.create_task(_done(cluster))
        died = asyncio.create_task(judge.died.wait())
        await asyncio.wait({done, died}, return_when=asyncio.FIRST_COMPLETED, timeout=600)
        for event, count in judge.judged.items():
            judged.judged[event] += count
        if done.done():
            stop.set()
            await running
            died.cancel()
            return deaths, judged
        for task in (running, done):
            task.cancel()
        await asyncio.wait({running, done})
    pytest.fail(f"it died {most} times")


async def _done(cluster: Cluster) -> None:
    ends = {partition: log[-1].offset + 1 for partition, log in cluster.log.items()}
    while any(cluster.offsets.get(p, (0,))[0] < end for p, end in ends.items()):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("exactly", [False, True])
def test_a_record_that_kills_the_process_becomes_a_dead_letter(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """After a few starts the record at fault is set aside with its reason, and all others have their verdicts."""
    cluster = Cluster()
    cluster.fill(60)
    deaths, _ = virtual_time.run(lives(cluster, "e31", exactly=exactly))
    found = outcomes(cluster)
    assert len(found) == 60
    assert {place[1] for place, one in found.items() if "dead letter" in one} == {31}
    [letter] = [out for out in cluster.written if out.topic == "dead"]
    assert dict(letter.headers)["moderation-reason"] == b"kills_process"
    assert deaths <= 6


def test_several_deadly_records_are_all_found() -> None:
    """Also where two of them are close together, and one in another partition."""
    cluster = Cluster(2)
    cluster.fill(120)
    virtual_time.run(lives(cluster, "e40", "e42", "e81"))
    found = outcomes(cluster)
    assert len(found) == 120
    assert {place for place, one in found.items() if "dead letter" in one} == {(0, 20), (0, 21), (1, 40)}


def test_starts_that_get_on_are_no_deaths() -> None:
    """A process that is killed again and again, but gets something done each time, is not slowed down."""
    cluster = Cluster()
    cluster.fill(5000)
    judge = ScriptedJudge(lambda _: asyncio.sleep(0.1))
    for _ in range(8):
        virtual_time.run(killed(cluster, judge, 1))
        note = read(cluster.offsets[FIRST].offset, cluster.offsets[FIRST].metadata)
        assert note is not None
        assert note.deaths == 0
    assert judge.most > 5


def test_planned_stops_are_no_deaths() -> None:
    """Any number of planned stops in a hold, with nothing done in between, leaves the count at nought."""
    cluster = Cluster()
    cluster.fill(20)
    for _ in range(5):
        virtual_time.run(stopped(cluster, ScriptedJudge(), 1, paused=lambda: True))
    assert cluster.offsets[FIRST].metadata == ""


def test_kills_in_a_hold_make_no_dead_letter() -> None:
    """A record that waits for a hold to end is no suspect, however often the process is killed meanwhile."""
    cluster = Cluster()
    cluster.fill(20)
    waits = ScriptedJudge(lambda _: asyncio.sleep(100_000))
    for _ in range(12):
        virtual_time.run(killed(cluster, waits, 60))
    virtual_time.run(stopped(cluster, ScriptedJudge(), 60))
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 20


def test_the_suspect_is_noted_before_it_is_tried() -> None:
    """Once the process has died three times without progress, each record is named in a commit before it is tried."""
    cluster = Cluster()
    cluster.fill(10)
    hang = ScriptedJudge(lambda _: asyncio.sleep(100))
    for _ in range(3):
        virtual_time.run(killed(cluster, hang, 0.5))
    tried: list[tuple[str, int | None]] = []

    async def answer(event: Event) -> None:
        position = cluster.offsets[FIRST]
        note = read(position.offset, position.metadata)
        tried.append((event.id, None if note is None else note.suspect))

    judge = ScriptedJudge(answer)
    virtual_time.run(stopped(cluster, judge, 30))
    assert tried == [(f"e{n}", n) for n in range(10)]
    assert judge.most == 1
    assert orjson.loads(cluster.written[0].value or b"")["event_id"] == "e0"
