"""Callbacks that come to one process while another has their task: boards of two processes on one log."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.errors import DeliveryRefused
from tests import virtual_time
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.moderation.tasks.support import Rig, answer, content, now, place, task


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.moderation.tasks.support import Reply


NAMELESS = b'{"Code":200,"Data":{"RiskLevel":"high"}}'


@asynccontextmanager
async def member(topic: MemoryTopic, reply: Reply = lambda _: None, *, killed: bool = False) -> AsyncIterator[Rig]:
    """A process of the group: its board with the loop that polls, on its state."""
    process = Process(topic)
    async with process.alive() as state:
        rig = Rig(reply, store=state, exchange=state, callbacks=True)
        async with rig.running():
            yield rig
    if not killed:
        await process.state.stop()


def test_a_callback_to_a_standby_reaches_the_owner() -> None:
    """A standby records a callback of a task that it does not have, and its owner has the result at once."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as owner, member(topic) as standby:
            await owner.board.add([task(1)])
            waiter = asyncio.create_task(owner.board.result(task(1)))
            await asyncio.sleep(10)
            assert await standby.board.deliver("t1", content("t1", "high"), place(1)) == "forwarded"
            assert await waiter == answer("t1", "high")
            assert now() < 10.1
            assert await standby.board.deliver("t1", content("t1", "high"), place(1)) == "forwarded"
            assert [record.key for record in topic.records].count(b"callback/ugc/0/1/t1") == 1
            assert await owner.board.deliver("t1", content("t1", "none"), place(1)) == "repeated"
            await asyncio.sleep(1000)
        assert owner.queries == standby.queries == []
        assert owner.value("task_seconds_count", how="callback") == 1

    virtual_time.run(main())


def test_a_callback_before_its_task_is_not_lost() -> None:
    """One that comes before its task was remembered, to whichever process, is the task's result once it is."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as owner, member(topic) as standby:
            assert await standby.board.deliver("t1", content("t1", "high"), place(1)) == "forwarded"
            assert await owner.board.deliver("t2", content("t2", "low"), place(2)) == "forwarded"
            await asyncio.sleep(1)
            for number, level in ((1, "high"), (2, "low")):
                await owner.board.add([task(number, submitted_at=now())])
                assert await owner.board.result(task(number)) == answer(f"t{number}", level)
            assert owner.board.pending_events == 0
            assert now() < 1.1
        assert owner.queries == []

    virtual_time.run(main())


def test_a_callback_in_the_moment_of_recording_is_not_lost() -> None:
    """One that comes while its task is being recorded finds it, in whichever order the two are acknowledged."""

    async def main() -> None:
        for lead in (-0.004, 0.0, 0.004):
            topic = MemoryTopic()
            async with member(topic) as owner:
                adding = asyncio.create_task(_after(max(0.0, -lead), owner.board.add([task(1)])))
                told = asyncio.create_task(_after(max(0.0, lead), owner.board.deliver("t1", content("t1"), place(1))))
                await adding
                assert await told == "forwarded"
                async with asyncio.timeout(1):
                    assert await owner.board.result(task(1)) == answer("t1")

    virtual_time.run(main())


def test_a_takeover_has_the_results_that_came_meanwhile() -> None:
    """Callbacks that came while nobody had the tasks are their results when the next owner takes them up."""

    async def main() -> None:
        topic = MemoryTopic()
        events = [task(1, of="thread"), task(2, of="thread"), task(3)]
        async with member(topic) as standby:
            async with member(topic, killed=True) as owner:
                await owner.board.add(events)
            assert await standby.board.deliver("thread", content("thread", "high"), place(1)) == "forwarded"
            await asyncio.sleep(20)
            async with member(topic, answer) as heir:
                # An event of the same task, but not the one whose address the callback came to.
                found = heir.board.find(place(2), "f2")
                assert found is not None
                assert await heir.board.result(found) == answer("thread", "high")
                assert await heir.board.result(events[0]) == answer("thread", "high")
                assert now() < 21
                await heir.board.result(events[2])
                assert heir.times("thread") == []

    virtual_time.run(main())


def test_a_callback_for_a_task_that_rests_is_passed_on() -> None:
    """A process that had a task and lost its partition does not keep the task's callback from the next owner."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as former, member(topic) as owner:
            await former.board.add([task(1)])
            leaving = asyncio.create_task(former.board.result(task(1)))
            await asyncio.sleep(1)
            leaving.cancel()
            await asyncio.sleep(1)
            waiter = asyncio.create_task(owner.board.result(task(1)))
            await asyncio.sleep(1)
            assert await former.board.deliver("t1", content("t1", "high"), place(1)) == "forwarded"
            assert await waiter == answer("t1", "high")
            assert now() < 3.1
            assert await former.board.result(task(1)) == answer("t1", "high")

    virtual_time.run(main())


