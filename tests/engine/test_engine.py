"""Tests of the flow: every record has its outcome, nothing is committed too early, nothing stands in line for long."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ContentRefused, DeliveryRefused
from consumer.metrics import Metrics
from consumer.record import OutRecord, Partition, Position
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time
from tests.engine.memory import DEAD, TOPIC, Cluster, MemorySink, MemorySource, ScriptedJudge, engine, outcomes


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.engine.engine import Engine
    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.routing import Route


async def run_until_done(made: Engine, cluster: Cluster, *, limit_seconds: float = 600) -> None:
    """Run an engine until all of the log is committed, then stop it."""
    stop = asyncio.Event()

    async def watch() -> None:
        ends = {partition: log[-1].offset + 1 for partition, log in cluster.log.items() if log}
        async with asyncio.timeout(limit_seconds):
            while any(cluster.offsets.get(partition, Position(0)).offset < end for partition, end in ends.items()):
                await asyncio.sleep(0.05)
        stop.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        tasks.create_task(made.run(stop))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 4), window=st.integers(1, 30))
def test_every_record_ends_once_and_no_commit_passes_one(seed: int, partitions: int, window: int) -> None:
    """With answers in any order, each record becomes one verdict or dead letter before its offset is committed."""
    chance = random.Random(seed)
    cluster = Cluster(partitions)
    for n in range(chance.randrange(1, 120)):
        bad = chance.random() < 0.2
        value = b"\xff not json" if bad else orjson.dumps({"id": f"e{n}"})
        cluster.produce(value, partition=chance.randrange(partitions), gap=chance.choice([0, 0, 0, 1, 7]))

    async def answer(event: Event) -> Judgement | None:
        await asyncio.sleep(chance.choice([0, 0.01, 0.3, 2]))
        if chance.random() < 0.1:
            raise ContentRefused("no", code="400")
        return None

    source = MemorySource(cluster, chunk=chance.randrange(1, 40))

    def nothing_unfinished_below(positions: Mapping[Partition, Position]) -> None:
        written = outcomes(cluster)
        for partition, position in positions.items():
            for record in cluster.log[partition]:
                if record.offset < position.offset:
                    assert (partition.partition, record.offset) in written

    source.check = nothing_unfinished_below
    sink = MemorySink(cluster, delay=lambda: chance.choice([0, 0.005, 0.5]))

    async def main() -> None:
        made = engine(
            cluster, ScriptedJudge(answer), source=source, verdicts=sink, dead_letters=sink, max_in_flight=window
        )
        await run_until_done(made, cluster)

    virtual_time.run(main())
    written = outcomes(cluster)
    for partition, log in cluster.log.items():
        for record in log:
            assert len(written[partition.partition, record.offset]) == 1


def test_one_slow_call_holds_up_nothing() -> None:
    """While one call takes a minute, all other events are judged and delivered."""
    cluster = Cluster()
    cluster.fill(200)

    async def answer(event: Event) -> None:
        await asyncio.sleep(60 if event.id == "e3" else 0.1)

    async def main() -> int:
        made = engine(cluster, ScriptedJudge(answer), max_in_flight=10)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(10)
            done = len(cluster.written)
            assert cluster.offsets[Partition(TOPIC, 0)].offset == 3
            await asyncio.sleep(55)
            stop.set()
        return done

    assert virtual_time.run(main()) == 199
    assert cluster.offsets[Partition(TOPIC, 0)].offset == 200


def test_the_window_is_never_wider_than_configured() -> None:
    """No more than `max_in_flight` events are with the service at any time, and all of the window is used."""
    cluster = Cluster(3)
    cluster.fill(300)

    async def answer(event: Event) -> None:
        await asyncio.sleep(0.5)

    judge = ScriptedJudge(answer)

    async def main() -> None:
        await run_until_done(engine(cluster, judge, max_in_flight=17), cluster)

    virtual_time.run(main())
    assert judge.most == 17


def test_memory_is_bounded_by_bytes() -> None:
    """With a slow service no more records are held than the memory budget has room for."""
    cluster = Cluster(4)
    for n in range(400):
        cluster.produce(orjson.dumps({"id": f"e{n}", "text": "x" * 700}), partition=n % 4)
    held: list[int] = []

    async def answer(event: Event) -> None:
        await asyncio.sleep(1)
        held.append(int(made_metrics.gauge("in_flight_bytes").value))

    made_metrics = Metrics()

    async def main() -> None:
        made = engine(
            cluster,
            ScriptedJudge(answer),
            source=MemorySource(cluster, chunk=10),
            metrics=made_metrics,
            max_in_flight=1000,
            memory_budget_bytes=30_000,
            fetch_bytes=10_000,
        )
        await run_until_done(made, cluster)

    virtual_time.run(main())
    assert 20_000 < max(held) <= 32_000


def test_a_record_larger_than_the_budget_is_taken_alone() -> None:
    """One record larger than all the memory allowed is still judged."""
    cluster = Cluster()
    cluster.produce(orjson.dumps({"id": "large", "text": "x" * 50_000}))
    cluster.produce(orjson.dumps({"id": "small"}))
    judge = ScriptedJudge()

    async def main() -> None:
        made = engine(
            cluster, judge, source=MemorySource(cluster, chunk=1), memory_budget_bytes=20_000, fetch_bytes=20_000
        )
        await run_until_done(made, cluster)

    virtual_time.run(main())
    assert dict(judge.judged) == {"large": 1, "small": 1}


def test_a_dead_letter_has_the_original_bytes_and_says_why() -> None:
    """A malformed record keeps key, value and headers to the byte, and its headers name place, stage and reason."""
    cluster = Cluster()
    record = cluster.produce(b"{\xff broken", key=b"\x01k")
    cluster.produce(orjson.dumps({"id": "good"}))

    async def main() -> None:
        await run_until_done(engine(cluster, ScriptedJudge()), cluster)

    virtual_time.run(main())
    [letter] = [out for out in cluster.written if out.topic == DEAD]
    assert (letter.key, letter.value) == (record.key, record.value)
    assert letter.headers[: len(record.headers)] == record.headers
    ours = dict(letter.headers)
    assert ours["moderation-topic"] == b"ugc"
    assert ours["moderation-offset"] == b"0"
    assert ours["moderation-stage"] == b"decode"
    assert ours["moderation-reason"] == b"malformed"
    assert len(cluster.written) == 2


def test_an_unforeseen_error_is_a_dead_letter_without_content(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug met by one event stops no other, and neither its headers nor the log repeat what the user wrote."""
    cluster = Cluster()
    cluster.produce(orjson.dumps({"id": "secret words of a user"}))
    cluster.produce(orjson.dumps({"id": "other"}))

    async def answer(event: Event) -> None:
        if event.id != "other":
            raise KeyError(event.id)

    async def main() -> None:
        await run_until_done(engine(cluster, ScriptedJudge(answer)), cluster)

    virtual_time.run(main())
    [letter] = [out for out in cluster.written if out.topic == DEAD]
    assert dict(letter.headers)["moderation-reason"] == b"unexpected"
    assert b"secret" not in b"".join(value for _, value in letter.headers)
    assert "secret" not in "".join(capsys.readouterr())
    assert len(cluster.written) == 2


