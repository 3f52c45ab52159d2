"""Records that cannot be read at once, and records with nothing to judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.engine.way import Way
from consumer.errors import DecodeError, NothingToJudge, NotYet
from consumer.metrics import Metrics
from tests import virtual_time
from tests.engine.memory import DEAD, TOPIC, Cluster, MemoryUnit, ScriptedJudge, engine, intake
from tests.engine.test_engine import run_until_done


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.engine.order import Ordering
    from consumer.event import Event
    from consumer.record import Record


def way_reading(read: Callable[[Record], Event]) -> Callable[..., Way]:
    """A way with another intake."""

    def make(**parts: Any) -> Way:
        return Way(**{**parts, "intake": read})

    return make


def written(cluster: Cluster) -> list[str]:
    """The events of all verdicts, in the order in which they left."""
    return [orjson.loads(out.value)["event_id"] for out in cluster.written if out.topic != DEAD]


def skipping(record: Record) -> Event:
    """Skips every record whose text says so."""
    event = intake(record)
    if event.text == "delete":
        raise NothingToJudge("a delete")
    return event


@pytest.mark.parametrize("ordering", ["unordered", "key", "partition"])
@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_record_with_nothing_to_judge_is_skipped_and_counted(ordering: Ordering, exactly_once: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Nothing is judged or written for it, it is committed, and whoever waited for it in an order goes on."""
    cluster, judge, metrics = Cluster(), ScriptedJudge(), Metrics()
    for number in range(40):
        text = "delete" if number % 3 == 0 else "text"
        cluster.produce(orjson.dumps({"id": f"e{number}", "text": text}), key=b"k%d" % (number % 2))

    async def main() -> None:
        unit = MemoryUnit(cluster) if exactly_once else None
        made = engine(cluster, judge, unit=unit, ordering=ordering, metrics=metrics, make_way=way_reading(skipping))
        await run_until_done(made, cluster)

    virtual_time.run(main())
    wanted = [f"e{number}" for number in range(40) if number % 3]
    assert sorted(written(cluster)) == sorted(wanted) == sorted(judge.judged)
    if ordering == "partition":
        assert written(cluster) == wanted
    assert metrics.totals("skipped") == {(TOPIC,): 14}
    assert metrics.totals("dead_letters") == {}


class Missing:
    """An intake that has to fetch something for some records, once for all of them; `there` says that it is there."""

    def __init__(self, *, fails: bool = False) -> None:
        self.there = asyncio.Event()
        self.fails = fails
        self.waited = 0

    async def wait(self) -> None:
        self.waited += 1
        await self.there.wait()

    def read(self, record: Record) -> Event:
        event = intake(record)
        if event.text == "new":
            if not self.there.is_set():
                raise NotYet("not there yet", self.wait)
            if self.fails:
                raise DecodeError("schema 7 cannot be had", code="unknown_schema")
        return event


@pytest.mark.parametrize("fails", [False, True])
def test_only_records_that_need_what_is_not_there_wait(fails: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """The others are judged and committed meanwhile; those that waited then end as verdicts or as dead letters."""
    cluster, judge = Cluster(), ScriptedJudge()
    for number in range(20):
        cluster.produce(orjson.dumps({"id": f"e{number}", "text": "new" if number == 3 else "old"}))

    async def main() -> None:
        missing = Missing(fails=fails)
        made = engine(cluster, judge, make_way=way_reading(missing.read))
        running = asyncio.create_task(run_until_done(made, cluster))
        await asyncio.sleep(120)
        assert sorted(written(cluster)) == sorted(f"e{number}" for number in range(20) if number != 3)
        missing.there.set()
        await running
        assert missing.waited == 1

    virtual_time.run(main())
    letters = [out for out in cluster.written if out.topic == DEAD]
    assert ("e3" in written(cluster)) is not fails
    assert [dict(letter.headers)["moderation-reason"] for letter in letters] == [b"unknown_schema"] * fails
    assert all(letter.value == orjson.dumps({"id": "e3", "text": "new"}) for letter in letters)


def test_a_stop_does_not_wait_for_what_is_not_there() -> None:
    """A record that waits for a schema is given up at a stop, and read again after the next start: it is not lost."""
    cluster, judge = Cluster(), ScriptedJudge()
    cluster.produce(orjson.dumps({"id": "e0", "text": "new"}))

    async def first() -> float:
        missing, stop = Missing(), asyncio.Event()
        asyncio.get_running_loop().call_later(5, stop.set)
        await engine(cluster, judge, make_way=way_reading(missing.read)).run(stop)
        return asyncio.get_running_loop().time()

    async def second() -> None:
        missing = Missing()
        missing.there.set()
        await run_until_done(engine(cluster, judge, make_way=way_reading(missing.read)), cluster)

    assert virtual_time.run(first()) < 7
    assert cluster.written == []
    virtual_time.run(second())
    assert written(cluster) == ["e0"]
