"""Tests of the whole process on both brokers: killed, stopped, and started again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings
from tests.app.process import Bench, environment, running


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import Broker


EVENTS = 900
IN_FLIGHT = 64


@contextmanager
def simulator(latency: str) -> Iterator[Simulator]:
    """A simulator in a thread of its own, so that a test can wait for processes in the meantime."""
    made = Simulator(
        SimulatorSettings(latency=Latency.parse(latency), text_per_second=None, image_per_second=None, keep_calls=True)
    )
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with made:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def judged(made: Simulator) -> Counter[str]:
    """How often each event was judged, and paid."""
    return Counter(call.data_id or "" for call in made.ledger.calls)


def wait_until_judged(made: Simulator, count: int, *, seconds: float = 30) -> None:
    """Return when so many calls were billed."""
    deadline = time.monotonic() + seconds
    while made.ledger.billed_calls < count:
        assert time.monotonic() < deadline, f"only {made.ledger.billed_calls} of {count} calls"
        time.sleep(0.01)


@pytest.fixture
def bench(broker: Broker) -> Bench:
    """Topics with events, one in ten of them malformed."""
    made = Bench.on(broker)
    made.produce([orjson.dumps({"id": f"e{n}", "text": f"text {n}"}) if n % 10 else b"{broken" for n in range(EVENTS)])
    return made


EXPECTED = {f"e{n}" for n in range(EVENTS) if n % 10}


@pytest.mark.timeout(120)
def test_a_kill_in_mid_stream_loses_nothing(bench: Bench) -> None:
    """Killed with SIGKILL and started again, every event has its verdict or dead letter, and few were judged twice."""
    with simulator("50") as made:
        env = environment(bench, made.url, DELIVERY__MAX_IN_FLIGHT=str(IN_FLIGHT))
        with running(env) as process:
            wait_until_judged(made, EVENTS // 2)
            process.kill()
            process.wait(10)
        with running(env):
            verdicts = bench.verdict_ids(len(EXPECTED), seconds=40)
            letters = bench.read(bench.letters, EVENTS // 10)
        assert set(verdicts) == EXPECTED
        assert len(
            {headers["moderation-partition"] + b"/" + headers["moderation-offset"] for _, headers in letters}
        ) == (EVENTS // 10)
        twice = sum(judged(made).values()) - len(EXPECTED)
        # Those on the wire, and the answers of two commit intervals: at this pace about 130 in 100 ms.
        assert twice <= IN_FLIGHT + 300


@pytest.mark.timeout(120)
def test_a_stop_in_mid_stream_loses_nothing_and_judges_nothing_twice(bench: Bench) -> None:
    """Stopped with SIGTERM and started again, every event was judged once and has one verdict."""
    with simulator("50") as made:
        env = environment(bench, made.url, DELIVERY__MAX_IN_FLIGHT=str(IN_FLIGHT))
        with running(env) as process:
            wait_until_judged(made, EVENTS // 2)
            started = time.monotonic()
            process.terminate()
            assert process.wait(20) == 0
            assert time.monotonic() - started < 15
        assert len(judged(made)) < len(EXPECTED)
        with running(env) as process:
            wait_until_judged(made, len(EXPECTED))
            verdicts = bench.verdict_ids(len(EXPECTED))
            process.terminate()
            assert process.wait(20) == 0
        assert judged(made) == dict.fromkeys(EXPECTED, 1)
        assert Counter(verdicts) == dict.fromkeys(EXPECTED, 1)
        assert len(bench.read(bench.letters, EVENTS // 10)) == EVENTS // 10


@pytest.mark.timeout(120)
def test_a_kill_behind_a_stuck_call_repeats_little(bench: Bench) -> None:
    """Killed while one call has hung from the start, a restart repeats it and the wire, not all that came after it."""
    with simulator("20") as made:
        made.faults.set([Fault.parse("hang,count=1")])
        env = environment(bench, made.url, DELIVERY__MAX_IN_FLIGHT="16", MODERATION__TIMEOUTS__READ_SECONDS="600")
        env["MODERATION__MODERATION__TIMEOUTS__TOTAL_SECONDS"] = "600"
        with running(env) as process:
            wait_until_judged(made, len(EXPECTED) - 1)
            bench.verdict_ids(len(EXPECTED) - 1)
            process.kill()
            process.wait(10)
        with running(env):
            wait_until_judged(made, len(EXPECTED))
            verdicts = bench.verdict_ids(len(EXPECTED), seconds=30)
        assert set(verdicts) == EXPECTED
        assert sum(judged(made).values()) - len(EXPECTED) <= 16


def test_a_consumer_at_rest_is_small(embedded: EmbeddedBroker) -> None:
    """With its partitions assigned and nothing to do, the process holds less than 80 MB."""
    bench = Bench.on(embedded)
    bench.produce([orjson.dumps({"id": "e1", "text": "hello"})])
    with simulator("1") as made, running(environment(bench, made.url)) as process:
        wait_until_judged(made, 1)
        assert bench.verdict_ids(1) == ["e1"]
        status = Path(f"/proc/{process.pid}/status")
        if not status.exists():
            pytest.skip("this platform does not tell how large a process is")
        resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        assert int(resident.split()[1]) / 1024 < 80
