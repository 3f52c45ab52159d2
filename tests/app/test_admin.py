"""Tests of the admin port on the running consumer: metrics, health and status tell the truth, and no secrets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from consumer.app import App
from consumer.settings import load
from consumer.simulator import Fault, Simulator
from tests.app.process import Bench, environment


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker


async def fetched(app: App, path: str) -> tuple[int, str]:
    """Status and body of one page."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{app.admin_port}{path}") as answer:
        return answer.status, await answer.text()


async def until(condition: Any, *, seconds: float = 20) -> None:
    """Return when an awaited condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.fixture
def bench(embedded: EmbeddedBroker) -> Bench:
    """Topics with five events and a malformed record."""
    made = Bench.on(embedded)
    made.produce([orjson.dumps({"id": f"e{n}", "text": f"planted words {n}"}) for n in range(5)] + [b"{planted"])
    return made


def started(bench: Bench, simulator: Simulator, **more: str) -> App:
    """A consumer over these topics."""
    env = environment(bench, simulator.url, MODERATION__HOLD_PROBE_SECONDS="0.2", **more)
    return App(load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}))


def test_metrics_health_and_status_of_a_healthy_consumer(bench: Bench) -> None:
    """What was judged is counted and billed in /metrics, both probes are well, and /status shows lanes and settings."""

    async def main() -> None:
        async with Simulator() as simulator, asyncio.TaskGroup() as tasks:
            app, stop = started(bench, simulator), asyncio.Event()
            tasks.create_task(app.run(stop))

            wanted = (
                'moderation_dead_letters_total{reason="malformed",stage="decode"} 1.0',
                'moderation_verdicts_total{action="pass",risk_level="none",route="text"} 5.0',
            )

            async def judged() -> bool:
                found = (await fetched(app, "/metrics"))[1] if app.admin_port else ""
                return all(line in found for line in wanted)

            await until(judged)
            metrics = (await fetched(app, "/metrics"))[1]
            assert 'moderation_events_total{topic="' + bench.events + '"} 6.0' in metrics
            assert 'moderation_billed_units_total{moderation_type="text_llm_advanced"} 5.0' in metrics
            assert await fetched(app, "/livez") == (200, "ok\n")
            assert await fetched(app, "/readyz") == (200, "ok\n")
            code, body = await fetched(app, "/status")
            status = orjson.loads(body)
            assert code == 200
            assert (status["state"], status["in_flight"], len(status["lanes"])) == ("running", 0, 4)
            assert sum(lane["position"] for lane in status["lanes"]) == 6
            assert status["settings"]["kafka.group_id"]["origin"] == "$MODERATION__KAFKA__GROUP_ID"
            for text in (metrics, body):
                assert "testsecret" not in text
                assert "planted" not in text
            stop.set()

    asyncio.run(main())


def test_a_hold_is_said_in_readiness_and_nothing_is_lost(bench: Bench) -> None:
    """While the account is denied it is alive, not ready, and says why; when it is served again all is judged."""

    async def main() -> None:
        async with Simulator() as simulator, asyncio.TaskGroup() as tasks:
            simulator.faults.set([Fault.parse("code=408")])
            app, stop = started(bench, simulator), asyncio.Event()
            tasks.create_task(app.run(stop))

            async def held() -> bool:
                return app.admin_port > 0 and "holding" in (await fetched(app, "/readyz"))[1]

            await until(held)
            assert (await fetched(app, "/readyz"))[0] == 503
            assert "permission" in (await fetched(app, "/readyz"))[1]
            assert (await fetched(app, "/livez"))[0] == 200
            assert 'moderation_holding{reason="permission"} 1.0' in (await fetched(app, "/metrics"))[1]
            [hold] = orjson.loads((await fetched(app, "/status"))[1])["holds"]
            assert (hold["reason"], hold["code"]) == ("permission", 408)
            simulator.faults.clear()

            async def served() -> bool:
                return (await fetched(app, "/readyz"))[0] == 200 and simulator.ledger.billed_calls == 5

            await until(served)
            stop.set()

    asyncio.run(main())
    assert len(bench.verdict_ids(5)) == 5
    assert len(bench.read(bench.letters, 1)) == 1
