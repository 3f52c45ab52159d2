"""What is built from settings, where no other test sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.building import buckets, hand_out, limits
from consumer.clock import SystemClock
from consumer.event import Event
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.moderation.protocol.services import QUOTAS
from consumer.routing import Route
from consumer.settings import load_embedded
from consumer.simulator import Latency, Simulator, SimulatorSettings
from tests.moderation.support import Claim, Door


if TYPE_CHECKING:
    from consumer.settings import EmbeddedSettings


def settings(endpoint: str = "http://127.0.0.1:1", **changes: object) -> EmbeddedSettings:
    keys = {"access_key_id": "testid", "access_key_secret": "testsecret"}
    return load_embedded({"moderation": {"endpoint": endpoint, "credentials": keys}, **changes}, {})


def test_each_bucket_has_its_limit() -> None:
    """There is a bucket for each of the account's limits, and it has all of the limit's tokens at first."""
    chosen = settings(quota={"text_per_second": 7, "multimodal_query_per_second": 3})
    built = buckets(chosen, SystemClock())
    assert set(built) == set(QUOTAS)
    assert {name: bucket.limit for name, bucket in built.items()} == limits(chosen)
    assert (limits(chosen)["text"], limits(chosen)["multimodal_query"]) == (7, 3)


def test_tokens_are_handed_out_by_the_names_of_buckets() -> None:
    """Each bucket is left with this process's part; one that the leader of the group did not name has none."""
    built = buckets(settings(), SystemClock())
    hand_out(built, {"text": 20, "image": 0, "multimodal_submit": 3, "a_newer_bucket": 9})
    assert {name: bucket.limit for name, bucket in built.items()} == {
        "text": 20,
        "image": 0,
        "image_llm": 0,
        "multimodal_submit": 3,
        "multimodal_query": 0,
    }


def test_threads_gather_while_nothing_may_be_sent() -> None:
    """Events of a thread that come while the guard is shut become one call when it opens, and are paid as one."""
    door = Door()

    async def main(simulator: Simulator) -> int:
        chosen = settings(simulator.url, threads={"quiet_seconds": 0.02, "max_age_seconds": 30})
        async with (
            Judging(chosen, clock=SystemClock(), metrics=Metrics(), guard=door) as judging,
            asyncio.TaskGroup() as tasks,
        ):
            running = tasks.create_task(judging.run())
            await judging.started.wait()
            judged = []
            for offset in range(3):
                event = Event(str(offset), "comment", text="hello", thread="t")
                route = Route("threads", ("post_text_image_detection",))
                judged.append(tasks.create_task(judging.judge.judge(event, route, Claim(offset))))
                await asyncio.sleep(0.2)
            assert simulator.stats.requests == 0
            door.open()
            while not (submitted := simulator.stats.codes.get("MultimodalAsyncModeration")):
                await asyncio.sleep(0.02)
            for task in (*judged, running):
                task.cancel()
        return submitted.total()

    async def beside_a_simulator() -> int:
        async with Simulator(SimulatorSettings(task_latency=Latency(1.0))) as simulator:
            return await main(simulator)

    assert asyncio.run(beside_a_simulator()) == 1


def test_a_moderator_that_nobody_can_replace_needs_no_proof() -> None:
    """Without a guard, what judges events sends at once: it is in no group that could give its work away."""

    async def main() -> int:
        async with (
            Simulator(SimulatorSettings()) as simulator,
            Judging(settings(simulator.url), clock=SystemClock(), metrics=Metrics()) as judging,
            asyncio.TaskGroup() as tasks,
        ):
            running = tasks.create_task(judging.run())
            await judging.started.wait()
            await judging.judge.judge(
                Event("1", "comment", text="hello"), Route("all", ("ugc_moderation_byllm",)), Claim()
            )
            running.cancel()
            return simulator.stats.requests

    assert asyncio.run(main()) == 1