@pytest.mark.parametrize(("skip", "expected"), [(True, 0), (False, 1)])
def test_a_null_value_is_skipped_or_kept_as_configured(skip: bool, expected: int) -> None:  # noqa: FBT001  # a parameter of the test
    """A tombstone is skipped and counted, or becomes a dead letter that says so; either way the flow goes on."""
    cluster = Cluster()
    cluster.produce(None, key=b"k")
    cluster.produce(orjson.dumps({"id": "good"}))

    async def main() -> None:
        await run_until_done(engine(cluster, ScriptedJudge(), skip_null=skip), cluster)

    virtual_time.run(main())
    letters = [out for out in cluster.written if out.topic == DEAD]
    assert len(letters) == expected
    assert all(dict(letter.headers)["moderation-null-value"] == b"true" for letter in letters)
    assert len(cluster.written) == 1 + expected


def test_a_stop_drains_what_is_on_the_wire_and_judges_nothing_twice() -> None:
    """Stopped in mid-stream and started again, every event was judged exactly once."""
    cluster = Cluster(2)
    cluster.fill(300)
    judge = ScriptedJudge(lambda _: _later(0.7))

    async def first() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(2.0, stop.set)
        await engine(cluster, judge, max_in_flight=50).run(stop)

    virtual_time.run(first())
    half = sum(judge.answered.values())
    assert 0 < half < 300
    assert sum(position.offset for position in cluster.offsets.values()) == half
    virtual_time.run(_all_of(cluster, judge))
    assert set(judge.judged.values()) == {1}
    assert len(judge.judged) == 300


