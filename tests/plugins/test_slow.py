"""Plugins that take long: the program goes on between their calls, and the log says whose they are."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from structlog.testing import capture_logs

from consumer.building import policy, routes
from consumer.engine.way import Way
from consumer.errors import NotYet
from consumer.intake import Intake
from consumer.pacing import PacedJudge
from consumer.plugins.calling import Plugin
from consumer.plugins.pace import Pace
from consumer.routing import Router
from consumer.settings import Settings
from tests.app.process import Bench, environment, running
from tests.app.test_restart import simulator
from tests.engine.memory import Cluster, ScriptedJudge, engine
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker


__all__: list[str] = []


RECORDS = 8
SLOW_SECONDS = 0.06


ACME = {"plugin": "acme:slow"}
SERVICES = ["ugc_moderation_byllm_cb"]
PLACES: dict[str, dict[str, Any]] = {
    "mapping": {"mapping": ACME},
    "rule": {"routes": [{"name": "all", "when": ACME, "services": SERVICES}]},
    "policy": {"policy": ACME},
    "codec": {"format": ACME},
    "codec of a topic": {"format": {"topics": {"t": ACME}}},
}


def settings(**more: Any) -> Settings:
    """Settings with these sections."""
    own = {
        "kafka": {"bootstrap_servers": ["b:9092"], "topics": ["t"], "group_id": "g", "start": "latest"},
        "moderation": {"region": "ap-southeast-1", "credentials": {"access_key_id": "a", "access_key_secret": "b"}},
    }
    return Settings.model_validate(own | more)


class Slow:
    """A function that takes long; `calls` are how often the event loop had turned before each of its calls."""

    def __init__(self, found: Callable[..., Any]) -> None:
        self.found = found
        self.turns = 0
        self.calls: list[int] = []

    def __call__(self, *given: Any) -> Any:
        self.calls.append(self.turns)
        time.sleep(SLOW_SECONDS)
        return self.found(*given)

    async def watch(self) -> None:
        """Count the turns of the event loop."""
        while True:
            await asyncio.sleep(0)
            self.turns += 1


def whole(slow: Slow, plugin: str, monkeypatch: pytest.MonkeyPatch, *, stop_after: int = RECORDS) -> int:
    """Work on records that all come at once, with this function as one of the plugins; how many left."""
    acme = ModuleType("acme")
    acme.__dict__["slow"] = slow
    monkeypatch.setitem(sys.modules, "acme", acme)
    cluster, own = Cluster(), settings(**PLACES[plugin])
    for number in range(RECORDS):
        cluster.produce(orjson.dumps({"id": f"e{number}", "text": "text"}))

    def make_way(**parts: Any) -> Way:
        paced = PacedJudge(parts["judge"], own)
        read = Intake(own.mapping, pace=paced.pace).event
        return Way(**{**parts, "intake": read, "judge": paced, "policy": policy(own)})

    async def main() -> None:
        watching = asyncio.create_task(slow.watch())
        stop = asyncio.Event()
        judge = ScriptedJudge(lambda _: asyncio.sleep(0))
        flow = asyncio.create_task(
            engine(cluster, judge, router=Router(routes(own)), max_in_flight=RECORDS, make_way=make_way).run(stop)
        )
        while len(slow.calls) < stop_after:
            await asyncio.sleep(0)
        if stop_after < RECORDS:
            stop.set()
        while len(cluster.written) < RECORDS and not flow.done():
            await asyncio.sleep(0)
        stop.set()
        await flow
        watching.cancel()

    with capture_logs():
        asyncio.run(main())
    return len(cluster.written)


FOUND: dict[str, Callable[..., Any]] = {
    "mapping": lambda document, _: document,
    "rule": lambda *_: True,
    "policy": lambda *_: "pass",
}


@pytest.mark.parametrize("plugin", list(FOUND))
def test_a_slow_plugin_gives_way_between_records(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records come at once, the loop turns often between their calls, and all are worked on."""
    slow = Slow(FOUND[plugin])
    assert whole(slow, plugin, monkeypatch) == RECORDS
    assert len(slow.calls) == RECORDS
    assert all(after - before >= 8 for before, after in pairwise(slow.calls))


