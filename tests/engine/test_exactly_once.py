"""Tests of exactly once: each verdict is in one committed transaction, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import Fenced, StartError, TransactionFailed, TransactionRefused
from consumer.record import Partition, Position
from tests import virtual_time
from tests.engine.memory import (
    DEAD,
    TOPIC,
    Cluster,
    MemorySource,
    MemoryUnit,
    ScriptedJudge,
    engine,
    killed,
    outcomes,
    stopped,
)
from tests.engine.test_engine import run_until_done
from tests.engine.test_takeover import Notary


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.event import Event
    from consumer.record import OutRecord


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_every_verdict_is_written_once(seed: int) -> None:
    """Through lost answers, failed transactions, kills and stops, each record has one verdict, no more and no less."""
    chance = random.Random(seed)
    cluster = Cluster(3)
    cluster.fill(150)
    judge = ScriptedJudge(lambda _: asyncio.sleep(chance.choice([0.01, 0.1, 1.0])))

    def trouble(share: float) -> Callable[..., Exception | None]:
        return lambda *_: TransactionFailed("no answer") if chance.random() < share else None

    for _ in range(3):
        unit = MemoryUnit(cluster, before=trouble(0.2), after=trouble(0.2))
        life = chance.choice([killed, stopped])
        virtual_time.run(life(cluster, judge, chance.uniform(0.1, 4.0), unit=unit))

    async def last() -> None:
        await run_until_done(engine(cluster, judge, unit=MemoryUnit(cluster)), cluster)

    virtual_time.run(last())
    found = outcomes(cluster)
    assert len(found) == 150
    assert all(one == ["verdict"] for one in found.values())


def test_a_failed_transaction_costs_nothing_to_judge() -> None:
    """What a failed transaction was to commit is sent again, or known to be committed; none of it is judged again."""
    cluster = Cluster()
    cluster.fill(100)
    judge = ScriptedJudge(lambda _: asyncio.sleep(0.05))
    failing = iter([True, False] * 1000)
    unit = MemoryUnit(
        cluster,
        before=lambda _: TransactionFailed("lost before") if next(failing) else None,
        after=lambda: TransactionFailed("lost after") if next(failing) else None,
    )
    virtual_time.run(stopped(cluster, judge, 60, unit=unit))
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 100
    assert set(judge.judged.values()) == {1}


def test_one_refused_verdict_becomes_a_dead_letter_and_its_neighbours_go_on() -> None:
    """A verdict that its topic does not take is found among the others of its transaction, and only it is refused."""
    cluster = Cluster()
    for n in range(64):
        cluster.produce(orjson.dumps({"id": "x" * 2000 + str(n) if n in {5, 41} else f"e{n}"}))
    judge = ScriptedJudge()
    unit = MemoryUnit(
        cluster,
        before=lambda records: (
            TransactionRefused("too large")
            if any(out.topic != DEAD and len(out.value or b"") > 2000 for out in records)
            else None
        ),
    )
    virtual_time.run(stopped(cluster, judge, 60, unit=unit, max_in_flight=64))
    found = outcomes(cluster)
    assert {place[1] for place, one in found.items() if one == ["dead letter"]} == {5, 41}
    assert sorted(map(len, found.values())) == [1] * 64
    assert set(judge.judged.values()) == {1}


def test_a_dead_letter_too_large_for_its_topic_is_shortened() -> None:
    """Where even the dead letter is refused, a shorter one says what the whole one was."""
    cluster = Cluster()
    cluster.produce(b"not JSON " * 5000)
    unit = MemoryUnit(cluster, largest=20_000)
    virtual_time.run(stopped(cluster, ScriptedJudge(), 60, unit=unit))
    [letter] = cluster.written
    headers = dict(letter.headers)
    assert headers["moderation-truncated"] == b"45000"
    assert 0 < len(letter.value or b"") <= 20_000


def test_a_fenced_process_writes_nothing_more_and_joins_anew() -> None:
    """When another process has the unit, nothing more is judged or written here, and the group is joined anew."""
    cluster = Cluster()
    cluster.fill(500)
    judge = ScriptedJudge(lambda _: asyncio.sleep(0.2))
    unit, source = MemoryUnit(cluster), MemorySource(cluster)

    async def main() -> None:
        running = asyncio.create_task(engine(cluster, judge, unit=unit, source=source).run(asyncio.Event()))
        await asyncio.sleep(3)
        await MemoryUnit(cluster).fence()
        written, judged = len(cluster.written), sum(judge.judged.values())
        await asyncio.sleep(5)
        assert len(cluster.written) == written
        assert sum(judge.judged.values()) <= judged + 2 * 10
        assert source.rejoined == 1
        running.cancel()

    virtual_time.run(main())


def test_a_planned_stop_in_the_middle_of_a_failed_transaction_pays_for_nothing_twice() -> None:
    """While it drains, a member of the group still finds out what was committed, and writes what was not."""
    cluster = Cluster()
    cluster.fill(40)
    judge = ScriptedJudge(lambda _: asyncio.sleep(0.05))
    fails = iter([False] * 3 + [True] + [False] * 100)
    unit = MemoryUnit(cluster, before=lambda _: TransactionFailed("no answer") if next(fails) else None)
    virtual_time.run(stopped(cluster, judge, 0.35, unit=unit))
    assert len(cluster.written) == sum(judge.judged.values())
    virtual_time.run(stopped(cluster, judge, 20, unit=MemoryUnit(cluster)))
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 40
    assert set(judge.judged.values()) == {1}


def test_who_is_no_member_any_more_does_not_fence_the_next_owner() -> None:
    """After a failed transaction a process that the group has replaced leaves the unit to the one that has it."""
    cluster = Cluster()
    cluster.fill(100)
    source, rightful = MemorySource(cluster), MemoryUnit(cluster)

    def lost(_: object) -> Exception | None:
        if len(cluster.written) < 20:
            return None
        source.member = False
        cluster.owner = rightful
        return TransactionFailed("an answer that says nothing")

    judge = ScriptedJudge(lambda _: asyncio.sleep(0.05))
    virtual_time.run(killed(cluster, judge, 30, unit=MemoryUnit(cluster, before=lost), source=source))
    assert cluster.owner is rightful


def test_a_fence_that_is_under_way_ends_with_the_partitions() -> None:
    """Who fences anew after a failure and loses its partitions meanwhile does not take the unit from the next owner."""

    class Slow(MemoryUnit):
        """Takes a minute for every fence but the first."""

        async def fence(self) -> None:
            await super().fence()
            self.seconds = 60

    cluster = Cluster()
    cluster.fill(20)
    unit = Slow(cluster, before=lambda _: TransactionFailed("lost"))
    next_owner = MemoryUnit(cluster)

    async def main() -> None:
        made = engine(cluster, ScriptedJudge(), unit=unit)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(65)
            await made.revoked([Partition(TOPIC, 0)])
            assert unit.stopped
            await next_owner.fence()
            await asyncio.sleep(120)
            stop.set()

    virtual_time.run(main())
    assert cluster.owner is next_owner
    assert cluster.written == []


def test_an_offset_that_somebody_else_committed_is_left_to_them() -> None:
    """Where the offsets are neither those before a failed transaction nor its own, another owner is at work."""
    cluster = Cluster()
    cluster.fill(100)
    judge = ScriptedJudge(lambda _: asyncio.sleep(0.2))
    source = MemorySource(cluster)

    def meddle(records: object) -> Exception | None:
        if len(cluster.written) > 20:
            cluster.offsets[Partition(TOPIC, 0)] = Position(77, "theirs")
            return TransactionFailed("no answer")
        return None

    virtual_time.run(killed(cluster, judge, 30, unit=MemoryUnit(cluster, before=meddle), source=source))
    assert cluster.offsets[Partition(TOPIC, 0)] == Position(77, "theirs")
    assert source.rejoined == 1


def test_what_the_next_owner_committed_alike_is_not_taken_for_our_own() -> None:
    """Where another owner has committed the very position that was attempted, the other partitions give it away."""
    cluster = Cluster(2)
    cluster.produce(orjson.dumps({"id": "e0"}), partition=0)
    for n in range(30):
        cluster.produce(orjson.dumps({"id": f"x{n}"}), partition=1)
    first, second = cluster.log
    source = MemorySource(cluster)

    async def answer(event: Event) -> None:
        await asyncio.sleep(0.5 if event.id == "e0" else 1000)

    def replaced(records: Sequence[OutRecord]) -> Exception | None:
        if not records:
            return None
        cluster.offsets[first] = Position(1)  # as was attempted here
        cluster.offsets[second] = Position(30)
        return TransactionFailed("it took too long")

    unit = MemoryUnit(cluster, before=replaced)
    virtual_time.run(killed(cluster, ScriptedJudge(answer), 30, unit=unit, source=source))
    assert source.rejoined == 1


def test_no_transaction_shows_that_the_group_counts_on_us() -> None:
    """A process that was replaced can commit until its unit is fenced: only the group's own word is a proof."""
    cluster = Cluster()
    cluster.fill(30)
    source, proofs = MemorySource(cluster), Notary()

    async def main() -> None:
        judge = ScriptedJudge(lambda _: asyncio.sleep(0.3))
        made = engine(cluster, judge, unit=MemoryUnit(cluster), source=source, proofs=proofs, max_in_flight=1)
        running = asyncio.create_task(made.run(asyncio.Event()))
        await asyncio.sleep(2)
        source.member, proofs.due = False, True
        before, written = len(proofs.proofs), len(cluster.written)
        await asyncio.sleep(3)
        assert len(cluster.written) > written
        assert len(proofs.proofs) == before
        running.cancel()

    virtual_time.run(main())