def test_a_callback_that_cannot_be_recorded_has_to_come_again() -> None:
    """With the log refusing or away, a callback that nobody here wants is not said to be taken."""

    async def main() -> None:
        topic = MemoryTopic()
        process = Process(topic)
        async with process.running() as state:
            board = Rig(answer, store=state, exchange=state).board
            topic.refusal = DeliveryRefused("too large")
            assert await board.deliver("t1", content("t1"), place(1)) == "unknown"
            topic.refusal = None
            topic.away = True
            began = now()
            assert await board.deliver("t1", content("t1"), place(1)) == "unknown"
            assert now() - began == 5
            topic.away = False
            assert await board.deliver("t1", content("t1"), place(1)) == "forwarded"
        assert process.counted("state_writes_failed", what="callback") == 2

    virtual_time.run(main())


def test_content_without_a_result_is_not_passed_on() -> None:
    """What ends nothing is not recorded: polling goes on, wherever the task is."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as standby:
            assert await standby.board.deliver("t1", b'{"Code":280}', place(1)) == "no_result"
        assert topic.records == []

    virtual_time.run(main())


def test_content_without_a_name_counts_where_it_was_sent() -> None:
    """Forwarded content that names no task is the result only of the one task of the event it was sent to."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic, answer) as owner, member(topic) as standby:
            await owner.board.add([task(1, of="thread"), task(2, of="thread"), task(3)])
            assert await standby.board.deliver("thread", NAMELESS, place(3)) == "forwarded"
            await asyncio.sleep(1)
            assert owner.board.pending_events == 3
            assert await standby.board.deliver("thread", NAMELESS, place(1)) == "forwarded"
            result = await owner.board.result(task(2, of="thread"))
            assert result is not None
            assert result.data["RiskLevel"] == "high"
            assert owner.board.pending_events == 1

    virtual_time.run(main())


def test_a_callback_is_forgotten_with_its_event() -> None:
    """When an event has its verdict, its task and its callback are deleted from the log."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as owner, member(topic) as standby:
            await owner.board.add([task(1)])
            await standby.board.deliver("t1", content("t1"), place(1))
            assert await owner.board.result(task(1)) == answer("t1")
            await owner.board.forget([place(1)])
            await asyncio.sleep(1)
            assert topic.live() == {}

    virtual_time.run(main())


def test_a_callback_that_comes_too_late_does_not_stay() -> None:
    """One that a standby records after its task was polled, judged and forgotten is deleted by who had the task."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic, answer) as owner, member(topic) as standby:
            await owner.board.add([task(1)])
            await owner.board.result(task(1))
            assert len(owner.queries) == 1
            # Before it is forgotten the callback stays: the next owner could use it.
            await standby.board.deliver("t1", content("t1"), place(1))
            await asyncio.sleep(1)
            assert len(topic.live()) == 2
            await owner.board.forget([place(1)])
            await asyncio.sleep(1)
            assert topic.live() == {}
            await standby.board.deliver("t1", content("t1"), place(1))
            await asyncio.sleep(1)
            assert topic.live() == {}
            assert len(topic.records) == 6

    virtual_time.run(main())


def test_a_takeover_polls_neither_early_nor_all_at_once() -> None:
    """The next owner asks for each task when its turn comes, as the log remembers it, spread as they were submitted."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic, killed=True) as owner:
            for number in range(50):
                await owner.board.add([task(number, submitted_at=now())])
                await asyncio.sleep(1)
            await asyncio.sleep(40)
        killed = now()
        last = {task_id: max(owner.times(task_id)) for _, task_id in owner.queries}
        assert 0 < len(last) < 50
        async with member(topic, answer) as heir:
            found = [heir.board.find(place(number), f"f{number}") for number in range(50)]
            await asyncio.gather(*(heir.board.result(one) for one in found if one))
            for number in range(50):
                [asked] = heir.times(f"t{number}")
                assert asked >= last.get(f"t{number}", number) + 60 - 0.1
                assert asked <= killed + 2 * 60 + 1
            times = [round(at) for at, _ in heir.queries]
            assert max(times.count(at) for at in times) <= 3

    virtual_time.run(main())


def test_an_event_in_several_tasks_has_each_of_their_callbacks() -> None:
    """The parts of an event that no single call takes are told apart, also when another process was told."""

    async def main() -> None:
        topic = MemoryTopic()
        async with member(topic) as owner, member(topic) as standby:
            parts = [replace(task(1, of=name), fingerprint=name) for name in ("one", "two")]
            await owner.board.add(parts)
            for name, level in (("one", "high"), ("two", "none")):
                assert await standby.board.deliver(name, content(name, level), place(1)) == "forwarded"
            assert await owner.board.result(parts[0]) == answer("one", "high")
            assert await owner.board.result(parts[1]) == answer("two", "none")

    virtual_time.run(main())


async def _after(seconds: float, doing: object) -> object:
    await asyncio.sleep(seconds)
    assert asyncio.iscoroutine(doing)
    return await doing
