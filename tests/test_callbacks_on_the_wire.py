"""The simulator's callbacks against the callback port: two programs that share nothing but the pages."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from consumer.callbacks import CallbackServer
from consumer.clock import SystemClock
from consumer.metrics import Metrics
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.seeds import CallbackAddresses
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.tasks.task import Place, Task
from consumer.settings.models import Tasks
from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings
from tests.simulator.plain import query, signed


if TYPE_CHECKING:
    from consumer.moderation.protocol.responses import Answer


ACCOUNT = "1234567890123456"
PLACE = Place("ugc.posts", 7, 4711)
CLOCK = SystemClock()


class NoQuery:
    """Polling is for other tests."""

    async def query(self, service: str, task_id: str) -> Answer | None:
        raise AssertionError("nothing is polled here")


async def reported(fault: str = "", **settings: Any) -> tuple[str | None, dict[str, float]]:
    """Submit a risky post, and return the level that its callback brought, with the counts of callbacks by outcome."""
    chosen = SimulatorSettings(task_latency=Latency(1), callback_interval_seconds=0.01, account_id=ACCOUNT, **settings)
    metrics = Metrics()
    board = TaskBoard(
        store=MemoryTaskStore(), query=NoQuery(), settings=Tasks(), callbacks=True, clock=CLOCK, metrics=metrics
    )
    port = CallbackServer(
        host="127.0.0.1",
        port=0,
        account_id=ACCOUNT,
        secret="a secret of the test",
        max_body_bytes=65_536,
        receiver=board,
        metrics=metrics,
    )
    async with Simulator(chosen) as simulator, port, aiohttp.ClientSession() as session:
        if fault:
            simulator.faults.set([Fault.parse(fault)])
        address = CallbackAddresses(f"http://127.0.0.1:{port.port}/moderation", "a secret of the test").of(PLACE)
        parameters = {"mainData": {"mainContent": "buy cocaine"}, **address.parameters()}
        text = query({"Service": "post_text_image_detection", "ServiceParameters": json.dumps(parameters)})
        host = simulator.url.removeprefix("http://")
        headers = signed("MultimodalAsyncModeration", b"", now=CLOCK.now(), host=host, query=text)
        async with session.post(f"{simulator.url}/?{text}", headers=headers) as answered:
            data = (await answered.json())["Data"]
        submitted = Task(
            PLACE, "f", "post_text_image_detection", data.get("ReqId") or data["TaskId"], (), CLOCK.now(), CLOCK.now()
        )
        await board.add([submitted])
        stats = simulator.stats.callbacks
        async with asyncio.timeout(10):
            if "forged" in fault:
                while stats["posted"] < 3:
                    await asyncio.sleep(0)
                level = None if board.pending_events else "taken in"
            else:
                answer = await board.result(submitted)
                level = None if answer is None else answer.data["RiskLevel"]
                while stats["delivered"] < 1 + ("twice" in fault):
                    await asyncio.sleep(0)
        outcomes = {
            sample.labels["outcome"]: sample.value
            for family in metrics.registry.collect()
            if family.name == "moderation_callbacks"
            for sample in family.samples
            if sample.name.endswith("_total")
        }
        return level, outcomes


@pytest.mark.parametrize("dialect", ["sdk", "seed", "table"])
@pytest.mark.parametrize("envelope", [True, False], ids=["whole", "data only"])
def test_results_come_by_callback_in_every_dialect(dialect: str, *, envelope: bool) -> None:
    """However the service spells its answers, and whether or not it sends the whole of them, the result arrives."""
    level, outcomes = asyncio.run(reported(dialect=dialect, callback_envelope=envelope))
    assert level == "high"
    assert outcomes["accepted"] == 1
    assert set(outcomes) <= {"accepted", "unknown"}


def test_a_callback_that_overtakes_the_submission_comes_again() -> None:
    """A report that comes before its submission was answered is refused for now, and taken in later."""
    level, outcomes = asyncio.run(reported("callback_early"))
    assert level == "high"
    assert outcomes["unknown"] >= 1
    assert outcomes["accepted"] == 1


def test_a_callback_reported_twice_counts_once() -> None:
    """A second report of the same result is answered as delivered, and changes nothing."""
    level, outcomes = asyncio.run(reported("callback_twice"))
    assert level == "high"
    assert (outcomes["accepted"], outcomes["repeated"]) == (1, 1)


def test_forged_callbacks_bring_nothing() -> None:
    """Reports signed for another account are all refused: the task goes on waiting."""
    level, outcomes = asyncio.run(reported("callback_forged"))
    assert level is None
    assert set(outcomes) == {"forged"}
