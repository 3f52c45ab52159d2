"""How long the simulated service takes."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.simulator.latency import Latency


@pytest.mark.parametrize("text", ["0", "50", "20-80", "60~0.3", "1.5-2.5"])
def test_a_latency_reads_as_it_is_written(text: str) -> None:
    """What is written for a latency is what it prints."""
    assert str(Latency.parse(text)) == text


@pytest.mark.parametrize("text", ["", "fast", "-5", "80-20", "50~", "1-2-3"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    """A latency that cannot be read or cannot be is an error that shows it."""
    with pytest.raises(ValueError, match=r"latency|waiting times"):
        Latency.parse(text)


def test_a_range_that_is_the_wrong_way_round_says_so() -> None:
    """Who has written the upper end first reads what was written, and how it is meant to be."""
    with pytest.raises(
        ValueError, match=r"^'80-20' is no range of waiting times: the lower end comes first, as in 20-80$"
    ):
        Latency.parse("80-20")


@given(st.integers())
def test_waiting_times_are_within_their_range(seed: int) -> None:
    """Constant latencies are exact, uniform ones lie between their ends."""
    dice = random.Random(seed)
    assert Latency.parse("50").draw_seconds(dice) == pytest.approx(0.05)
    assert 0.02 <= Latency.parse("20-80").draw_seconds(dice) <= 0.08


def test_a_log_normal_latency_has_its_median_and_a_tail() -> None:
    """Half of the calls take longer than the median, one in a hundred about 3.2 times as long."""
    dice = random.Random(1)
    times = sorted(Latency.parse("50~0.5").draw_seconds(dice) for _ in range(20_000))
    assert statistics.median(times) == pytest.approx(0.05, rel=0.03)
    assert times[-200] == pytest.approx(0.05 * 3.2, rel=0.08)
