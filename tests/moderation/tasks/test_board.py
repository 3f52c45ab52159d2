"""Tests of the board of pending tasks in virtual time: when tasks are asked for, and how results reach their events."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from consumer.errors import CallError, TaskLost
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.quota import Bucket
from tests import virtual_time
from tests.moderation.tasks.support import Rig, answer, content, now, place, task


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.tasks.task import Task


def after(runs: int) -> Rig:
    """A service that has each result after so many queries."""
    asked: dict[str, int] = {}

    def reply(task_id: str) -> Answer | None:
        asked[task_id] = asked.get(task_id, 0) + 1
        return answer(task_id) if asked[task_id] > runs else None

    return Rig(reply)


def test_a_task_is_asked_for_after_30_seconds_and_every_30_from_then_on() -> None:
    """The first query comes 30 s after submission, each later one 30 s after the last answer, none after the result."""

    async def main() -> None:
        rig = after(3)
        async with rig.running() as board:
            await board.add([task(1)])
            assert await board.result(task(1)) == answer("t1")
            await asyncio.sleep(500)
        assert rig.times("t1") == [30, 60, 90, 120]
        assert rig.value("task_polls_total", outcome="running") == 3
        assert rig.value("task_polls_total", outcome="result") == 1
        assert rig.value("task_seconds_sum", how="poll") == pytest.approx(120)

    virtual_time.run(main())


def test_a_slow_answer_moves_the_next_query() -> None:
    """The interval counts from the end of an answer, not from its query."""

    async def slow() -> None:
        await asyncio.sleep(7)

    async def main() -> None:
        rig = Rig(lambda _: slow())
        async with rig.running() as board:
            await board.add([task(1)])
            waiter = asyncio.create_task(board.result(task(1)))
            await asyncio.sleep(110)
            waiter.cancel()
        assert rig.times("t1") == [30, 67, 104]

    virtual_time.run(main())


def test_with_callbacks_polls_come_half_as_often() -> None:
    """Where callbacks are configured, polling is only a net: first after a minute, then every minute."""

    async def main() -> None:
        rig = Rig(lambda _: None, callbacks=True)
        async with rig.running() as board:
            await board.add([task(1)])
            waiter = asyncio.create_task(board.result(task(1)))
            await asyncio.sleep(200)
            waiter.cancel()
        assert rig.times("t1") == [60, 120, 180]

    virtual_time.run(main())


def test_a_query_that_fails_is_repeated_sooner_but_not_at_once() -> None:
    """Queries without an answer come again after 2, 4, 8 s; after an answer the interval holds again."""
    replies = [CallError("refused"), CallError("lost"), CallError("lost"), None, CallError("refused"), answer("t1")]

    async def main() -> None:
        rig = Rig(lambda _: replies.pop(0))
        async with rig.running() as board:
            await board.add([task(1)])
            assert await board.result(task(1)) == answer("t1")
        assert rig.times("t1") == [30, 32, 36, 44, 74, 76]
        assert rig.value("task_polls_total", outcome="failed") == 4

    virtual_time.run(main())


def test_all_events_of_a_task_share_its_result() -> None:
    """A thread's events wait for one task: one query at a time, and the same result for each."""

    async def main() -> None:
        rig = after(1)
        events = [task(number, of="thread") for number in range(5)]
        async with rig.running() as board:
            await board.add(events)
            assert board.pending_events == 5
            assert rig.value("tasks_pending") == 1
            results = await asyncio.gather(*(board.result(event) for event in events))
            assert results == [answer("thread")] * 5
            assert board.pending_events == rig.value("tasks_pending") == 0
        assert rig.times("thread") == [30, 60]

    virtual_time.run(main())


def test_what_was_submitted_is_recorded_before_it_counts() -> None:
    """A task is pending only when the store has it, with the time of its first poll."""

    class SlowStore(MemoryTaskStore):
        async def remember(self, tasks: Sequence[Task]) -> None:
            await asyncio.sleep(5)
            await super().remember(tasks)

    async def main() -> None:
        rig = Rig(lambda _: None, store=SlowStore())
        adding = asyncio.create_task(rig.board.add([task(1, next_poll_at=0)]))
        await asyncio.sleep(4)
        assert rig.board.pending_events == 0
        await adding
        assert rig.board.pending_events == 1
        assert rig.board.find(place(1), "f1") == task(1, next_poll_at=30)
        assert rig.board.find(place(1), "another record's") is None

    virtual_time.run(main())


