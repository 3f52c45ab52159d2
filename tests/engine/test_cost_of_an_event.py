"""What one event costs, counted in calls and not timed: the guard against getting slower."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import consumer
from consumer.building import routes
from consumer.engine.way import Way
from consumer.intake import Intake
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.moderation.calling.transport import HttpAnswer
from consumer.routing import Router
from consumer.settings import load_embedded
from tests.engine.memory import Cluster, engine
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


BOUNDS = Path(__file__).parents[1] / "data" / "cost_of_an_event.txt"
PROGRAM = str(Path(consumer.__file__).parent)
WARM, COUNTED = 300, 2000
SETTINGS: dict[str, Any] = {
    "moderation": {
        "endpoint": "http://service.example",
        "credentials": {"access_key_id": "id", "access_key_secret": "secret"},
    },
    "quota": {"text_per_second": 1_000_000},
    "routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}],
}
ANSWER = {
    "Code": 200,
    "Message": "OK",
    "RequestId": "6CF2815C-C8C7-4A01-B52E-FF6E24F53492",
    "Data": {
        "RiskLevel": "none",
        "Result": [{"Label": "nonLabel", "Description": "no risk"}],
        "DetectedLanguage": "en",
        "DataId": "e1",
    },
}


class Service:
    """Answers each request after 50 ms, always the same."""

    async def post(self, _url: str, _headers: Mapping[str, str], _body: bytes) -> HttpAnswer:
        await asyncio.sleep(0.05)
        return HttpAnswer(200, orjson.dumps(ANSWER), {"content-type": "application/json"})

    async def put(self, *_: object) -> HttpAnswer:
        raise AssertionError("texts need no upload")


class Calls:
    """Counts the calls of functions of the program, and those from them to built-in ones."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.built_in: Counter[str] = Counter()

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PROGRAM):
            return
        where = f"{code.co_filename.removeprefix(PROGRAM)}:{code.co_name}"
        if event == "call":
            self.own[where] += 1
        elif event == "c_call":
            self.built_in[f"{where} calls {argument.__name__}"] += 1


def record(number: int) -> bytes:
    """One user's message, like no other."""
    text = f"number {number}: " + "a message of the usual length, as somebody writes in a chat. " * 3
    author = {"id": f"u{number % 100}"}
    return orjson.dumps({"id": f"e{number:07d}", "kind": "message", "text": text, "author": author, "language": "en"})


async def counted(events: int) -> Calls:
    """What is called from start to stop while so many events are judged and their verdicts written."""
    settings = load_embedded(SETTINGS, {})
    metrics = Metrics()
    cluster = Cluster(6)
    for number in range(events):
        cluster.produce(record(number), partition=number % 6, key=b"u%d" % (number % 100))
    calls = Calls()
    async with Judging(settings, clock=LoopClock(), metrics=metrics, transport=Service()) as judging:
        running = asyncio.create_task(judging.run(watched=False))
        await judging.started.wait()
        make_way: Callable[..., Way] = lambda **parts: Way(**{**parts, "intake": Intake(settings.mapping).event})  # noqa: E731  # one use
        router = Router(routes(settings))
        flow = engine(cluster, judging.judge, router=router, metrics=metrics, max_in_flight=64, make_way=make_way)
        stop = asyncio.Event()
        sys.setprofile(calls)
        try:
            flowing = asyncio.create_task(flow.run(stop))
            while len(cluster.written) < events:
                await asyncio.sleep(0.01)
            stop.set()
            await flowing
        finally:
            sys.setprofile(None)
            running.cancel()
            await asyncio.wait({running})
    assert {out.topic for out in cluster.written} == {"verdicts"}
    assert all(orjson.loads(out.value)["action"] == "pass" for out in cluster.written)
    return calls


def per_event(kind: str) -> tuple[float, str]:
    """How many calls of a kind one event more costs, and of which functions the most."""
    few: Counter[str] = getattr(run(counted(WARM)), kind)
    many: Counter[str] = getattr(run(counted(WARM + COUNTED)), kind)
    each = {where: (many[where] - few[where]) / COUNTED for where in many}
    most = sorted(each.items(), key=lambda item: -item[1])[:60]
    return sum(each.values()), "\n".join(f"{count:6.2f} {where}" for where, count in most)


def bounds() -> dict[str, float]:
    """The bounds, by the kind of calls."""
    lines = [line.split() for line in BOUNDS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name.removesuffix("_calls"): float(bound) for name, bound in lines}


@pytest.mark.parametrize("kind", ["own", "built_in"])
def test_an_event_costs_no_more_calls_than_it_may(kind: str) -> None:
    """One event more costs at most the calls of its bound, and the bound is not left behind by what was saved."""
    bound = bounds()[kind]
    cost, functions = per_event(kind)
    assert cost <= bound, f"{cost:.1f} {kind} calls an event, and {bound:g} are the bound ({BOUNDS}):\n{functions}"
    assert cost >= 0.95 * bound, f"only {cost:.1f} {kind} calls an event: lower the bound of {bound:g} in {BOUNDS}"
