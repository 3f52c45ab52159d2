"""Tests of a budget on the whole process: through a kill and restarts the service never bills more than its limit."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import orjson
import pytest

from tests.app.process import Bench, environment, running
from tests.app.test_restart import simulator, wait_until_judged
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import KafkaCluster


EVENTS = 400
LIMIT = 150
BUDGET = """
budgets:
- {name: all, period: month, limit: %d, unit: units, when_spent: %s}
"""


def fetched(port: int, path: str) -> tuple[int, str]:
    """Status and body of a page of the admin port; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(fact: Callable[[], bool], *, seconds: float = 40) -> None:
    """Return when it has become true."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def owners(ports: Sequence[int]) -> list[bool]:
    """Which of the replicas have partitions."""
    return [json.loads(fetched(port, "/status")[1])["owner"] for port in ports]


@pytest.mark.timeout(150)
def test_a_budget_holds_through_a_kill(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """Killed and started again the process bills no more than the limit, then holds; what is left goes to review."""
    bench = Bench.on(embedded)
    bench.produce([orjson.dumps({"id": f"e{n}", "text": f"text {n}"}) for n in range(EVENTS)])
    config, port = tmp_path / "config.yaml", free_port()
    config.write_text(BUDGET % (LIMIT, "hold"))
    with simulator("30") as made:
        env = environment(bench, made.url, DELIVERY__MAX_IN_FLIGHT="4", ADMIN__PORT=str(port))
        with running(env, "run", str(config)) as process:
            wait_until_judged(made, LIMIT // 2)
            process.kill()
            process.wait(10)

        with running(env, "run", str(config)) as process:
            until(lambda: fetched(port, "/readyz") == (503, "holding: budget\n"))
            billed = made.ledger.billed_calls
            assert LIMIT // 2 <= billed <= LIMIT
            status: dict[str, Any] = json.loads(fetched(port, "/status")[1])
            assert [hold["budget"] for hold in status["holds"]] == ["all"]
            [budget] = status["budgets"]
            assert billed <= budget["spent"] <= LIMIT
            assert status["spending"]["cost"]["CNY"]["month"] > 0
            process.terminate()
            assert process.wait(20) == 0

        config.write_text(BUDGET % (LIMIT, "review"))
        with running(env, "run", str(config)):
            verdicts = {}
            for value, _ in bench.read(bench.verdicts, EVENTS, seconds=40):
                verdict = orjson.loads(value)
                verdicts[verdict["event_id"]] = verdict
        assert len(verdicts) == EVENTS
        assert made.ledger.billed_calls <= LIMIT
        unpaid = [one for one in verdicts.values() if not one["billed"]]
        assert len(unpaid) >= EVENTS - LIMIT
        assert {one["action"] for one in unpaid} == {"review"}
        assert all("the budget all is spent until" in one["reason"] for one in unpaid)


@pytest.mark.kafka
@pytest.mark.timeout(150)
@pytest.mark.parametrize(("scale", "guarantee"), [("failover", "exactly_once"), ("share", "at_least_once")])
def test_a_budget_holds_through_a_takeover(kafka: KafkaCluster, tmp_path: Path, scale: str, guarantee: str) -> None:
    """When one of two replicas is killed while both may spend, all bills together stay within the limit."""
    bench = Bench.on(kafka)
    bench.produce([orjson.dumps({"id": f"e{n}", "text": f"text {n}"}) for n in range(EVENTS)])
    config = tmp_path / "config.yaml"
    config.write_text(BUDGET % (LIMIT, "hold"))
    ports = (free_port(), free_port())
    with simulator("30") as made, ExitStack() as stack:
        replicas = []
        for port in ports:
            env = environment(
                bench,
                made.url,
                KAFKA__SCALE=scale,
                DELIVERY__GUARANTEE=guarantee,
                DELIVERY__MAX_IN_FLIGHT="4",
                ADMIN__PORT=str(port),
                QUOTA__TEXT_PER_SECOND="10",
            )
            replicas.append(stack.enter_context(running(env, "run", str(config))))
            until(lambda port=port: fetched(port, "/livez")[0] == 200)  # type: ignore[misc]  # a default binds the port
        wait_until_judged(made, LIMIT // 2)
        wanted = 2 if scale == "share" else 1
        until(lambda: owners(ports).count(True) == wanted)
        killed = owners(ports).index(True)
        replicas[killed].kill()
        replicas[killed].wait(10)
        left = ports[1 - killed]
        until(lambda: fetched(left, "/readyz") == (503, "holding: budget\n"), seconds=60)
        assert LIMIT // 2 <= made.ledger.billed_calls <= LIMIT
        [budget] = json.loads(fetched(left, "/status")[1])["budgets"]
        assert made.ledger.billed_calls <= budget["spent"] <= LIMIT