def test_a_stop_does_not_wait_for_all_calls_of_a_slow_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that wait for their turn at a stop are given up, and read again after the next start."""
    slow = Slow(FOUND["mapping"])
    written = whole(slow, "mapping", monkeypatch, stop_after=2)
    assert len(slow.calls) <= 3
    assert written <= 3


def test_those_that_wait_go_in_their_turn() -> None:
    """Who has come first goes first; one who is cancelled while it waits keeps nobody back."""
    went: list[int] = []
    plugin = Plugin("policy", "acme:slow", Slow(went.append))

    async def go(pace: Pace, number: int) -> None:
        await pace.judged()
        plugin.call(number)

    async def main() -> None:
        pace = Pace()
        tasks = [asyncio.create_task(go(pace, number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[3].cancel()
        late = asyncio.create_task(go(pace, 5))
        async with asyncio.timeout(10):
            await asyncio.wait([*tasks, late])

    asyncio.run(main())
    assert went == [0, 2, 4, 5]


def test_what_is_judged_is_done_before_more_is_read() -> None:
    """While many records wait for a slow mapping, those that have come through do not queue up behind them."""
    went: list[str] = []
    plugin = Plugin("mapping", "acme:slow", Slow(went.append))
    pace = Pace()

    async def read(number: int) -> None:
        try:
            pace.enter()
        except NotYet as not_yet:
            await not_yet.ready()
            pace.enter()
        plugin.call(f"read {number}")

    async def judged() -> None:
        await pace.judged()
        plugin.call("judged")

    async def main() -> None:
        await asyncio.gather(read(1), read(2), read(3), judged())

    with capture_logs():
        asyncio.run(main())
    assert went == ["read 1", "judged", "read 2", "read 3"]


def test_quick_plugins_do_not_wait() -> None:
    """As long as calls are quick they are made in one turn of the loop; those that waited soon catch up."""
    turns: list[int] = []
    loop_turned = Slow(lambda: None)
    quick = Plugin("policy", "acme:quick", lambda: turns.append(loop_turned.turns))
    slow = Plugin("policy", "acme:slow", loop_turned)

    async def go(pace: Pace) -> None:
        await pace.judged()
        quick.call()

    async def main() -> None:
        pace = Pace()
        watching = asyncio.create_task(loop_turned.watch())
        await asyncio.gather(*(go(pace) for _ in range(100)))
        assert len(set(turns)) == 1
        turns.clear()
        slow.call()
        await asyncio.gather(*(go(pace) for _ in range(100)))
        assert len(set(turns)) <= 10
        watching.cancel()

    asyncio.run(main())


def test_each_place_of_a_plugin_is_known() -> None:
    """Way is given to plugins of every kind, also after a reload; without any, the judge is asked directly."""
    judge = ScriptedJudge()
    paced = PacedJudge(judge, settings())
    for place, more in PLACES.items():
        paced.follow(settings(**more))
        assert paced.pace.on, place
        assert (paced.judge == judge.judge) is (place != "policy")
        paced.follow(settings())
        assert not paced.pace.on
        assert paced.judge == judge.judge


def test_a_slow_call_is_logged_with_the_name_of_its_plugin() -> None:
    """The line names the plugin and the seconds that it took, with the remedy; a quick call is not logged."""
    plugin = Plugin("rule", "acme:slow", time.sleep)
    with capture_logs() as lines:
        plugin.call(0)
        assert lines == []
        plugin.call(0.12)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("slow_plugin", "warning")
    assert (line["kind"], line["plugin"]) == ("rule", "acme:slow")
    assert line["seconds"] >= 0.12
    assert "between records" in line["meaning"]


def working(port: int) -> bool:
    """Whether the program has begun to work on records."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return "\nmoderation_events_total{" in answer.read().decode()
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return False
        raise


@pytest.mark.timeout(120)
def test_a_program_with_a_slow_plugin_hears_its_stop(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """With a hundred records at once, probes are answered between calls of 0.4 seconds, and a stop takes seconds."""
    bench, port = Bench.on(embedded), free_port()
    (tmp_path / "acme.py").write_text(
        "import time\n\ndef slow(document, record):\n    time.sleep(0.4)\n    return document\n"
    )
    bench.produce([json.dumps({"id": number, "text": "hello"}).encode() for number in range(100)])
    more = {"ADMIN__PORT": str(port), "MAPPING__PLUGIN": "acme:slow"}
    with simulator("1") as made:
        env = environment(bench, made.url, **more) | {"PYTHONPATH": str(tmp_path)}
        with running(env) as process:
            while not working(port):
                time.sleep(0.1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=50)
            assert time.monotonic() - began < 10  # a call for each of them would take 40
    assert process.returncode == 0
    assert '"plugin": "acme:slow"' in said