def test_who_stands_by_does_not_ask_the_group() -> None:
    """Without partitions there is nothing to prove, and nothing is asked, however due a proof may be."""
    cluster, proofs, asked = Cluster(), Notary(), []

    class Asked(MemorySource):
        async def vouch(self) -> bool:
            asked.append(True)
            return True

    async def main() -> None:
        source = Asked(cluster)
        proofs.due = True
        made = engine(cluster, ScriptedJudge(), unit=MemoryUnit(cluster), source=source, proofs=proofs)
        running = asyncio.create_task(made.run(asyncio.Event()))
        await asyncio.sleep(1)
        await made.revoked(list(cluster.log))
        asked.clear()
        await asyncio.sleep(5)
        assert not asked
        running.cancel()

    virtual_time.run(main())


def test_brokers_that_take_no_notes_cannot_promise_exactly_once() -> None:
    """Without room for a note the program does not start, and says what has to be raised."""
    cluster = Cluster()
    source = MemorySource(cluster)
    source.metadata_limit = 10
    with pytest.raises(ExceptionGroup) as caught:
        virtual_time.run(stopped(cluster, ScriptedJudge(), 1, unit=MemoryUnit(cluster), source=source))
    assert caught.group_contains(StartError, match="exactly_once")


def test_the_first_write_of_an_owner_is_its_fence() -> None:
    """Before it reads where the group stands, a new owner has fenced the last one, so that nothing can change it."""
    cluster = Cluster()
    cluster.fill(40)
    old, seen = MemoryUnit(cluster), []
    virtual_time.run(old.fence())

    class Watched(MemorySource):
        async def committed(self, partitions):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # as in the class above it
            with pytest.raises(Fenced):
                await old.transact([], {Partition(TOPIC, 0): Position(5)})
            seen.append(True)
            return await super().committed(partitions)

    virtual_time.run(stopped(cluster, ScriptedJudge(), 5, unit=MemoryUnit(cluster), source=Watched(cluster)))
    assert seen == [True]
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 40
