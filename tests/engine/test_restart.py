"""Tests of what a restart repeats: with a note beside the committed offset, only what was not done."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.engine.notes import read
from consumer.metrics import Metrics
from consumer.record import Partition, Position
from tests import virtual_time
from tests.engine.memory import (
    TOPIC,
    Cluster,
    MemorySink,
    MemorySource,
    ScriptedJudge,
    engine,
    killed,
    outcomes,
    stopped,
)


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.event import Event


FIRST = Partition(TOPIC, 0)


def test_a_kill_behind_a_stuck_record_repeats_that_record_only() -> None:
    """With one call that never ends, a kill after hours of work repeats it and nothing that was done above it."""
    cluster = Cluster()
    cluster.fill(2000)
    stuck = True

    async def answer(event: Event) -> None:
        await asyncio.sleep(10_000 if stuck and event.id == "e7" else 0.1)

    judge = ScriptedJudge(answer)
    virtual_time.run(killed(cluster, judge, 300))
    assert cluster.offsets[FIRST].offset == 7
    stuck = False
    virtual_time.run(killed(cluster, judge, 300))
    assert cluster.offsets[FIRST] == Position(2000, "")
    assert judge.judged["e7"] == 2
    assert Counter(judge.judged.values()) == {1: 1999, 2: 1}
    assert len(cluster.written) == 2000


def test_two_kills_in_a_row_repeat_no_more_than_one() -> None:
    """A life that dies before it has caught up forgets nothing of what the life before it had done."""
    cluster = Cluster()
    cluster.fill(400)
    stuck = True

    async def answer(event: Event) -> None:
        await asyncio.sleep(10_000 if stuck and event.id in {"e3", "e90"} else 0.1)

    judge = ScriptedJudge(answer)
    virtual_time.run(killed(cluster, judge, 60))
    assert cluster.offsets[FIRST].offset == 3
    # It reads no further than the first records, and dies.
    virtual_time.run(killed(cluster, judge, 5, source=MemorySource(cluster, chunk=1), max_in_flight=1))
    assert cluster.offsets[FIRST].offset == 3
    stuck = False
    virtual_time.run(killed(cluster, judge, 60))
    assert cluster.offsets[FIRST] == Position(400)
    assert {event: count for event, count in judge.judged.items() if count > 1} == {"e3": 3, "e90": 2}


def test_a_restart_without_progress_commits_what_it_found() -> None:
    """Where nothing was done, the next commit says what the last one said, but for the count of starts."""
    cluster = Cluster()
    cluster.fill(50)

    async def hang(event: Event) -> None:
        await asyncio.sleep(10_000 if int(event.id[1:]) % 5 == 0 else 0.1)

    judge = ScriptedJudge(hang)
    virtual_time.run(killed(cluster, judge, 60, max_in_flight=20))
    before = read(0, cluster.offsets[FIRST].metadata)
    virtual_time.run(killed(cluster, judge, 0.05))
    after = read(0, cluster.offsets[FIRST].metadata)
    assert before is not None
    assert after is not None
    assert before.done is not None
    assert after.done is not None
    assert (before.done.end, before.done.unfinished) == (after.done.end, after.done.unfinished)
    assert (before.deaths, after.deaths) == (0, 1)


def test_what_is_done_above_an_expired_position_stays_done() -> None:
    """Where retention took the record that a call hung on, the verdicts above it are not written again."""
    cluster = Cluster()
    cluster.fill(60)

    async def answer(event: Event) -> None:
        await asyncio.sleep(10_000 if event.id == "e3" else 0.1)

    judge = ScriptedJudge(answer)
    virtual_time.run(killed(cluster, judge, 60))
    assert cluster.offsets[FIRST].offset == 3
    del cluster.log[FIRST][:10]

    class Shortened(MemorySource):
        async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
            self.next = dict.fromkeys(positions, 10)
            return dict(self.next)

    virtual_time.run(killed(cluster, judge, 60, source=Shortened(cluster)))
    assert cluster.offsets[FIRST].offset == 60
    assert set(judge.judged.values()) == {1}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_a_kill_repeats_no_more_than_the_wire_and_one_commit(seed: int) -> None:
    """Killed at any moment, only events that were in flight, or done since the last commit, are judged again."""
    chance = random.Random(seed)
    cluster = Cluster(2)
    for n in range(300):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), partition=n % 2, gap=chance.choice([0, 0, 3]))
    judge = ScriptedJudge(lambda _: asyncio.sleep(chance.choice([0.01, 0.2, 1.0])))
    window = 12
    for _ in range(4):
        before = dict(judge.answered)
        virtual_time.run(killed(cluster, judge, chance.uniform(0.3, 3.0), max_in_flight=window))
        # At most the window at every moment of the last commit interval, and what was on the wire then.
        answered = sum(judge.answered.values()) - sum(before.values())
        repeated = sum(count - 1 for count in judge.answered.values())
        assert repeated <= 4 * (window + 12 * 10 + window)
        assert answered >= 0
    virtual_time.run(killed(cluster, judge, 120, max_in_flight=window))
    written = outcomes(cluster)
    assert all(written[p.partition, record.offset] for p, log in cluster.log.items() for record in log)


def test_a_foreign_note_is_ignored_and_counted() -> None:
    """Metadata that another program left beside the offset stops nothing, and is counted."""
    cluster, metrics = Cluster(), Metrics()
    cluster.fill(5)
    cluster.offsets[FIRST] = Position(2, "checkpoint=xyz")
    judge = ScriptedJudge()
    virtual_time.run(killed(cluster, judge, 5, metrics=metrics))
    assert sorted(judge.judged) == ["e2", "e3", "e4"]
    assert metrics.totals("commit_notes") == {("foreign",): 1.0}


def test_a_lane_that_can_note_no_more_waits_and_others_go_on() -> None:
    """A lane takes no more than a commit can note, others go on meanwhile, and so does it when records are done."""
    cluster, metrics = Cluster(2), Metrics()
    for n in range(1500):
        cluster.produce(b'{"id":"e%d"}' % n, partition=0, gap=20)
    for n in range(3000):
        cluster.produce(b'{"id":"x%d"}' % n, partition=1)
    judge = ScriptedJudge(lambda event: asyncio.sleep(50 if event.id[0] == "e" else 0.1))

    async def main() -> None:
        stop = asyncio.Event()
        made = engine(cluster, judge, metrics=metrics, source=MemorySource(cluster, chunk=200), max_in_flight=2000)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(40)
            assert 1100 < sum(event[0] == "e" for event in judge.judged) < 1250
            assert cluster.offsets[Partition(TOPIC, 1)].offset == 3000
            await asyncio.sleep(80)
            stop.set()

    virtual_time.run(main())
    assert cluster.offsets[FIRST].offset == cluster.log[FIRST][-1].offset + 1
    assert metrics.totals("lane_stalls")["ugc",] >= 1
    assert set(judge.judged.values()) == {1}


def test_a_stop_behind_a_stuck_record_judges_nothing_twice() -> None:
    """A planned stop while one call hangs repeats that call at most: what was done above it stays done."""
    cluster = Cluster()
    cluster.fill(300)
    hangs = True

    async def answer(event: Event) -> None:
        await asyncio.sleep(1000 if hangs and event.id == "e5" else 0.1)

    judge = ScriptedJudge(answer)

    virtual_time.run(stopped(cluster, judge, 2, drain_seconds=1, verdicts=MemorySink(cluster, delay=lambda: 0.05)))
    hangs = False
    virtual_time.run(killed(cluster, judge, 60))
    assert {event for event, count in judge.judged.items() if count > 1} == {"e5"}
    assert len(judge.judged) == 300


@pytest.mark.parametrize("takes", [200, 0])
def test_a_broker_that_takes_less_than_it_says_still_has_the_offsets(takes: int) -> None:
    """A refused note costs no progress: the bare offset is committed at once, and notes become shorter, or none."""
    cluster, metrics = Cluster(), Metrics()
    cluster.fill(3000)
    chance = random.Random(1)
    judge = ScriptedJudge(lambda event: asyncio.sleep(60 if int(event.id[1:]) % 7 == 3 else chance.uniform(0.1, 3)))
    source = MemorySource(cluster, chunk=500)
    source.takes_characters = takes
    virtual_time.run(killed(cluster, judge, 900, source=source, metrics=metrics, max_in_flight=600))
    assert cluster.offsets[FIRST] == Position(3000, "")
    assert metrics.totals("commits")["note_refused",] >= 1
    assert all(len(at.metadata) <= takes for commit in source.commits for at in commit.values())
    assert set(judge.judged.values()) == {1}