def test_a_stop_waits_no_longer_than_its_limit() -> None:
    """A call that does not answer within the drain time is left to the next start; nothing of it is committed."""
    cluster = Cluster()
    cluster.fill(3)
    judge = ScriptedJudge(lambda event: _later(1000 if event.id == "e1" else 0.1))

    async def main() -> float:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, stop.set)
        await engine(cluster, judge, drain_seconds=4).run(stop)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == pytest.approx(5, abs=0.2)
    assert cluster.offsets[Partition(TOPIC, 0)].offset == 1


def test_a_kill_loses_nothing() -> None:
    """Cancelled at any moment and started again, every record has at least one outcome."""
    cluster = Cluster(2)
    cluster.fill(120)
    judge = ScriptedJudge(lambda _: _later(0.3))

    async def killed(after: float) -> None:
        running = asyncio.create_task(engine(cluster, judge).run(asyncio.Event()))
        await asyncio.sleep(after)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    for after in (0.05, 0.42, 0.9, 1.7):
        virtual_time.run(killed(after))
    virtual_time.run(_all_of(cluster, judge))
    assert all(outcomes(cluster)[n % 2, n // 2] for n in range(120))


def test_nothing_is_started_for_a_revoked_partition() -> None:
    """From the moment a partition is revoked no further event of it is judged; what was on the wire is delivered."""
    cluster = Cluster(2)
    cluster.fill(100)
    judge = ScriptedJudge(lambda _: _later(1.0))
    source = MemorySource(cluster)

    async def main() -> None:
        made = engine(cluster, judge, source=source, max_in_flight=10)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(1.5)
            before = {event for event in judge.judged if int(event[1:]) % 2 == 0}
            await made.revoked([Partition(TOPIC, 0)])
            at = cluster.offsets[Partition(TOPIC, 0)].offset
            assert {event for event in judge.judged if int(event[1:]) % 2 == 0} == before
            assert at == len(before)
            await asyncio.sleep(5)
            assert {event for event in judge.judged if int(event[1:]) % 2 == 0} == before
            stop.set()

    virtual_time.run(main())


def test_an_answer_for_a_lost_partition_is_discarded_and_counted() -> None:
    """An answer that comes after the drain's end is not delivered; that it was paid in vain is counted."""
    cluster, metrics = Cluster(), Metrics()
    cluster.fill(1)
    judge = ScriptedJudge(lambda _: _later(5.0))

    async def main() -> None:
        made = engine(cluster, judge, metrics=metrics, drain_seconds=1)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(1)
            await made.revoked([Partition(TOPIC, 0)])
            await asyncio.sleep(10)
            stop.set()

    virtual_time.run(main())
    assert cluster.written == []
    assert b'moderation_discarded_answers_total{service="service"} 1.0' in metrics.render()


def test_while_paused_nothing_is_taken_and_the_membership_is_kept() -> None:
    """During a hold no record is taken beside the one that waits for its end, yet the source is polled all the time."""
    cluster = Cluster()
    cluster.fill(10)
    over = asyncio.Event()
    judge, source = ScriptedJudge(lambda _: _unless(over)), MemorySource(cluster, chunk=1)

    async def main() -> None:
        made = engine(cluster, judge, source=source, paused=lambda: not over.is_set())
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(3600)
            assert len(judge.judged) == 1
            assert len(source.polled_ready) >= 3600
            over.set()
            await asyncio.sleep(5)
            stop.set()

    virtual_time.run(main())
    assert len(judge.judged) == 10


def test_a_hold_outlives_a_rebalance_by_no_longer_than_its_cause() -> None:
    """When those who wait for the end of a hold are given up with their partition, others come to find out about it."""
    cluster = Cluster()
    cluster.fill(3)
    holding = repaired = False

    class Gate(ScriptedJudge):
        async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
            nonlocal holding
            while not repaired:
                holding = True
                await asyncio.sleep(30)
            holding = False
            return await super().judge(event, route, claim)

    async def main() -> None:
        nonlocal repaired
        made = engine(cluster, Gate(), paused=lambda: holding)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(5)
            assert holding
            await made.revoked([Partition(TOPIC, 0)])
            made.assigned([Partition(TOPIC, 0)])
            repaired = True
            await asyncio.sleep(60)
            stop.set()

    virtual_time.run(main())
    assert len(cluster.written) == 3


def test_a_verdict_not_acknowledged_by_the_end_of_the_drain_is_taken_back() -> None:
    """A verdict still in our hands when its partition is given up is not written late, beside its next owner's."""
    cluster = Cluster()
    cluster.fill(5)

    async def main() -> None:
        made = engine(cluster, ScriptedJudge(), verdicts=MemorySink(cluster, delay=lambda: 30), drain_seconds=1)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            await asyncio.sleep(1)
            await made.revoked([Partition(TOPIC, 0)])
            await asyncio.sleep(60)
            assert made.in_flight == 0
            stop.set()

    virtual_time.run(main())
    assert cluster.written == []


def test_a_verdict_the_broker_refuses_becomes_a_dead_letter() -> None:
    """A verdict that is too large for its topic is kept as a dead letter, and the lane goes on."""
    cluster = Cluster()
    cluster.fill(3)

    def fail(out: OutRecord) -> Exception | None:
        return DeliveryRefused("too large") if b'"e1"' in out.value else None

    async def main() -> None:
        made = engine(cluster, ScriptedJudge(), verdicts=MemorySink(cluster, fail=fail))
        await run_until_done(made, cluster)

    virtual_time.run(main())
    assert outcomes(cluster) == {(0, 0): ["verdict"], (0, 1): ["dead letter"], (0, 2): ["verdict"]}


def test_a_broken_sink_stops_the_engine_and_commits_nothing() -> None:
    """When verdicts cannot be written, the program ends with that error and the offsets stay where they were."""
    cluster = Cluster()
    cluster.fill(5)

    async def main() -> None:
        made = engine(cluster, ScriptedJudge(), verdicts=MemorySink(cluster, fail=lambda _: OSError("gone")))
        with pytest.raises(ExceptionGroup) as caught:
            await made.run(asyncio.Event())
        assert caught.group_contains(OSError, match="gone")

    virtual_time.run(main())
    assert {at.offset for at in cluster.offsets.values()} == {0}


def test_a_new_group_commits_where_it_starts() -> None:
    """A group that starts at a chosen place notes it at once, so that a restart cannot choose another."""
    cluster = Cluster()

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(1, stop.set)
        await engine(cluster, ScriptedJudge()).run(stop)

    virtual_time.run(main())
    assert cluster.offsets == {Partition(TOPIC, 0): Position(0)}


def test_an_unusable_answer_goes_to_review() -> None:
    """An event that the service could not judge is never passed."""
    cluster = Cluster()
    cluster.fill(1)

    async def answer(event: Event) -> Judgement:
        return Judgement(RiskLevel.UNKNOWN, ("service",), reason="no usable answer")

    async def main() -> None:
        await run_until_done(engine(cluster, ScriptedJudge(answer)), cluster)

    virtual_time.run(main())
    [out] = cluster.written
    verdict = orjson.loads(out.value)
    assert (verdict["risk_level"], verdict["action"]) == ("unknown", "review")


async def _unless(event: asyncio.Event) -> None:
    await event.wait()


async def _later(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _all_of(cluster: Cluster, judge: ScriptedJudge) -> None:
    await run_until_done(engine(cluster, judge), cluster)
