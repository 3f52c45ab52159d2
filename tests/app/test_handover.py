"""Tests of replicas as processes on a real Kafka: one works and others stand by, or all share the work."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.app.process import Bench, environment, running
from tests.app.test_restart import judged, simulator, wait_until_judged


if TYPE_CHECKING:
    import subprocess

    from tests.broker.cluster import KafkaCluster


EVENTS = 1200
IN_FLIGHT = 8


@pytest.fixture
def bench(kafka: KafkaCluster) -> Bench:
    """Topics with events of a few keys."""
    made = Bench.on(kafka)
    made.produce([orjson.dumps({"id": f"e{n:04}", "text": f"text {n}"}) for n in range(EVENTS)], keys=20)
    return made


def settings(bench: Bench, url: str, **more: str) -> dict[str, str]:
    return environment(
        bench, url, DELIVERY__MAX_IN_FLIGHT=str(IN_FLIGHT), KAFKA__HEARTBEAT_INTERVAL_SECONDS="0.5", **more
    )


def wait_for_line(process: subprocess.Popen[str], word: str, *, seconds: float = 30) -> None:
    """Return when the process has logged a line with this word."""
    deadline = time.monotonic() + seconds
    assert process.stdout is not None
    while word not in (line := process.stdout.readline()):
        assert line, f"it ended before {word}"
        assert time.monotonic() < deadline, f"no {word}"


def in_order(values: list[bytes]) -> bool:
    """Whether the events of each key, of which their numbers ascend, came in order; repetitions left out."""
    last: dict[int, int] = defaultdict(lambda: -1)
    seen = set()
    for value in values:
        number = int(orjson.loads(value)["event_id"][1:])
        if number in seen:
            continue
        seen.add(number)
        if number < last[number % 20]:
            return False
        last[number % 20] = number
    return True


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_a_standby_takes_over_from_a_killed_replica(bench: Bench) -> None:
    """After a kill the standby goes on; with exactly_once and order by key each event comes once, and in its order."""
    with simulator("60") as service:
        env = settings(bench, service.url, DELIVERY__GUARANTEE="exactly_once", DELIVERY__ORDER="key")
        with running(env) as first:
            wait_until_judged(service, 100)
            with running(env) as second:
                wait_for_line(first, '"opened"')
                wait_for_line(first, '"opened"')  # again, after the rebalance that the other's joining makes
                first.kill()
                killed_at = time.monotonic()
                wait_for_line(second, '"opened"')
                took = time.monotonic() - killed_at
                found = [value for value, _ in bench.read(bench.verdicts, EVENTS, seconds=40)]
    ids = [orjson.loads(value)["event_id"] for value in found]
    assert sorted(ids) == [f"e{n:04}" for n in range(EVENTS)]
    assert in_order(found)
    assert sum(judged(service).values()) <= EVENTS + 120
    assert took <= 6 + 2 + 1  # the session time-out, the takeover, and what a busy machine adds


@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_a_planned_stop_hands_over_and_pays_for_nothing_twice(bench: Bench, guarantee: str) -> None:
    """The active replica is told to stop: the standby goes on at once, and no event is judged or written twice."""
    with simulator("60") as service:
        env = settings(bench, service.url, DELIVERY__GUARANTEE=guarantee)
        with running(env) as first:
            wait_until_judged(service, 100)
            with running(env) as second:
                wait_for_line(first, '"opened"')
                wait_for_line(first, '"opened"')
                first.send_signal(signal.SIGTERM)
                wait_for_line(second, '"opened"')
                assert first.wait(20) == 0
                ids = bench.verdict_ids(EVENTS, seconds=40)
    assert sorted(ids) == [f"e{n:04}" for n in range(EVENTS)]
    assert set(judged(service).values()) == {1}


@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_replicas_share_the_work(bench: Bench, guarantee: str) -> None:
    """With scale: share two replicas work at the same time; when one is killed the other does all of it."""
    with simulator("60") as service:
        env = settings(bench, service.url, DELIVERY__GUARANTEE=guarantee, KAFKA__SCALE="share")
        with running(env) as first, running(env) as second:
            wait_for_line(second, '"opened"')
            wait_until_judged(service, 200)
            first.kill()
            ids = bench.verdict_ids(EVENTS, seconds=40)
    assert set(ids) == {f"e{n:04}" for n in range(EVENTS)}
    if guarantee == "exactly_once":
        assert len(ids) == EVENTS
    assert sum(judged(service).values()) <= EVENTS + 120  # in flight, or not committed yet on a slow machine