def test_a_cancelled_waiter_leaves_the_task_to_the_others_and_to_itself() -> None:
    """An event that stops waiting takes nothing from the others; coming back, it has the same result."""

    async def main() -> None:
        rig = after(0)
        events = [task(1, of="thread"), task(2, of="thread")]
        async with rig.running() as board:
            await board.add(events)
            impatient = asyncio.create_task(board.result(events[0]))
            patient = asyncio.create_task(board.result(events[1]))
            await asyncio.sleep(10)
            impatient.cancel()
            assert await patient == answer("thread")
            assert await board.result(events[0]) == answer("thread")
        assert rig.times("thread") == [30]

    virtual_time.run(main())


def test_a_task_that_nobody_waits_for_rests() -> None:
    """Its events gone, a task is not polled and takes no room; when they come back, it goes on in its turn."""

    async def main() -> None:
        rig = after(1)
        async with rig.running() as board:
            await board.add([task(1)])
            waiter = asyncio.create_task(board.result(task(1)))
            await asyncio.sleep(40)
            waiter.cancel()
            await asyncio.sleep(300)
            assert board.pending_events == rig.value("tasks_pending") == 0
            assert await board.result(task(1)) == answer("t1")
            assert rig.times("t1") == [30, 340]
            waiter = asyncio.create_task(board.result(task(2, submitted_at=340, next_poll_at=370)))
            await asyncio.sleep(10)
            waiter.cancel()
            await asyncio.sleep(5)
            await board.result(task(2))
            assert rig.times("t2") == [370, 400]

    virtual_time.run(main())


def test_a_later_event_has_the_result_without_another_query() -> None:
    """A finished task's result is kept until the last of its events is done with."""

    async def main() -> None:
        rig = after(0)
        events = [task(1, of="thread"), task(2, of="thread")]
        async with rig.running() as board:
            await board.add(events)
            await board.result(events[0])
            await board.forget([place(1)])
            assert await board.result(events[1]) == answer("thread")
            assert rig.times("thread") == [30]
            assert len(rig.store) == 1
            await board.forget([place(2), place(99)])
            assert len(rig.store) == 0
            await board.result(events[1])
            assert len(rig.times("thread")) == 2

    virtual_time.run(main())


def test_kept_results_are_bounded() -> None:
    """Results that nobody fetches do not fill the memory: the oldest are dropped, and asked for again when wanted."""

    async def main() -> None:
        rig = Rig(answer, max_pending=3)
        events = [task(number) for number in range(6)]
        async with rig.running() as board:
            await board.add(events)
            await asyncio.sleep(40)
            assert len(board._entries) == len(board._at) == 3
            assert board.pending_events == 0
            await board.result(events[0])
            assert len(rig.times("t0")) == 2
            await board.result(events[5])
            assert len(rig.times("t5")) == 1

    virtual_time.run(main())


def test_a_task_past_its_deadline_is_given_up() -> None:
    """After the deadline all events of a task get no result, it is counted, and no query follows."""

    async def main() -> None:
        rig = Rig(lambda _: None, deadline_seconds=100)
        events = [task(1, of="thread"), task(2, of="thread")]
        async with rig.running() as board:
            await board.add(events)
            assert await asyncio.gather(*(board.result(event) for event in events)) == [None, None]
            assert now() == 100
            assert await board.result(events[0]) is None
            await asyncio.sleep(100)
        assert rig.times("thread") == [30, 60, 90]
        assert rig.value("tasks_given_up_total", reason="deadline") == 1
        assert rig.value("task_seconds_count", how="poll") == 0

    virtual_time.run(main())


def test_a_query_that_hangs_does_not_outlive_the_deadline() -> None:
    """A task is given up in time even while a query for it waits for its answer."""

    async def hangs() -> None:
        await asyncio.sleep(10_000)

    async def main() -> None:
        rig = Rig(lambda _: hangs(), deadline_seconds=100)
        async with rig.running() as board:
            await board.add([task(1)])
            assert await board.result(task(1)) is None
            assert now() == 100

    virtual_time.run(main())


def test_a_task_the_service_lost_is_given_up_at_once() -> None:
    """A task that the service no longer knows will never have a result: its events need not wait for the deadline."""

    async def main() -> None:
        rig = Rig(lambda _: TaskLost("gone"))
        async with rig.running() as board:
            await board.add([task(1)])
            assert await board.result(task(1)) is None
            assert now() == 30
        assert rig.value("tasks_given_up_total", reason="lost") == 1
        assert rig.value("task_polls_total", outcome="lost") == 1

    virtual_time.run(main())


def test_a_callback_ends_the_wait_and_the_polling() -> None:
    """A verified callback brings the result at once; a query for it that waits for its token is not sent any more."""

    async def never() -> float:
        await asyncio.sleep(10_000)
        return 0.0

    async def main() -> None:
        rig = Rig(answer, callbacks=True, acquire=never)
        async with rig.running() as board:
            await board.add([task(1)])
            waiter = asyncio.create_task(board.result(task(1)))
            await asyncio.sleep(65)
            assert await board.deliver("t1", content("t1", "high"), place(1)) == "accepted"
            assert await waiter == answer("t1", "high")
            await asyncio.sleep(20_000)
        assert rig.queries == []
        assert rig.value("task_seconds_sum", how="callback") == pytest.approx(65)

    virtual_time.run(main())


