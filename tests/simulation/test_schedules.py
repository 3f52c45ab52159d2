"""Simulated schedules: every promise under every fault, and proof that the simulation would notice a broken one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from consumer.quota import Bucket, StallGuard
from tests.simulation.audit import Report, check
from tests.simulation.book import Finding
from tests.simulation.naive import naive_order
from tests.simulation.schedule import Fault, Input, Schedule, draw
from tests.simulation.shrink import shrink


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


ROOT = Path(__file__).resolve().parents[2]
SEEDS = 200

PLAIN = Schedule(
    seed=1,
    guarantee="at_least_once",
    scale="failover",
    ordering="unordered",
    members=2,
    partitions=1,
    inputs=tuple(Input(0.1 * number, 0, number % 3, "text") for number in range(20)),
    faults=(),
    limit=10,
    max_in_flight=8,
    latency_seconds=(0.02, 0.3),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Simulated processes log nothing: it would be the larger part of the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


def simulate(*options: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )


def first_failure(schedules: Iterable[Schedule], promise: str) -> Report | None:
    """The first of these that breaks a promise."""
    return next((report for report in map(check, schedules) if promise in report.promises), None)


@pytest.mark.timeout(120)
def test_every_promise_is_kept_under_every_fault() -> None:
    """Nothing lost, doubled, out of order, paid twice without a reason or over the quota, in hundreds of schedules."""
    done = simulate("--seeds", f"1-{SEEDS}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} schedules" in done.stdout


def test_a_seed_is_the_same_run_everywhere() -> None:
    """The same seed gives the same run, event by event, here and in a process that hashes words otherwise."""
    here = [check(draw(seed)).trace for seed in range(1, 9)]
    assert [check(draw(seed)).trace for seed in range(1, 9)] == here
    assert len(set(here)) == len(here)
    elsewhere = simulate("--seeds", "1-8", "--traces", hash_seed=1)
    assert elsewhere.stdout.split() == here, elsewhere.stderr


@pytest.mark.timeout(180)
def test_the_naive_takeover_order_is_found_out() -> None:
    """With offsets read before the fence a schedule shows a duplicate; it is replayed and shrunk."""
    options = ["--mode", "exactly_once", "--faults", "zombie", "--naive", "--promise", "exactly once"]
    done = simulate("--seeds", "1-800", *options, "--until-failure")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "replay it: python -m tests.simulation --seeds " in done.stdout
    assert "--mode exactly_once --faults zombie --naive" in done.stdout
    assert "BROKEN: exactly once\n" in done.stdout
    assert "has 2 committed outcomes" in done.stdout
    small: Schedule = eval(done.stdout.splitlines()[-1])
    assert 1 <= len(small.faults) <= 2
    assert len(small.inputs) <= 50
    with naive_order():
        assert "exactly once" in check(small).promises
    assert check(small).ok, "the right order has no such duplicate"


def test_a_process_without_a_stall_guard_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard a process that was frozen and replaced goes on calling, and the audit says so."""
    fault = Fault(1.6, "zombie", 0, 0.0, until="commit")
    schedules = [replace(PLAIN, seed=seed, members=2, faults=(fault,)) for seed in range(10)]
    assert first_failure(schedules, "only the owner calls") is None
    monkeypatch.setattr(StallGuard, "shut", False)
    found = first_failure(schedules, "only the owner calls")
    assert found is not None
    assert "owned by then" in str(found)


def test_a_bucket_that_is_too_large_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sends faster than its tokens allow overruns the vendor's quota, and the audit says so."""
    assert check(PLAIN).ok

    async def at_once(_: Bucket) -> float:
        return 0.0

    monkeypatch.setattr(Bucket, "acquire", at_once)
    report = check(
        replace(PLAIN, limit=6, max_in_flight=30, inputs=tuple(replace(one, at=0.0) for one in PLAIN.inputs))
    )
    assert "never over the quota" in report.promises


def test_a_kill_is_paid_for_with_what_was_on_the_wire_only() -> None:
    """Killed at any moment, only what was on the wire or not yet committed is paid again, each with its reason."""
    paid_twice = 0
    for moment in range(12):
        report = check(replace(PLAIN, faults=(Fault(1.2 + 0.07 * moment, "kill", 0, 0.1),)))
        assert report.ok, str(report)
        paid_twice += report.paid_twice
    assert 0 < paid_twice <= 12 * PLAIN.max_in_flight


def test_a_failure_can_be_read_and_is_made_small() -> None:
    """A broken promise is told in words, with what happened; what has nothing to do with it is taken away."""
    inputs = (*PLAIN.inputs, Input(1.0, 0, 1, "refused"))
    faults = (Fault(1.5, "freeze", 1, 0.5), Fault(2.0, "join", 5))
    report = check(replace(PLAIN, inputs=inputs, faults=faults))
    assert report.ok

    def broken_by_a_refusal(schedule: Schedule) -> Report:
        tried = check(schedule)
        if any(one.kind == "refused" for one in schedule.inputs):
            tried.findings.append(Finding("no refusals", "there was one"))
        return tried

    small = shrink(broken_by_a_refusal(report.schedule), promise="no refusals", judge=broken_by_a_refusal)
    assert (len(small.schedule.inputs), small.schedule.faults, small.schedule.members) == (1, (), 1)
    told = str(small)
    assert "BROKEN: no refusals\n    there was one" in told
    assert "1 processes, 1 partitions, 1 events" in told
    assert "m0.1       is assigned" in told
    assert eval(repr(small.schedule)) == small.schedule
