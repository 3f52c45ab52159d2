"""Verdicts that the broker refuses: their dead letters end with a planned stop, and too many of them are a hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.engine.letter_limit import LetterLimit
from consumer.errors import DeliveryRefused, TransactionRefused
from consumer.metrics import Metrics
from consumer.record import Partition, Position
from tests import virtual_time
from tests.engine.memory import (
    DEAD,
    TOPIC,
    Cluster,
    MemorySink,
    MemorySource,
    MemoryUnit,
    ScriptedJudge,
    engine,
    outcomes,
    stopped,
)
from tests.engine.test_order import places


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.engine.engine import Engine
    from consumer.engine.order import Ordering
    from consumer.event import Event
    from consumer.record import OutRecord


FIRST = Partition(TOPIC, 0)


class Doubt:
    """A stall guard that is shut when it is told to be, and does not open any more."""

    proof_due = False

    def __init__(self) -> None:
        self.shut = False

    def now(self) -> float:
        return 0.0

    def proven(self, sent_at: float) -> None:
        pass

    async def opened(self) -> None:
        if self.shut:
            await asyncio.Event().wait()

    def released(self) -> None:
        self.shut = True


class FullSink(MemorySink):
    """A sink that has no room while the brokers are away."""

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        await asyncio.Event().wait()
        return await super().send(record)


def refused(_: OutRecord) -> Exception:
    return DeliveryRefused("too large", code="too_large")


class RefusingUnit(MemoryUnit):
    """Transactions that the broker refuses as a whole for some verdicts, or dead letters, in them."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        fail: Callable[[OutRecord], Exception | None] = refused,
        dead: Callable[[OutRecord], Exception | None] = lambda _: None,
    ) -> None:
        super().__init__(cluster, before=self._refuse)
        self.fail = fail
        self.dead = dead

    def _refuse(self, records: Sequence[OutRecord]) -> Exception | None:
        some = any((self.dead if record.topic == DEAD else self.fail)(record) for record in records)
        return TransactionRefused("too large") if some else None


