"""Properties of the board of pending tasks under random traffic: right results, and never a query too early."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import CallError, TaskLost
from consumer.quota import Bucket
from tests import virtual_time
from tests.moderation.tasks.support import Rig, answer, content, now, task


if TYPE_CHECKING:
    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.tasks.board import TaskBoard


INTERVAL_SECONDS = 30.0
QUERIES_A_SECOND = 2


@dataclass(frozen=True)
class Story:
    """What happens to one task: how its queries end, in order, and when callbacks come, counted from submission."""

    submitted_at: float
    events: int
    ends: tuple[str, ...]
    latency: float
    callbacks_at: tuple[float, ...]
    impatient_until: float


STORIES = st.lists(
    st.builds(
        Story,
        submitted_at=st.floats(0, 100),
        events=st.integers(1, 4),
        ends=st.builds(
            lambda before, last: (*before, last),
            st.lists(st.sampled_from(["running", "failed"]), max_size=5).map(tuple),
            st.sampled_from(["result", "result", "lost"]),
        ),
        latency=st.floats(0, 40),
        callbacks_at=st.lists(st.floats(0, 300), max_size=3).map(tuple),
        impatient_until=st.sampled_from([0.0, 0.0, 5.0, 31.0, 70.0]),
    ),
    min_size=1,
    max_size=12,
)


class Scene:
    """Stories played at the same time on one board."""

    def __init__(self, stories: list[Story]) -> None:
        self.stories = stories
        self.ends = {f"t{number}": list(story.ends) for number, story in enumerate(stories)}
        self.asked: dict[str, list[tuple[float, float, str]]] = {task_id: [] for task_id in self.ends}
        self.expected: dict[str, tuple[float, Answer | None]] = {}
        self.on_the_wire: set[str] = set()

    async def reply(self, task_id: str) -> Answer | None:
        assert task_id not in self.on_the_wire
        assert task_id not in self.expected
        self.on_the_wire.add(task_id)
        began, end = now(), "cancelled"
        try:
            await asyncio.sleep(self.stories[int(task_id[1:])].latency)
            end = self.ends[task_id].pop(0)
        finally:
            self.on_the_wire.discard(task_id)
            self.asked[task_id].append((began, now(), end))
        match end:
            case "failed":
                raise CallError(end)
            case "lost":
                self.expected[task_id] = (now(), None)
                raise TaskLost(end)
            case "running":
                return None
        self.expected[task_id] = (now(), answer(task_id, "low"))
        return answer(task_id, "low")

    async def play(self) -> list[tuple[str, Answer | None]]:
        """Let everything happen; returns what each event got."""
        bucket = Bucket(QUERIES_A_SECOND, jitter_seconds=0.0, clock=virtual_time.LoopClock())
        rig = Rig(self.reply, acquire=bucket.acquire)
        async with rig.running() as board, asyncio.TaskGroup() as group:
            told = [
                told for number, story in enumerate(self.stories) for told in self.begin(board, number, story, group)
            ]
        assert board.pending_events == rig.value("tasks_pending") == 0
        times = sorted(at for at, _ in rig.queries)
        for first, later in zip(times, times[QUERIES_A_SECOND:], strict=False):
            assert later - first >= 1 - 1e-9
        return [one.result() for one in told]

    def begin(
        self, board: TaskBoard, number: int, story: Story, group: asyncio.TaskGroup
    ) -> list[asyncio.Task[tuple[str, Answer | None]]]:
        task_id = f"t{number}"
        events = [
            task(10 * number + event, of=task_id, submitted_at=story.submitted_at) for event in range(story.events)
        ]
        added = asyncio.Event()

        async def submit() -> None:
            await asyncio.sleep(story.submitted_at)
            await board.add(events)
            added.set()

        async def event(which: int) -> tuple[str, Answer | None]:
            await added.wait()
            if which % 2 == 0 and story.impatient_until:
                try:
                    async with asyncio.timeout(story.impatient_until):
                        return task_id, await board.result(events[which])
                except TimeoutError:
                    await asyncio.sleep(3)
            return task_id, await board.result(events[which])

        async def callback(after: float) -> None:
            await asyncio.sleep(story.submitted_at + after)
            known = task_id in self.expected
            outcome = await board.deliver(task_id, content(task_id, "high"), events[0].place)
            if outcome == "accepted":
                assert not known
                self.expected[task_id] = (now(), answer(task_id, "high"))
            else:
                assert known or not added.is_set() or after == 0

        group.create_task(submit())
        for after in story.callbacks_at:
            group.create_task(callback(after))
        return [group.create_task(event(which)) for which in range(story.events)]


@settings(deadline=None, max_examples=150)
@given(stories=STORIES)
def test_every_event_gets_its_tasks_result_and_no_query_is_early(stories: list[Story]) -> None:
    """What comes first counts for all events of a task; queries keep the page's times and the quota; none follow."""
    scene = Scene(stories)
    told = virtual_time.run(scene.play())
    assert len(told) == sum(story.events for story in stories)
    for task_id, got in told:
        assert got == scene.expected[task_id][1]
    for number, story in enumerate(stories):
        task_id = f"t{number}"
        earliest = story.submitted_at + INTERVAL_SECONDS
        for began, ended, end in scene.asked[task_id]:
            assert began >= earliest - 1e-6
            assert began <= scene.expected[task_id][0]
            earliest = ended + (2.0 if end == "failed" else INTERVAL_SECONDS)
