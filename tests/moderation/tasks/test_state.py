"""What is remembered beyond the life of a process: tasks and callbacks in a log, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from consumer.errors import DeliveryRefused, Stuck
from consumer.moderation.tasks.records import encode_task
from consumer.moderation.tasks.remembered import KEPT_SECONDS
from consumer.moderation.tasks.task import Callback
from tests import virtual_time
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.moderation.tasks.support import content, now, place, task


def test_a_task_is_remembered_when_it_is_acknowledged() -> None:
    """`remember` returns with the acknowledgement of all its tasks, and they are found from then on."""

    async def main() -> None:
        topic = MemoryTopic(ack_seconds=2)
        async with Process(topic).running() as state:
            remembering = asyncio.create_task(state.remember([task(1, of="t"), task(2, of="t")]))
            await asyncio.sleep(1.9)
            assert not remembering.done()
            assert topic.records == []
            await remembering
            assert now() == 2
            assert len(topic.live()) == 2
            assert [state.find(place(n), f"f{n}") for n in (1, 2)] == [task(1, of="t"), task(2, of="t")]
            assert state.find(place(1), "another record's") is None

    virtual_time.run(main())


def test_a_killed_processes_tasks_are_found_by_the_next() -> None:
    """What a process had recorded before it was killed is found by one that starts, and by one that stood by."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as standby:
            async with Process(topic).alive() as killed:
                await killed.remember([task(number) for number in range(20)])
            await standby.caught_up()
            async with Process(topic).running() as started:
                for number in range(20):
                    assert standby.find(place(number), f"f{number}") == task(number)
                    assert started.find(place(number), f"f{number}") == task(number)

    virtual_time.run(main())


def test_a_takeover_waits_for_what_was_written_before_it() -> None:
    """`caught_up` returns when all that was in the log at the time of the call was read, and says what it waits for."""

    async def main() -> None:
        topic = MemoryTopic()
        owner, heir = Process(topic), Process(topic)
        async with owner.alive() as state, heir.alive() as taking_over:
            heir.log.lagging = True
            await state.remember([task(number) for number in range(9)])
            with capture_logs() as logs:
                waiting = asyncio.create_task(taking_over.caught_up())
                await asyncio.sleep(12)
                assert not waiting.done()
                assert taking_over.find(place(8), "f8") is None
                heir.log.lagging = False
                await waiting
            assert [taking_over.find(place(number), f"f{number}") for number in range(9)] == [
                task(number) for number in range(9)
            ]
        said = [entry["records_left"] for entry in logs if entry["event"] == "waiting_for_state"]
        assert said == [9, 9]

    virtual_time.run(main())


def test_a_takeover_does_not_wait_for_what_comes_after_it() -> None:
    """A log that grows all the time does not keep a takeover waiting."""

    async def main() -> None:
        topic = MemoryTopic()

        async def grow() -> None:
            while True:
                topic.write(*encode_task(task(int(now() * 1000))))
                await asyncio.sleep(0.001)

        async with Process(topic).alive() as state:
            growing = asyncio.create_task(grow())
            await asyncio.sleep(1)
            async with asyncio.timeout(0.1):
                await state.caught_up()
            growing.cancel()
            with suppress(asyncio.CancelledError):
                await growing

    virtual_time.run(main())


def test_a_takeover_outlasts_an_outage_and_can_be_given_up() -> None:
    """While the log is away a takeover waits; it can be cancelled, and a later one goes on."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as state:
            topic.away = True
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):
                    await state.caught_up()
            waiting = asyncio.create_task(state.caught_up())
            remembering = asyncio.create_task(state.remember([task(1)]))
            await asyncio.sleep(100)
            assert not waiting.done()
            assert not remembering.done()
            topic.away = False
            await waiting
            await remembering
            assert state.find(place(1), "f1") == task(1)

    virtual_time.run(main())


def test_what_is_forgotten_is_deleted_everywhere() -> None:
    """A tombstone follows for each task and callback of a place; nothing else is touched, and nobody finds them."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as standby, Process(topic).running() as state:
            parts = [replace(task(1, of=name), fingerprint=name) for name in ("one", "two")]
            await state.remember([*parts, task(2)])
            assert await standby.forward(Callback(place(1), "one", content("one")))
            assert await standby.forward(Callback(place(2), "t2", content("t2")))
            await state.caught_up()
            await state.forget([place(1), place(99)])
            assert state.find(place(1), "one") is None
            await asyncio.sleep(1)
            assert standby.find(place(1), "two") is None
            assert standby.forwarded("one") == []
            assert standby.find(place(2), "f2") == task(2)
            assert sorted(topic.live(), key=str) == [b"callback/ugc/0/2/t2", b"task/ugc/0/2/f2"]
            assert len(topic.records) == 5 + 3

    virtual_time.run(main())


