"""Tests of multimodal tasks through the whole consumer: threads in, each event's own verdict out, bills that agree."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest

from consumer.app import App
from consumer.settings import load
from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings, truth
from tests.app.process import Bench, environment
from tests.ports import free_port


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker


RISKY = next(word.text for word in truth.WORDS if word.language == "en" and word.level == "high")


def events() -> list[dict[str, object]]:
    """Three threads of a post, comments and replies, two profiles, and one risky word and image among them."""
    made: list[dict[str, object]] = []
    for thread in range(3):
        post = f"p{thread}"
        made.append({"id": post, "kind": "post", "title": "A title", "text": f"Post {thread}", "thread": post})
        for number in range(4):
            text = f"well, {RISKY}, as they say" if (thread, number) == (1, 2) else f"comment {number} of {thread}"
            pictures = ["https://example.com/high/violent_gun_1.jpg"] if (thread, number) == (2, 1) else []
            made.append(
                {
                    "id": f"c{thread}-{number}",
                    "kind": "comment",
                    "text": text,
                    "thread": post,
                    "parent": post,
                    "images": pictures,
                }
            )
        made.append(
            {"id": f"r{thread}", "kind": "comment", "text": "a reply", "thread": post, "parent": f"c{thread}-0"}
        )
    for number in range(2):
        images: list[object] = [f"https://example.com/avatars/{number}.jpg"]
        made.append({"id": f"u{number}", "kind": "profile", "text": f"nick{number}", "images": images})
    made.append({"id": "u-own", "kind": "profile", "text": "nick", "images": [{"content": AVATAR}]})
    return made


# The first bytes of a picture are what the service goes by.
AVATAR = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
RISKY_IDS = {"c1-2", "c2-1"}


async def judged(bench: Bench, settings: SimulatorSettings, count: int, **more: str) -> tuple[Simulator, App]:
    """Run the consumer until so many verdicts were acknowledged."""
    async with Simulator(settings) as simulator:
        env = environment(
            bench,
            simulator.url,
            MODERATION__REGION="cn-shanghai",
            TASKS__FIRST_POLL_SECONDS="0.4",
            TASKS__POLL_INTERVAL_SECONDS="0.4",
            THREADS__MAX_AGE_SECONDS="1",
            **more,
        )
        app = App(load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}))
        stop = asyncio.Event()
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run(stop))
            while sum(app.metrics.totals("verdicts").values()) < count:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            stop.set()
    return simulator, app


def check(bench: Bench, simulator: Simulator, app: App) -> list[dict[str, object]]:
    """Each event has its one verdict, as its content deserves, and all three books agree."""
    written = [orjson.loads(value) for value, _ in bench.read(bench.verdicts, len(events()))]
    assert Counter(one["event_id"] for one in written) == Counter(one["id"] for one in events())
    assert {one["event_id"] for one in written if one["risk_level"] != "none"} == RISKY_IDS
    assert {one["action"] for one in written if one["event_id"] in RISKY_IDS} == {"block"}
    in_verdicts: Counter[str] = Counter()
    for one in written:
        for bill in one["billed"]:
            in_verdicts[bill["moderation_type"]] += bill["units"]
    counted = {kind: int(units) for (kind,), units in app.metrics.totals("billed_units").items()}
    ledger = {kind: total.units for kind, total in simulator.ledger.moderation_types.items()}
    assert in_verdicts == counted == ledger
    return written


@pytest.fixture
def bench(embedded: EmbeddedBroker) -> Bench:
    """Topics with all the events."""
    made = Bench.on(embedded)
    made.produce([orjson.dumps(event) for event in events()])
    return made


def test_threads_are_judged_together_and_each_event_by_itself(bench: Bench) -> None:
    """Comments of a thread share a task, a risky one does not spoil its neighbours, and every unit is accounted for."""
    settings = SimulatorSettings(task_latency=Latency.parse("300"), task_polls=1)
    simulator, app = asyncio.run(judged(bench, settings, len(events())))
    written = check(bench, simulator, app)
    tasks = {one["task_id"] for one in written}
    assert 5 <= len(tasks) < len(events())
    assert {one["source"] for one in written} <= {"thread", "service"}
    assert "thread" in {one["source"] for one in written}


def test_results_come_by_callback(bench: Bench) -> None:
    """With a receiver configured, results arrive by callback long before they would be asked for."""
    port = free_port()
    settings = SimulatorSettings(task_latency=Latency.parse("300"))
    more = {
        "CALLBACKS__URL": f"http://127.0.0.1:{port}/moderation",
        "CALLBACKS__HOST": "127.0.0.1",
        "CALLBACKS__PORT": str(port),
        "CALLBACKS__ACCOUNT_ID": settings.account_id,
        "CALLBACKS__SECRET": "a secret of some length",
    }
    simulator, app = asyncio.run(judged(bench, settings, len(events()), **more))
    check(bench, simulator, app)
    assert app.metrics.totals("callbacks")["accepted",] >= 5


def test_faults_of_submission_and_query_lose_nothing(bench: Bench) -> None:
    """With failing submissions and queries every event still has its verdict, and the books still agree."""
    settings = SimulatorSettings(
        task_latency=Latency.parse("300"),
        faults=(Fault.parse("code=500,share=0.2"), Fault.parse("reset,share=0.1"), Fault.parse("http_502,share=0.1")),
    )
    simulator, app = asyncio.run(judged(bench, settings, len(events())))
    check(bench, simulator, app)
