"""Arrivals, and the wait that a quota makes unavoidable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.arrivals import even, least_waits, percentile, poisson


JITTER = 0.03


def test_arrivals_have_their_rate() -> None:
    """Even arrivals are in equal distances, and those of many users come at the same rate on average."""
    assert even(50, 2) == pytest.approx([number / 50 for number in range(100)])
    assert len(poisson(100, 100)) == pytest.approx(10_000, rel=0.05)
    assert poisson(100, 1) == poisson(100, 1)


@given(st.lists(st.floats(0, 5), max_size=60).map(sorted), st.integers(1, 10))
def test_the_least_wait_keeps_to_the_quota(moments: list[float], limit: int) -> None:
    """With the least waits no second and jitter sees more calls than the limit, and nobody waits without need."""
    sent = [at + wait for at, wait in zip(moments, least_waits(moments, limit, JITTER), strict=True)]
    for number, at in enumerate(sent):
        if number >= limit:
            assert at - sent[number - limit] >= 1 + JITTER - 1e-9
        if at > moments[number] + 1e-9:
            assert number >= limit
            assert at == pytest.approx(max(sent[number - limit] + 1 + JITTER, sent[number - 1]))


def test_even_arrivals_below_the_quota_need_not_wait() -> None:
    """At 95 % of the quota events in equal distances never have to wait for it."""
    assert max(least_waits(even(95, 10), 100, JITTER)) == 0


def test_a_percentile_is_one_of_the_values() -> None:
    """The 99th percentile of a hundred values is the largest, and the median the middle one."""
    values = [float(number) for number in range(100)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 0.999)) == (50, 99, 99)
