"""Tests of how lanes are taken over: closed at first, in one order, and shown to be ours while they are open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.engine.letter_limit import LetterLimit
from consumer.metrics import Metrics
from consumer.record import Partition, Position
from tests import virtual_time
from tests.engine.memory import TOPIC, Cluster, MemorySource, ScriptedJudge, engine, killed, outcomes, stopped


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pytest

    from consumer.engine.ports import Assignments
    from consumer.record import Record


FIRST = Partition(TOPIC, 0)


class Notary:
    """Remembers the proofs of ownership, and can ask for more."""

    def __init__(self) -> None:
        self.proofs: list[float] = []
        self.due = False
        self.releases = 0
        self.shut = False

    async def opened(self) -> None:
        while self.shut:
            await asyncio.sleep(0.1)

    @property
    def proof_due(self) -> bool:
        return self.due

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def proven(self, sent_at: float) -> None:
        self.proofs.append(sent_at)

    def released(self) -> None:
        self.releases += 1


def test_nothing_is_judged_within_a_window_of_the_takeover() -> None:
    """The last owner may just have used the quota, so a new one waits for a whole window before it sends anything."""
    cluster, at = Cluster(), []
    cluster.fill(3)

    async def answer(_: object) -> None:
        at.append(asyncio.get_running_loop().time())

    virtual_time.run(stopped(cluster, ScriptedJudge(answer), 5, takeover_seconds=1.03))
    assert min(at) >= 1.03
    assert len(at) == 3


def test_the_window_passes_while_the_takeover_is_prepared() -> None:
    """The window counts from the fence: what else a takeover has to do costs nothing on top, as long as it is short."""
    for prepares, opens in ((0.8, 1.03), (5.0, 5.0)):
        cluster = Cluster()
        at: list[float] = []
        cluster.fill(3)

        async def answer(_: object, at: list[float] = at) -> None:
            at.append(asyncio.get_running_loop().time())

        async def prepare(seconds: float = prepares) -> None:
            await asyncio.sleep(seconds)

        virtual_time.run(stopped(cluster, ScriptedJudge(answer), 9, takeover_seconds=1.03, prepare=prepare))
        assert opens <= min(at) < opens + 0.05


def test_who_lets_go_is_shut_before_the_group_hears_of_it() -> None:
    """When the group may hand the partitions on, the guard is shut, also where calls outlast the drain."""
    for seconds in (0.0, 60.0):
        cluster, notary = Cluster(), Notary()
        heard: list[int] = []
        cluster.fill(3)

        class Leaving(MemorySource):
            async def stop(self, notary: Notary = notary, heard: list[int] = heard) -> None:
                heard.append(notary.releases)
                await super().stop()

        async def main(
            cluster: Cluster = cluster, notary: Notary = notary, seconds: float = seconds, left: type = Leaving
        ) -> None:
            stop = asyncio.Event()
            judge = ScriptedJudge(lambda _: asyncio.sleep(seconds))
            made = engine(cluster, judge, source=left(cluster), proofs=notary, drain_seconds=0.5)
            running = asyncio.create_task(made.run(stop))
            await asyncio.sleep(1)
            await made.revoked(list(cluster.log))
            assert notary.releases == 1
            made.assigned(list(cluster.log))
            await asyncio.sleep(1)
            stop.set()
            await running

        virtual_time.run(main())
        assert heard == [2]


def test_a_takeover_notes_its_start_before_it_opens() -> None:
    """The first commit comes before the first record is judged: it shows that the lanes are ours."""
    cluster = Cluster()
    cluster.fill(3)
    source, notary, before = MemorySource(cluster), Notary(), []

    async def answer(_: object) -> None:
        before.append((len(source.commits), len(notary.proofs)))

    virtual_time.run(stopped(cluster, ScriptedJudge(answer), 5, source=source, proofs=notary))
    assert before[0] == (1, 1)
    assert notary.releases == 1


def test_idle_lanes_prove_that_they_are_ours_when_asked() -> None:
    """With nothing to commit, the same positions are committed again as soon as a proof is due."""
    cluster, notary = Cluster(), Notary()

    async def main() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(engine(cluster, ScriptedJudge(), proofs=notary).run(stop))
        await asyncio.sleep(5)
        assert len(notary.proofs) == 1
        notary.due = True
        await asyncio.sleep(1)
        assert len(notary.proofs) > 5
        stop.set()
        await running

    virtual_time.run(main())


def test_an_answer_from_before_a_stall_is_written_only_when_nobody_took_over() -> None:
    """While a process does not know whether it was replaced it writes no verdict; one that was replaced writes none."""
    for replaced in (False, True):
        cluster, notary = Cluster(), Notary()
        cluster.fill(4)
        source = MemorySource(cluster)

        async def main(notary: Notary = notary, source: MemorySource = source, replaced: bool = replaced) -> int:  # noqa: FBT001  # bound to the loop's values
            stop = asyncio.Event()
            judge = ScriptedJudge(lambda _: asyncio.sleep(1))
            made = engine(source.cluster, judge, source=source, proofs=notary)
            running = asyncio.create_task(made.run(stop))
            await asyncio.sleep(0.5)
            notary.shut = True
            await asyncio.sleep(3)
            assert not source.cluster.written
            source.member = not replaced
            began_at = asyncio.get_running_loop().time()
            if replaced:
                await made.revoked(list(source.cluster.log))
            assert asyncio.get_running_loop().time() - began_at < 0.1
            notary.shut = False
            await asyncio.sleep(3)
            stop.set()
            await running
            return len(source.cluster.written)

        assert virtual_time.run(main()) == (0 if replaced else 4)


def test_a_refused_first_commit_keeps_the_lanes_shut() -> None:
    """While the group refuses the commit that notes the start, as in a rebalance, nothing is judged."""
    cluster = Cluster()
    cluster.fill(5)
    judge = ScriptedJudge()

    class Refusing(MemorySource):
        refuses = True

        async def commit(self, positions: Mapping[Partition, Position]) -> bool:
            return False if self.refuses else await super().commit(positions)

    async def main() -> None:
        stop = asyncio.Event()
        source = Refusing(cluster)
        running = asyncio.create_task(engine(cluster, judge, source=source).run(stop))
        await asyncio.sleep(30)
        assert not judge.judged
        source.refuses = False
        await asyncio.sleep(5)
        assert len(judge.judged) == 5
        stop.set()
        await running

    virtual_time.run(main())


def test_records_of_an_older_poll_wait_until_their_lane_opens() -> None:
    """A poll that began before a rebalance may bring records of a lane that is not open yet; none of them is lost."""
    cluster = Cluster()
    cluster.fill(50)
    judge = ScriptedJudge()

    class Hasty(MemorySource):
        async def poll(
            self, ready: Collection[Partition], timeout_seconds: float
        ) -> Mapping[Partition, Sequence[Record]]:
            return await super().poll([*self.next] or ready, timeout_seconds)

    async def main() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(engine(cluster, judge, source=Hasty(cluster), takeover_seconds=1).run(stop))
        await asyncio.sleep(0.9)
        assert not judge.judged
        await asyncio.sleep(5)
        stop.set()
        await running

    virtual_time.run(main())
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 50


def test_partitions_that_go_before_they_open_leave_nothing_behind() -> None:
    """A rebalance in the middle of a takeover ends it; the next assignment is taken over as if nothing had been."""
    cluster = Cluster(2)
    cluster.fill(20)
    judge = ScriptedJudge()

    async def main() -> None:
        stop = asyncio.Event()
        source = MemorySource(cluster)
        made = engine(cluster, judge, source=source, takeover_seconds=1)
        running = asyncio.create_task(made.run(stop))
        await asyncio.sleep(0.5)
        for _ in range(5):
            await made.revoked(list(cluster.log))
            assert not made.lanes
            made.assigned(list(cluster.log))
            await asyncio.sleep(0.3)
        assert not judge.judged
        await asyncio.sleep(5)
        stop.set()
        await running

    virtual_time.run(main())
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 20
    assert {at.metadata for at in cluster.offsets.values()} == {""}


def test_an_idle_lane_commits_past_what_is_no_record() -> None:
    """Markers of transactions and holes at the end of a log do not count as lag for ever."""
    cluster = Cluster()
    cluster.fill(4)

    class Marked(MemorySource):
        def positions(self) -> Mapping[Partition, int]:
            return {partition: at + 3 for partition, at in self.next.items()}

    virtual_time.run(stopped(cluster, ScriptedJudge(), 5, source=Marked(cluster)))
    assert cluster.offsets[FIRST] == Position(7)


def test_partitions_that_come_in_the_middle_of_a_stop_do_not_hold_it_up() -> None:
    """A rebalance that ends during the drain of a planned stop begins nothing more, also where no commit is taken."""
    cluster = Cluster(2)
    cluster.fill(4)
    judge = ScriptedJudge(lambda _: asyncio.sleep(4))

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        class Rebalanced(MemorySource):
            async def start(self, assignments: Assignments) -> None:
                assignments.assigned([FIRST])
                loop.call_later(3, stop.set)
                loop.call_later(3.5, assignments.assigned, [Partition(TOPIC, 1)])

            async def commit(self, positions: Mapping[Partition, Position]) -> bool:
                return not stop.is_set() and await super().commit(positions)

        async with asyncio.timeout(30):
            await engine(cluster, judge, source=Rebalanced(cluster)).run(stop)

    virtual_time.run(main())
    assert set(judge.judged) == {"e0", "e2"}


def test_too_many_dead_letters_are_a_hold(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """A deployment that makes dead letters of everything stops after so many, says why, and loses nothing."""
    cluster, metrics = Cluster(), Metrics()
    for n in range(300):
        cluster.produce(b"no JSON %d" % n)

    async def main() -> None:
        stop = asyncio.Event()
        made = engine(cluster, ScriptedJudge(), metrics=metrics, letter_limit=LetterLimit(50, None, 100))
        running = asyncio.create_task(made.run(stop))
        await asyncio.sleep(60)
        assert made.paused
        assert made.letters_held is not None
        assert len(cluster.written) == 50
        stop.set()
        await running

    virtual_time.run(main())
    assert cluster.offsets[FIRST].offset == 50
    # Where a line goes depends on whether a command has set logging up in this process before.
    assert "dead_letters" in capsys.readouterr().out + caplog.text
    virtual_time.run(killed(cluster, ScriptedJudge(), 60))
    assert len(outcomes(cluster)) == 300
