"""The stall guard: shut when this process may have been replaced, and open when it has proven that it was not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from consumer.metrics import Metrics
from consumer.quota import OpenGuard, StallGuard
from tests import virtual_time
from tests.virtual_time import LoopClock, freeze


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


PROOF_SECONDS = 5.0


@asynccontextmanager
async def ticking(guard: StallGuard) -> AsyncIterator[StallGuard]:
    running = asyncio.create_task(guard.run())
    try:
        yield guard
    finally:
        running.cancel()


def a_guard(metrics: Metrics | None = None) -> StallGuard:
    return StallGuard(LoopClock(), proof_seconds=PROOF_SECONDS, metrics=metrics)


def guarded(main: Callable[[StallGuard], Coroutine[Any, Any, None]], metrics: Metrics | None = None) -> None:
    """Run with a guard that ticks, and that was opened a moment ago."""

    async def opened() -> None:
        async with ticking(a_guard(metrics)) as guard:
            await asyncio.sleep(1)
            guard.proven(guard.now())
            await main(guard)

    virtual_time.run(opened())


async def keep_proving(guard: StallGuard) -> None:
    while True:
        sent_at = guard.now()
        await asyncio.sleep(0.1)
        guard.proven(sent_at)


def count(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("moderation_stall_guard_shut_total", {"reason": reason})


def test_it_is_shut_before_the_first_proof() -> None:
    """Nothing may be sent before a takeover's own first write has succeeded, and that is no stall."""
    metrics = Metrics()

    async def main() -> list[bool]:
        seen: list[bool] = []
        async with ticking(a_guard(metrics)) as guard:
            await asyncio.sleep(60)
            sent_at = guard.now()
            seen.append(guard.shut)
            guard.proven(sent_at)
            return [*seen, guard.shut]

    with capture_logs() as logs:
        assert virtual_time.run(main()) == [True, False]
    assert (count(metrics, "gap"), count(metrics, "unproven"), logs) == (0, 0, [])


def test_a_gap_shuts_it_before_the_next_tick() -> None:
    """Whoever asks first after a freeze finds it shut, though nothing else has run yet."""

    async def main(guard: StallGuard) -> None:
        await asyncio.sleep(0.2)
        assert not guard.shut
        freeze(2.5)
        assert guard.shut

    guarded(main)


def test_a_gap_that_the_tick_sees_first_shuts_it() -> None:
    """A freeze is not forgotten when ticks go on before anybody asks."""

    async def main(guard: StallGuard) -> None:
        freeze(2.5)
        await asyncio.sleep(1)
        assert guard.shut

    guarded(main)


def test_a_late_event_loop_is_no_stall() -> None:
    """A pause that is far shorter than any session shuts nothing."""

    async def main(guard: StallGuard) -> None:
        for _ in range(4):
            freeze(1.0)
            assert not guard.shut
            await asyncio.sleep(0.01)
            assert not guard.shut

    guarded(main)


def test_a_write_from_before_the_gap_proves_nothing() -> None:
    """Only a write that was sent after the gap opens it: one from before may have succeeded before the replacement."""

    async def main(guard: StallGuard) -> None:
        await asyncio.sleep(0.5)
        before = guard.now()
        freeze(3)
        guard.proven(before)
        assert guard.shut
        await asyncio.sleep(0.5)
        guard.proven(before)
        assert guard.shut
        guard.proven(guard.now())
        assert not guard.shut

    guarded(main)


def test_a_write_sent_at_once_after_the_gap_is_a_proof() -> None:
    """A write whose sending is the first thing that happens after a freeze counts when it has succeeded."""

    async def main(guard: StallGuard) -> None:
        freeze(3)
        sent_at = guard.now()
        freeze(0.1)
        await asyncio.sleep(0.2)
        assert guard.shut
        guard.proven(sent_at)
        assert not guard.shut

    guarded(main)


def test_a_write_from_between_two_gaps_proves_nothing() -> None:
    """A process that was frozen again meanwhile has to prove itself again."""

    async def main(guard: StallGuard) -> None:
        freeze(3)
        sent_at = guard.now()
        await asyncio.sleep(0.1)
        freeze(3)
        guard.proven(sent_at)
        assert guard.shut

    guarded(main)


def test_without_proof_it_shuts_and_opens_again_with_one() -> None:
    """When no write has succeeded for half a session it shuts, and the next write that was sent then opens it."""

    async def main(guard: StallGuard) -> None:
        await asyncio.sleep(PROOF_SECONDS - 0.1)
        before = guard.now()
        assert not guard.shut
        await asyncio.sleep(0.2)
        assert guard.shut
        guard.proven(before)
        assert guard.shut
        sent_at = guard.now()
        await asyncio.sleep(0.1)
        guard.proven(sent_at)
        assert not guard.shut

    guarded(main)


