"""What a refusal teaches can be seen: in the metrics at once, and in the log once."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs

from consumer.metrics import Metrics
from consumer.quota import Bucket
from consumer.quota.lessons import Lessons
from tests import virtual_time


class Watched:
    """Two buckets whose lessons are shown."""

    def __init__(self) -> None:
        clock = virtual_time.LoopClock()
        self.text = Bucket(50, jitter_seconds=0.03, clock=clock)
        self.image = Bucket(100, jitter_seconds=0.03, clock=clock)
        self.metrics = Metrics()
        self.lessons = Lessons([("text", self.text), ("image", self.image)], clock=clock, metrics=self.metrics)

    def shown(self, quota: str) -> tuple[float | None, float | None]:
        value = self.metrics.registry.get_sample_value
        labels = {"quota": quota}
        return value("moderation_quota_limit", labels), value("moderation_quota_limit_full", labels)


def test_the_limit_as_it_is_and_as_it_is_now_is_shown() -> None:
    """A scrape shows what is allowed at that moment beside what is allowed without refusals, for each quota."""

    async def main() -> list[Any]:
        watched = Watched()
        seen = [watched.shown("text")]
        watched.text.throttled()
        seen.append(watched.shown("text"))
        await asyncio.sleep(30)
        seen += [watched.shown("text"), watched.shown("image")]
        watched.text.hand_out(20)
        return [*seen, watched.shown("text")]

    assert virtual_time.run(main()) == [(50, 50), (35, 50), (42, 50), (100, 100), (17, 20)]


def test_a_lowered_limit_is_told_once_and_once_when_it_is_whole() -> None:
    """However often calls are refused, there is one line when the limit shrinks and one when it has recovered."""

    async def main() -> None:
        watched = Watched()
        running = asyncio.create_task(watched.lessons.run())
        await asyncio.sleep(10)
        for _ in range(5):
            watched.text.throttled()
            await asyncio.sleep(3)
        await asyncio.sleep(600)
        running.cancel()

    with capture_logs() as logs:
        virtual_time.run(main())
    lowered, whole = logs
    assert (lowered["event"], lowered["quota"], lowered["limit"], lowered["limit_now"]) == (
        "quota lowered",
        "text",
        50,
        35,
    )
    assert (whole["event"], whole["quota"], whole["limit"], whole["lowest"]) == ("quota whole again", "text", 50, 7)
    assert 60 <= whole["seconds"] <= 240


def test_tokens_that_go_elsewhere_are_no_lesson() -> None:
    """A smaller part of the limit, or none, says nothing of refusals, and ends no lesson either."""

    async def main() -> None:
        watched = Watched()
        running = asyncio.create_task(watched.lessons.run())
        for part in (10, 0, 50):
            watched.text.hand_out(part)
            await asyncio.sleep(5)
        assert logs == []
        watched.text.throttled()
        await asyncio.sleep(5)
        watched.text.hand_out(0)
        await asyncio.sleep(5)
        watched.text.hand_out(50)
        await asyncio.sleep(100)
        running.cancel()

    with capture_logs() as logs:
        virtual_time.run(main())
    assert [line["event"] for line in logs] == ["quota lowered", "quota whole again"]