def test_a_callback_in_the_moment_of_a_query_is_enough() -> None:
    """Queries that were about to begin when their callbacks came are given up without a trace, however many."""
    others = range(2, 251)

    async def main() -> None:
        async def first(task_id: str) -> Answer:
            if task_id == "t1":
                for number in others:
                    assert await board.deliver(f"t{number}", content(f"t{number}"), place(number)) == "accepted"
            return answer(task_id)

        rig = Rig(first)
        async with rig.running() as board:
            await board.add([task(1), *(task(number) for number in others)])
            await board.result(task(250))
            await board.add([task(251, submitted_at=30)])
            assert await board.result(task(251)) == answer("t251")
        assert rig.queries == [(30, "t1"), (60, "t251")]

    virtual_time.run(main())


def test_callbacks_delivered_again_change_nothing() -> None:
    """The first callback counts; the same one, and another one for the same task, are only told apart."""

    async def main() -> None:
        rig = Rig(answer)
        async with rig.running() as board:
            await board.add([task(1), task(2)])
            assert await board.deliver("t1", content("t1", "high"), place(1)) == "accepted"
            assert await board.deliver("t1", content("t1", "high"), place(1)) == "repeated"
            assert await board.deliver("t1", content("t1", "none"), place(1)) == "repeated"
            assert await board.result(task(1)) == answer("t1", "high")
            await board.result(task(2))
            assert await board.deliver("t2", content("t2", "high"), place(2)) == "finished"
            assert await board.result(task(2)) == answer("t2")
            await board.forget([place(1), place(2)])
            assert await board.deliver("t1", content("t1", "high"), place(1)) == "repeated"
            assert await board.deliver("t2", content("t2", "high"), place(2)) == "finished"

    virtual_time.run(main())


def test_a_callback_counts_only_for_a_task_it_belongs_to() -> None:
    """Unknown tasks and foreign content are not taken; content without a task's id counts where it was sent to."""
    nameless = b'{"Code":200,"Data":{"RiskLevel":"high"}}'

    async def main() -> None:
        rig = Rig(answer)
        board = rig.board
        await board.add([task(1), task(2)])
        assert await board.deliver("t9", content("t9"), place(9)) == "unknown"
        assert await board.deliver("t1", content("t2"), place(2)) == "unknown"
        assert await board.deliver("t1", nameless, place(2)) == "unknown"
        assert await board.deliver("t1", b'{"Code":280}', place(1)) == "no_result"
        assert board.pending_events == 2
        assert await board.deliver("t1", nameless, place(1)) == "accepted"
        assert await board.deliver("t2", content("t2"), place(1)) == "accepted"

    virtual_time.run(main())


def test_a_restart_goes_on_with_what_the_store_remembers() -> None:
    """After a restart nothing is submitted or asked for too early, and the tasks come back spread over the interval."""

    async def main() -> None:
        store = MemoryTaskStore()
        first = Rig(lambda _: None, store=store)
        async with first.running() as board:
            for number in range(50):
                await board.add([task(number, submitted_at=now())])
                await asyncio.sleep(1)
            await asyncio.sleep(30)
        stopped = now()
        last = {task_id: max(first.times(task_id)) for _, task_id in first.queries}
        second = Rig(answer, store=store)
        async with second.running() as board:
            found = [board.find(place(number), f"f{number}") for number in range(50)]
            assert [one.task_id for one in found if one] == [f"t{number}" for number in range(50)]
            await asyncio.gather(*(board.result(one) for one in found if one))
            for number in range(50):
                [asked] = second.times(f"t{number}")
                assert asked >= last[f"t{number}"] + 30
                assert asked <= stopped + 60
            times = [at for at, _ in second.queries]
            assert max(times.count(at) for at in times) <= 2

    virtual_time.run(main())


def test_a_task_found_again_after_its_deadline_is_asked_for_once() -> None:
    """After a long outage a result that was paid for is fetched, not given up unseen."""

    async def main() -> None:
        await asyncio.sleep(200)
        rig = Rig(answer, deadline_seconds=100)
        async with rig.running() as board:
            assert await board.result(task(1)) == answer("t1")

    virtual_time.run(main())


