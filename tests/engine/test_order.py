"""Tests of the order in which verdicts leave: by key, by partition, or as they come."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.record import Partition
from tests import virtual_time
from tests.engine.memory import TOPIC, Cluster, MemorySink, MemoryUnit, ScriptedJudge, killed, stopped


if TYPE_CHECKING:
    from consumer.engine.order import Ordering
    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.routing import Route
    from consumer.verdict import Judgement


FIRST = Partition(TOPIC, 0)


def places(cluster: Cluster, ordering: Ordering) -> dict[tuple[int, bytes | None], list[int]]:
    """The offsets of the verdicts as they were written, by key or by partition; repetitions left out."""
    found: dict[tuple[int, bytes | None], list[int]] = defaultdict(list)
    for out in cluster.written:
        record = orjson.loads(out.value or b"")["record"]
        group = (record["partition"], out.key if ordering == "key" else None)
        if record["offset"] not in found[group]:
            found[group].append(record["offset"])
    return found


def filled(chance: random.Random, count: int) -> Cluster:
    """Records of few keys in two partitions; some have none."""
    cluster = Cluster(2)
    for n in range(count):
        key = chance.choice([b"a", b"b", b"c", b"c", b"c", None])
        cluster.produce(orjson.dumps({"id": f"e{n}"}), partition=n % 2, key=key)
    return cluster


@pytest.mark.parametrize("ordering", ["key", "partition"])
@pytest.mark.parametrize("exactly", [False, True])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_verdicts_leave_in_order(ordering: Ordering, exactly: bool, seed: int) -> None:  # noqa: FBT001  # a parameter of the test
    """However long calls take, and whenever the process is killed or stopped, the order of events is kept."""
    chance = random.Random(seed)
    cluster = filled(chance, 120)
    judge = ScriptedJudge(lambda _: asyncio.sleep(chance.choice([0.01, 0.1, 2.0])))

    def more() -> dict[str, object]:
        unit = MemoryUnit(cluster) if exactly else None
        sink = MemorySink(cluster, delay=lambda: 0.01)
        return {"ordering": ordering, "unit": unit, "verdicts": sink, "max_in_flight": 15}

    for _ in range(2):
        life = chance.choice([killed, stopped])
        virtual_time.run(life(cluster, judge, chance.uniform(0.2, 6.0), drain_seconds=chance.choice([0, 1]), **more()))
    virtual_time.run(stopped(cluster, judge, 120, **more()))
    found = places(cluster, ordering)
    assert sum(map(len, found.values())) == 120
    for (_, key), offsets in found.items():
        if ordering == "partition" or key is not None:
            assert offsets == sorted(offsets)
    if exactly:
        assert len(cluster.written) == 120


def test_one_stuck_key_does_not_stop_the_others() -> None:
    """With one call that never ends, a window of four goes on with all other keys, and that key alone waits."""
    cluster = Cluster()
    for n in range(200):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), key=b"stuck" if n % 10 == 3 else b"k%d" % n)

    async def answer(event: Event) -> None:
        await asyncio.sleep(10_000 if event.id == "e3" else 0.1)

    judge = ScriptedJudge(answer)
    virtual_time.run(killed(cluster, judge, 60, ordering="key", max_in_flight=4))
    assert len(cluster.written) == 180
    assert not any(out.key == b"stuck" for out in cluster.written)
    assert set(judge.judged.values()) == {1}


def test_a_planned_stop_pays_for_nothing_twice_where_order_is_kept() -> None:
    """What answers within the drain is not lost because one before it was not even sent: that one is sent, then."""
    cluster = Cluster()
    for n in range(12):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), key=b"k")
    gate = asyncio.Event()

    class Gated(ScriptedJudge):
        async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
            if event.id == "e0":
                await gate.wait()  # for its token of the quota
            return await super().judge(event, route, claim)

    judge = Gated(lambda _: asyncio.sleep(0.1))

    async def main() -> None:
        asyncio.get_running_loop().call_later(2.5, gate.set)
        await stopped(cluster, judge, 2, ordering="key", drain_seconds=5)

    virtual_time.run(main())
    assert [orjson.loads(out.value or b"")["event_id"] for out in cluster.written] == [f"e{n}" for n in range(12)]
    assert set(judge.judged.values()) == {1}


def test_what_stands_before_a_record_that_is_given_up_is_delivered() -> None:
    """A drain gives up what was not sent, and keeps what is on the wire before it, in the same key."""
    cluster = Cluster()
    for n in range(3):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), key=b"k")

    class Gated(ScriptedJudge):
        async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
            if event.id == "e2":
                await asyncio.Event().wait()  # for its token of the quota
            return await super().judge(event, route, claim)

    judge = Gated(lambda _: asyncio.sleep(2))
    virtual_time.run(stopped(cluster, judge, 1, ordering="key", drain_seconds=5))
    assert [orjson.loads(out.value or b"")["event_id"] for out in cluster.written] == ["e0", "e1"]
    virtual_time.run(stopped(cluster, ScriptedJudge(), 5, ordering="key"))
    assert set(judge.judged.values()) == {1}
    assert len(cluster.written) == 3


def test_what_waits_behind_a_record_that_is_given_up_is_judged_again() -> None:
    """Where the one before does not answer within the drain, those behind it leave with the next owner, in order."""
    cluster = Cluster()
    for n in range(6):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), key=b"k")
    hangs = True

    async def answer(event: Event) -> None:
        await asyncio.sleep(1000 if hangs and event.id == "e2" else 0.1)

    judge = ScriptedJudge(answer)
    virtual_time.run(stopped(cluster, judge, 2, ordering="key", drain_seconds=1))
    assert len(cluster.written) == 2
    hangs = False
    virtual_time.run(stopped(cluster, judge, 5, ordering="key"))
    assert [orjson.loads(out.value or b"")["event_id"] for out in cluster.written] == [f"e{n}" for n in range(6)]
    assert {event for event, count in judge.judged.items() if count > 1} == {"e2", "e3", "e4", "e5"}