async def lived(cluster: Cluster, judge: ScriptedJudge, seconds: float, **more: Any) -> Engine:
    """Run an engine, stop it as planned after so long, and have it end in time: 5 s to drain, 5 s to flush."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    made = engine(cluster, judge, drain_seconds=5, **more)
    async with asyncio.timeout(seconds + 11):
        await made.run(stop)
    return made


def test_a_stop_ends_though_a_refused_verdict_waits_for_the_stall_guard() -> None:
    """A process that may have been replaced keeps the dead letter back, and its planned stop ends in time."""
    cluster, doubt, judge = Cluster(), Doubt(), ScriptedJudge()
    cluster.fill(1)

    def fail(out: OutRecord) -> Exception:
        doubt.shut = True
        return refused(out)

    sink = MemorySink(cluster, delay=lambda: 0.2, fail=fail)
    virtual_time.run(lived(cluster, judge, 3, verdicts=sink, proofs=doubt))
    assert (cluster.written, cluster.offsets[FIRST].offset) == ([], 0)
    virtual_time.run(stopped(cluster, judge, 3))
    assert (outcomes(cluster), judge.judged["e0"]) == ({(0, 0): ["verdict"]}, 2)


def test_a_stop_ends_though_a_refused_verdict_waits_for_room() -> None:
    """While the brokers are away there is no room for the dead letter: the stop ends, and its record is left."""
    cluster = Cluster()
    cluster.fill(3)
    verdicts = MemorySink(cluster, fail=lambda out: refused(out) if b'"e1"' in (out.value or b"") else None)
    virtual_time.run(lived(cluster, ScriptedJudge(), 3, verdicts=verdicts, dead_letters=FullSink(cluster)))
    assert outcomes(cluster) == {(0, 0): ["verdict"], (0, 2): ["verdict"]}
    assert cluster.offsets[FIRST].offset == 1
    virtual_time.run(stopped(cluster, ScriptedJudge(), 3))
    assert outcomes(cluster) == {(0, n): ["verdict"] for n in range(3)}


def test_a_refusal_in_the_last_moment_of_a_stop_is_left_to_the_next_owner() -> None:
    """A verdict that is refused as its partition is given up becomes no dead letter, and holds up nothing."""
    cluster, doubt, stop = Cluster(), Doubt(), asyncio.Event()
    cluster.fill(2)

    class LateSink(MemorySink):
        sent: list[asyncio.Future[None]] = []  # noqa: RUF012  # of the one sink there is

        async def send(self, record: OutRecord) -> asyncio.Future[None]:
            self.sent.append(await super().send(record))
            return self.sent[-1]

        async def flush(self) -> None:
            self.sent[1].set_result(None)
            await asyncio.sleep(0)

    class LastCommit(MemorySource):
        async def commit(self, positions: Mapping[Partition, Position]) -> bool:
            done = await super().commit(positions)
            if stop.is_set():
                doubt.shut = True
                LateSink.sent[0].set_exception(DeliveryRefused("too large"))
            return done

    async def main() -> None:
        asyncio.get_running_loop().call_later(3, stop.set)
        sink = LateSink(cluster, delay=lambda: 1000.0)
        made = engine(
            cluster, ScriptedJudge(), source=LastCommit(cluster), verdicts=sink, proofs=doubt, drain_seconds=5
        )
        async with asyncio.timeout(14):
            await made.run(stop)

    virtual_time.run(main())
    assert doubt.shut
    assert cluster.written == []
    assert cluster.offsets[FIRST].offset == 0


# Too many of them


@pytest.mark.parametrize("exactly", [False, True])
def test_a_broker_that_goes_on_refusing_verdicts_is_a_hold(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """After so many refused verdicts in a row nothing more is judged or written, and mended it all has verdicts."""
    cluster, metrics, judge = Cluster(), Metrics(), ScriptedJudge(lambda _: asyncio.sleep(1))
    cluster.fill(1000)
    verdicts, unit = MemorySink(cluster, delay=lambda: 0.01, fail=refused), RefusingUnit(cluster)
    limit = LetterLimit(20, None, 100)
    more = {"verdicts": verdicts, "unit": unit if exactly else None, "metrics": metrics, "letter_limit": limit}
    why = virtual_time.run(lived(cluster, judge, 600, **more)).letters_held
    assert why is not None
    assert why.startswith("the brokers have refused the last 20 verdicts")
    assert why.endswith("or raise dead_letters.max_in_a_row, and start it anew")
    assert metrics.registry.get_sample_value("moderation_holding", {"reason": "dead_letters"}) == 1
    assert list(outcomes(cluster).values()) == [["dead letter"]] * 20
    # What was on its way by then was paid, and nothing after it. Transactions take seconds to find each out.
    assert sum(judge.judged.values()) <= (600 if exactly else 20 + 2 * 10)
    virtual_time.run(stopped(cluster, ScriptedJudge(), 60, unit=MemoryUnit(cluster) if exactly else None))
    assert sorted(outcomes(cluster).values()) == [["dead letter"]] * 20 + [["verdict"]] * 980


def test_what_is_on_its_way_in_a_hold_still_leaves() -> None:
    """Verdicts that are ready only after a hold began are committed, all in one transaction as ever."""
    cluster = Cluster()
    cluster.fill(20)

    def first(out: OutRecord) -> Exception | None:
        return refused(out) if orjson.loads(out.value or b"")["record"]["offset"] < 10 else None

    async def answer(event: Event) -> None:
        await asyncio.sleep(0.01 if int(event.id[1:]) < 10 else 100)

    unit = RefusingUnit(cluster, fail=first)
    more = {"unit": unit, "letter_limit": LetterLimit(None, 0.0, 100), "max_in_flight": 20}
    assert virtual_time.run(lived(cluster, ScriptedJudge(answer), 120, **more)).letters_held is not None
    assert outcomes(cluster) == {(0, n): ["verdict"] for n in range(10, 20)}
    assert max(unit.transactions) == 10


@pytest.mark.parametrize("exactly", [False, True])
def test_a_stop_waits_for_no_dead_letter_that_is_kept_back(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """With nothing but held dead letters left, a planned stop ends at once."""
    cluster = Cluster()
    cluster.fill(5)

    async def main() -> float:
        verdicts, unit = MemorySink(cluster, fail=refused), RefusingUnit(cluster)
        more = {"verdicts": verdicts, "unit": unit if exactly else None, "letter_limit": LetterLimit(2, None, 100)}
        made = await lived(cluster, ScriptedJudge(), 60, **more)
        assert made.letters_held is not None
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) < 61
    assert cluster.offsets[FIRST].offset == 2


@pytest.mark.parametrize("exactly", [False, True])
def test_verdicts_that_the_broker_takes_in_between_end_the_row(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Where every fourth verdict is taken, ten refusals in a row never happen, and nothing is held."""
    cluster = Cluster()
    cluster.fill(80)

    def some(out: OutRecord) -> Exception | None:
        return refused(out) if orjson.loads(out.value or b"")["record"]["offset"] % 4 else None

    unit = RefusingUnit(cluster, fail=some)
    verdicts = MemorySink(cluster, fail=some)
    more = {"verdicts": verdicts, "unit": unit if exactly else None, "letter_limit": LetterLimit(10, None, 100)}
    assert virtual_time.run(lived(cluster, ScriptedJudge(), 600, **more)).letters_held is None
    assert sum(one == ["verdict"] for one in outcomes(cluster).values()) == 20
    assert len(outcomes(cluster)) == 80