def test_the_polling_loop_can_be_stopped_and_started() -> None:
    """A query that was on the wire when the loop was stopped is made again, an interval later."""

    async def slow() -> None:
        await asyncio.sleep(5)

    async def main() -> None:
        rig = Rig(lambda _: slow())
        await rig.board.add([task(1)])
        for seconds in (32, 99):
            loop = asyncio.create_task(rig.board.run())
            await asyncio.sleep(seconds)
            loop.cancel()
            with pytest.raises(asyncio.CancelledError):
                await loop
        assert rig.times("t1") == [30, 62, 97]

    virtual_time.run(main())


def test_what_a_query_must_not_raise_ends_the_loop() -> None:
    """A fault in the program is not taken for a fault of the service."""

    async def main() -> None:
        rig = Rig(lambda _: TimeoutError("not ours"))
        await rig.board.add([task(1)])
        await rig.board.run()

    with pytest.raises(ExceptionGroup) as raised:
        virtual_time.run(main())
    assert raised.group_contains(TimeoutError)


def test_submitters_wait_for_room() -> None:
    """With as many events pending as allowed, submitters wait until one has its result."""

    async def main() -> None:
        rig = Rig(answer, max_pending=2)
        async with rig.running() as board:
            await board.room()
            await board.add([task(1), task(2, submitted_at=10)])
            await board.room()
            assert now() == 30
            await board.add([task(number, submitted_at=30) for number in range(3, 6)])
            await board.room()
            assert now() == 60

    virtual_time.run(main())


def test_submitters_wait_while_polls_are_late() -> None:
    """More tasks than the query quota can serve let nobody in until the polls have caught up."""

    async def main() -> None:
        bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        rig = Rig(answer, acquire=bucket.acquire)
        async with rig.running() as board:
            await board.add([task(number) for number in range(200)])
            await asyncio.sleep(61)
            await board.room()
            # All were due at 30 s. A hundred queries wait for their tokens; when they have them, so do the others.
            assert now() == pytest.approx(129, abs=1.5)

    virtual_time.run(main())


def test_tasks_that_take_two_polls_are_submitted_at_half_the_query_quota() -> None:
    """In the long run as many tasks are let in as can be asked for in time, and their polls are hardly late."""
    asked: Counter[str] = Counter()
    submitted: list[float] = []

    def second_time(task_id: str) -> Answer | None:
        asked[task_id] += 1
        return answer(task_id) if asked[task_id] == 2 else None

    async def main() -> None:
        submits, queries = (Bucket(10, jitter_seconds=0.0, clock=virtual_time.LoopClock()) for _ in range(2))
        rig = Rig(second_time, acquire=queries.acquire, queries_per_second=10)
        async with rig.running() as board, asyncio.TaskGroup() as waiting:
            while now() < 1200:
                await board.room()
                await submits.acquire()
                submitted.append(now())
                one = task(len(submitted), submitted_at=now())
                await board.add([one])
                waiting.create_task(board.result(one))
        polls: dict[str, list[float]] = {}
        for at, task_id in rig.queries:
            polls.setdefault(task_id, []).append(at)
        gaps = [second - first for first, second in polls.values() if first > 600]
        assert min(gaps) >= 30
        assert max(gaps) < 45

    virtual_time.run(main())
    assert sum(600 < at <= 1200 for at in submitted) == pytest.approx(3000, rel=0.05)


def test_an_event_may_be_in_several_tasks() -> None:
    """An event that no single call takes has a task for each of its parts: all of them live until it is done with."""
    nameless = b'{"Code":200,"Data":{"RiskLevel":"high"}}'

    async def main() -> None:
        rig = Rig(answer)
        parts = [replace(task(1, of=name), fingerprint=name) for name in ("one", "two", "three")]
        async with rig.running() as board:
            for part in parts:
                await board.add([part])
            assert [board.find(place(1), name) for name in ("one", "two", "three")] == parts
            assert await board.deliver("one", content("one", "high"), place(1)) == "accepted"
            assert await board.deliver("two", nameless, place(1)) == "unknown"
            assert await board.result(parts[0]) == answer("one", "high")
            assert await board.result(parts[1]) == answer("two")
            await board.forget([place(1)])
            assert board.pending_events == len(board._entries) == len(board._at) == len(rig.store) == 0
        assert {task_id for _, task_id in rig.queries} == {"two", "three"}

    virtual_time.run(main())


def test_an_event_done_with_takes_its_pending_task_along() -> None:
    """A task whose last event needs it no more is not asked for any more."""

    async def main() -> None:
        rig = Rig(lambda _: None)
        async with rig.running() as board:
            await board.add([task(1)])
            await asyncio.sleep(40)
            await board.forget([place(1)])
            assert board.pending_events == rig.value("tasks_pending") == 0
            await asyncio.sleep(100)
        assert rig.times("t1") == [30]

    virtual_time.run(main())