def test_forgetting_holds_nobody_up() -> None:
    """While the log is away, forgetting returns at once; the tombstones are written when it is back."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).running() as state:
            await state.remember([task(1), task(2)])
            topic.away = True
            await state.forget([place(1)])
            await state.forget([place(2)])
            assert now() == pytest.approx(0.005)
            await asyncio.sleep(60)
            assert len(topic.live()) == 2
            topic.away = False
            await asyncio.sleep(1)
            assert topic.live() == {}

    virtual_time.run(main())


def test_a_stop_writes_the_last_tombstones_or_gives_up_in_time() -> None:
    """What was forgotten last is deleted by an orderly stop; with the log away the stop ends all the same."""

    async def main() -> None:
        topic = MemoryTopic(ack_seconds=0.1)
        process = Process(topic)
        async with process.alive() as state:
            await state.remember([task(1)])
        await state.forget([place(1)])
        await state.stop()
        assert topic.live() == {}

        async with Process(topic).alive() as state:
            await state.remember([task(2)])
            topic.away = True
            await state.forget([place(2)])
        began = now()
        await state.stop()
        assert now() - began == pytest.approx(2)

    virtual_time.run(main())


def test_tombstones_that_fail_are_counted_and_harm_nobody() -> None:
    """A record that could not be deleted is not found by the process that forgot it, and is too old some day."""

    async def main() -> None:
        topic = MemoryTopic()
        process = Process(topic)
        async with process.running() as state:
            await state.remember([task(1)])
            topic.refusal = Stuck("not allowed any more")
            await state.forget([place(1)])
            await asyncio.sleep(1)
            assert state.find(place(1), "f1") is None
        assert process.counted("state_writes_failed", what="tombstone") == 1
        assert len(topic.live()) == 1
        await asyncio.sleep(KEPT_SECONDS + 1)
        async with Process(topic).running() as state:
            assert state.find(place(1), "f1") is None

    virtual_time.run(main())


def test_a_crash_between_commit_and_tombstone_leaves_a_record_that_is_ignored() -> None:
    """A record that outlives its event is found by no other record at its place, and by none at all after 25 hours."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as killed:
            await killed.remember([task(1), task(2)])
        async with Process(topic).running() as state:
            assert state.find(place(1), "the record of a topic that was made anew") is None
            assert len(state._view) == 2
            await asyncio.sleep(KEPT_SECONDS - 60)
            await state.remember([task(3)])
            assert state.find(place(1), "f1") == task(1)
            await asyncio.sleep(61)
            assert state.find(place(1), "f1") is None
            await asyncio.sleep(3600)
            assert len(state._view) == 1
            assert state.find(place(3), "f3") == task(3)

    virtual_time.run(main())


def test_a_task_that_cannot_be_recorded_ends_the_process() -> None:
    """A log that refuses tasks for good is an error that says so: going on would pay for what a crash forgets."""

    async def main() -> None:
        topic = MemoryTopic()
        topic.refusal = DeliveryRefused("larger than 100 bytes")
        process = Process(topic)
        async with process.running() as state:
            with pytest.raises(Stuck, match="larger than 100 bytes"):
                await state.remember([task(1)])
            assert state.find(place(1), "f1") is None
        assert process.counted("state_writes_failed", what="task") == 1

    virtual_time.run(main())


def test_what_cannot_be_read_is_counted_and_passed_over() -> None:
    """Records that are damaged, newer or foreign hide none of those beside them."""

    async def main() -> None:
        topic = MemoryTopic()
        key, value = encode_task(task(1))
        topic.write(key, value.replace(b'"version":1', b'"version":9'))
        topic.write(*encode_task(task(2)))
        topic.write(encode_task(task(3))[0], b"\x00\xff")
        topic.write(None, b"x")
        topic.write(b"budget/2026", b"{}")
        process = Process(topic)
        async with process.running() as state:
            assert [bool(state.find(place(number), f"f{number}")) for number in (1, 2, 3)] == [False, True, False]
        counted = {reason: process.counted("state_records_skipped", reason=reason) for reason in REASONS}
        assert counted == {"version": 1, "damaged": 1, "unknown": 2}

    virtual_time.run(main())


REASONS = ("version", "damaged", "unknown")


def test_a_task_forgotten_and_remembered_again_is_kept() -> None:
    """A tombstone that is still to be written does not delete what was remembered after it."""

    async def main() -> None:
        topic = MemoryTopic()
        process = Process(topic)
        async with process.alive() as state:
            await state.remember([task(1)])
        await state.forget([place(1)])
        await state.remember([task(1, of="again")])
        await state.stop()
        assert topic.live() == dict([encode_task(task(1, of="again"))])

    virtual_time.run(main())
