"""Tasks are submitted as fast as the query quota lets us ask for their results, and no faster."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.moderation.tasks.admission import Admission
from tests import virtual_time


def submitted(
    polls: float, seconds: float, *, queries: float = 10.0, quiet_seconds: float = 0.0, late_seconds: float = 0.0
) -> list[float]:
    """When tasks are submitted by somebody who always has one, while each needs so many polls on average."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        admission = Admission(lambda: queries, clock=virtual_time.LoopClock())
        spent = 0.0
        for _ in range(1000):
            spent += polls
            admission.ended(int(spent))
            spent -= int(spent)
        await asyncio.sleep(quiet_seconds)
        times: list[float] = []
        while loop.time() < quiet_seconds + seconds:
            if (wait := admission.wait_seconds(late_seconds)) > 0:
                await asyncio.sleep(wait)
            admission.took(late_seconds)
            times.append(loop.time())
            if len(times) > 10_000:
                break
        return times

    return virtual_time.run(main())


@settings(deadline=None, max_examples=30)
@given(polls=st.floats(1.05, 20), queries=st.sampled_from([1.0, 10.0, 100.0]))
def test_where_a_task_needs_n_polls_a_nth_of_the_queries_are_submitted(polls: float, queries: float) -> None:
    """After a second's worth at once, tasks come at the rate at which their results can be asked for."""
    seconds = 6000 / queries
    times = submitted(polls, seconds, queries=queries)
    assert len(times) == pytest.approx((seconds + 1) * queries / polls, rel=0.25, abs=2)


@pytest.mark.parametrize("polls", [0, 1])
def test_where_one_poll_or_a_callback_is_enough_nothing_is_held_back(polls: int) -> None:
    """With callbacks, or results at the first poll, the quota of submissions is the only limit."""
    assert len(submitted(polls, 1)) > 10_000


def test_while_polls_are_late_fewer_tasks_are_submitted() -> None:
    """Polls that have fallen behind catch up, since new tasks come a tenth more slowly meanwhile."""
    assert len(submitted(2, 600, late_seconds=10)) == pytest.approx(len(submitted(2, 600)) / 1.1, rel=0.01)


def test_a_quiet_hour_is_not_made_up_for() -> None:
    """After a pause no more than a second's worth is submitted at once."""
    times = submitted(2, 10, quiet_seconds=3600)
    assert sum(at == times[0] for at in times) <= 7


def test_who_has_no_query_tokens_submits_nothing() -> None:
    """A process whose part of the query quota is nothing looks again in a while."""
    admission = Admission(lambda: 0.0, clock=virtual_time.LoopClock())
    assert admission.wait_seconds(0.0) == 1.0