def test_refused_verdicts_count_for_the_share_of_dead_letters() -> None:
    """An event whose verdict is refused is one event and a dead letter: of 300 a twentieth may be, then it holds."""
    cluster = Cluster()
    cluster.fill(300)

    def some(out: OutRecord) -> Exception | None:
        return refused(out) if orjson.loads(out.value or b"")["record"]["offset"] % 2 else None

    more = {"verdicts": MemorySink(cluster, fail=some), "letter_limit": LetterLimit(None, 0.05, 300)}
    why = virtual_time.run(lived(cluster, ScriptedJudge(), 600, **more)).letters_held
    assert why is not None
    assert why.startswith("more than 5.00% of the last 300 events became dead letters")
    assert sum(one == ["dead letter"] for one in outcomes(cluster).values()) == 15


@pytest.mark.parametrize("exactly", [False, True])
def test_a_dead_letter_that_is_shortened_counts_once(exactly: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """A letter that the broker takes only when it is shorter is one dead letter, however often it was tried."""
    cluster = Cluster()
    for n in range(5):
        cluster.produce(orjson.dumps({"id": f"e{n}", "text": "x" * 60_000}))

    def large(out: OutRecord) -> Exception | None:
        return refused(out) if len(out.value or b"") > 5000 else None

    sinks = {"verdicts": MemorySink(cluster, fail=refused), "dead_letters": MemorySink(cluster, fail=large)}
    unit = RefusingUnit(cluster, dead=large) if exactly else None
    more = {**sinks, "unit": unit, "letter_limit": LetterLimit(5, None, 100)}
    assert virtual_time.run(lived(cluster, ScriptedJudge(), 600, **more)).letters_held is None
    assert list(outcomes(cluster).values()) == [["dead letter"]] * 5


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("ordering", ["key", "partition"])
def test_nothing_passes_a_dead_letter_that_is_kept_back(exactly: bool, ordering: Ordering) -> None:  # noqa: FBT001  # a parameter of the test
    """With an order, later verdicts stay behind a refused one that is held, and after a restart all leave in order."""
    cluster = Cluster()
    for n in range(40):
        cluster.produce(orjson.dumps({"id": f"e{n}"}), key=b"ab"[n % 2 :][:1])

    def one(out: OutRecord) -> Exception | None:
        return refused(out) if orjson.loads(out.value or b"")["event_id"] == "e0" else None

    async def answer(event: Event) -> None:
        # The refused one comes first; what follows it is ready while it is on its way.
        await asyncio.sleep(0.001 if event.id == "e0" else 0.5)

    def more(*, mended: bool) -> dict[str, Any]:
        unit = MemoryUnit(cluster) if mended else RefusingUnit(cluster, fail=one)
        sink = MemorySink(cluster, delay=lambda: 0.01, fail=(lambda _: None) if mended else one)
        return {"ordering": ordering, "unit": unit if exactly else None, "verdicts": sink}

    # Not one dead letter is taken.
    limit = LetterLimit(None, 0.0, 100)
    made = virtual_time.run(lived(cluster, ScriptedJudge(answer), 60, letter_limit=limit, **more(mended=False)))
    assert made.letters_held is not None
    assert cluster.offsets[FIRST].offset == 0
    virtual_time.run(stopped(cluster, ScriptedJudge(answer), 60, **more(mended=True)))
    assert sorted(outcomes(cluster).values()) == [["verdict"]] * 40
    for offsets in places(cluster, ordering).values():
        assert offsets == sorted(offsets)