def test_a_proof_is_as_old_as_its_sending() -> None:
    """A write that took long says nothing of what happened after it was sent."""

    async def main(guard: StallGuard) -> None:
        await asyncio.sleep(PROOF_SECONDS + 1)
        sent_at = guard.now()
        await asyncio.sleep(PROOF_SECONDS + 1)
        guard.proven(sent_at)
        assert guard.shut
        sent_at = guard.now()
        await asyncio.sleep(PROOF_SECONDS - 1)
        guard.proven(sent_at)
        assert not guard.shut
        await asyncio.sleep(1.5)
        assert guard.shut

    guarded(main)


def test_proofs_in_any_order_keep_it_open() -> None:
    """An answer that comes late does not make the proof older than it is."""

    async def main(guard: StallGuard) -> None:
        early = guard.now()
        await asyncio.sleep(3)
        guard.proven(guard.now())
        guard.proven(early)
        await asyncio.sleep(PROOF_SECONDS - 1)
        assert not guard.shut

    guarded(main)


def test_a_proof_is_due_before_the_last_one_is_too_old() -> None:
    """Lanes without traffic are asked for a write when half the time is over, and for as long as it is shut."""

    async def main(guard: StallGuard) -> None:
        due = []
        for _ in range(4):
            due.append(guard.proof_due)
            await asyncio.sleep(1)
        assert due == [False, False, False, True]
        guard.proven(guard.now())
        assert not guard.proof_due
        freeze(3)
        assert guard.proof_due

    guarded(main)


def test_waiters_go_on_when_it_opens() -> None:
    """Whoever waits goes on with the proof and not before; who gave up waiting changes nothing."""

    async def main(guard: StallGuard) -> None:
        await asyncio.wait_for(guard.opened(), 0.001)
        freeze(3)
        waiting = [asyncio.create_task(guard.opened()) for _ in range(3)]
        await asyncio.sleep(10)
        assert not any(task.done() for task in waiting)
        waiting.pop().cancel()
        guard.proven(guard.now())
        async with asyncio.timeout(0.001):
            await asyncio.gather(*waiting)

    guarded(main)


def test_a_waiter_that_wakes_into_the_next_gap_waits_on() -> None:
    """A guard that shuts again before a waiter has run keeps it waiting."""

    async def main(guard: StallGuard) -> None:
        freeze(3)
        waiting = asyncio.create_task(guard.opened())
        await asyncio.sleep(0.1)
        guard.proven(guard.now())
        freeze(3)
        await asyncio.sleep(1)
        assert not waiting.done()
        waiting.cancel()

    guarded(main)


def test_each_stall_is_counted_and_told_once() -> None:
    """Each stall is one log line with its length, one count by its reason, and a line when it is over."""
    metrics = Metrics()

    async def main(guard: StallGuard) -> None:
        freeze(14)
        for _ in range(50):
            assert guard.shut
            await asyncio.sleep(0.1)
        guard.proven(guard.now())
        await asyncio.sleep(PROOF_SECONDS + 10)
        assert guard.shut

    with capture_logs() as logs:
        guarded(main, metrics)
    assert (count(metrics, "gap"), count(metrics, "unproven")) == (1, 1)
    shut, opened, unproven = logs
    assert (shut["event"], shut["reason"]) == ("stall_guard_shut", "gap")
    assert shut["seconds"] == pytest.approx(14, abs=0.3)
    assert (opened["event"], opened["shut_for_seconds"]) == ("stall_guard_opened", pytest.approx(5))
    assert (unproven["event"], unproven["reason"]) == ("stall_guard_shut", "unproven")
    assert unproven["seconds"] == pytest.approx(PROOF_SECONDS, abs=0.3)


def test_a_process_that_owns_nothing_is_shut_without_a_stall() -> None:
    """A standby sends nothing, raises no alarm, and a write from before it lost its lanes does not open it."""
    metrics = Metrics()

    async def main(guard: StallGuard) -> None:
        before = guard.now()
        await asyncio.sleep(0.1)
        guard.released()
        assert guard.shut
        guard.proven(before)
        await asyncio.sleep(60)
        freeze(10)
        assert guard.shut
        await asyncio.sleep(1)
        guard.proven(guard.now())
        assert not guard.shut

    guarded(main, metrics)
    assert (count(metrics, "gap"), count(metrics, "unproven")) == (0, 0)


def test_while_writes_succeed_it_stays_open() -> None:
    """An hour of work with a commit every tenth of a second is not interrupted once."""
    metrics = Metrics()

    async def main(guard: StallGuard) -> None:
        proving = asyncio.create_task(keep_proving(guard))
        for _ in range(3600):
            await asyncio.sleep(1)
            assert not guard.shut
            assert not guard.proof_due
        proving.cancel()

    guarded(main, metrics)
    assert (count(metrics, "gap"), count(metrics, "unproven")) == (0, 0)


def test_who_cannot_be_replaced_is_never_stopped() -> None:
    """The guard of a process without a group is open after any freeze, and lets everybody through at once."""

    async def main() -> bool:
        guard = OpenGuard()
        freeze(3600)
        await guard.opened()
        return guard.shut

    assert virtual_time.run(main()) is False
