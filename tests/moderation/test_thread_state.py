"""What a process pays for again after another one ended: tasks in the state topic, and the records they belong to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.tasks.task import Place
from tests.moderation.support import Claim
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.moderation.thread_world import World, event
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.moderation.thread_judge import ThreadJudge
    from consumer.verdict import Judgement


THREAD = [event(0, "post", thread="t"), *(event(number, thread="t") for number in (1, 2, 3))]


@asynccontextmanager
async def process(world: World, topic: MemoryTopic) -> AsyncIterator[ThreadJudge]:
    """A process with its state, killed at the end: what it had not written by then is not written."""
    async with Process(topic).alive() as world.store, world.running() as judge:
        yield judge


async def judged(world: World) -> list[Judgement]:
    """The thread's verdicts, from the process that runs."""
    return await asyncio.gather(*(world.one(one, Claim(offset)) for offset, one in enumerate(THREAD)))


def test_a_kill_submits_nothing_again() -> None:
    """What was submitted before a kill is waited for by the next process, whose verdicts and bills say the same."""

    async def main() -> None:
        fresh, world, topic = World(takes_seconds=100), World(takes_seconds=100), MemoryTopic()
        async with process(fresh, MemoryTopic()):
            expected = await judged(fresh)
        async with process(world, topic):
            works = asyncio.ensure_future(judged(world))
            await asyncio.sleep(50)
            works.cancel()
            await asyncio.wait({works})
        async with process(world, topic):
            assert await judged(world) == expected
            assert world.rig.metric("tasks_resumed_total", service="post_text_image_detection") == 4
        assert world.submissions == [["e0", "e1", "e2", "e3"]]

    run(main())


def test_what_is_committed_is_deleted_afterwards() -> None:
    """Only when an event's verdict is committed does its task's record go, and no other's with it."""

    async def main() -> None:
        world, topic = World(), MemoryTopic()
        async with process(world, topic) as judge:
            await judged(world)
            assert len(topic.live()) == 4
            await ServiceJudge(world.rig.client, KNOWN, judge).forget([Place("events", 0, 1), Place("events", 0, 99)])
            await asyncio.sleep(1)
            assert [key.split(b"/")[3] for key in sorted(topic.live(), key=str) if key] == [b"0", b"2", b"3"]

    run(main())


def test_an_offset_reset_is_paid_again() -> None:
    """Who sets a group's offsets back has events judged again, and paid, whose tasks were done with and deleted."""

    async def main() -> None:
        world, topic = World(), MemoryTopic()
        for _ in range(2):
            async with process(world, topic) as judge:
                await world.one(event(1), Claim(1))
                await judge.forget([Place("events", 0, 1)])
                await asyncio.sleep(1)
        assert world.submissions == [["e1"], ["e1"]]

    run(main())


def test_a_crash_before_the_tombstone_harms_nobody() -> None:
    """A task's record that was not deleted is found by the same record only, which an offset reset brings again."""

    async def main() -> None:
        world, topic = World(), MemoryTopic()
        async with process(world, topic):
            first = await world.one(event(1), Claim(1))
        async with process(world, topic):
            assert await world.one(event(1), Claim(1)) == first
        assert world.submissions == [["e1"]]

    run(main())


@pytest.mark.parametrize("changed", ["value", "key", "timestamp"])
def test_a_topic_made_anew_has_its_own_verdicts(changed: str) -> None:
    """Another record at the place of one that had a task is submitted itself, whatever is different about it."""
    others: dict[str, Any] = {"value": b"{}\n", "key": b"k", "timestamp": 1}

    async def main() -> None:
        world, topic = World(), MemoryTopic()
        async with process(world, topic):
            await world.one(event(1), Claim(1))
        async with process(world, topic):
            claim = Claim(1)
            claim.record = replace(claim.record, **{changed: others[changed]})
            found = await world.one(event(2), claim)
            assert [label.label for label in found.labels] == ["is_e2"]
        assert world.submissions == [["e1"], ["e2"]]

    run(main())


def test_another_group_pays_for_itself() -> None:
    """A group that reads the same records, and shares the state topic by mistake, takes no task of the other."""

    async def main() -> None:
        world, topic = World(), MemoryTopic()
        async with process(world, topic):
            await world.one(event(1), Claim(1))
        world.group_id = "another group"
        async with process(world, topic):
            await world.one(event(1), Claim(1))
        assert len(world.submissions) == 2

    run(main())
