"""The quota is a strict sliding second: no window of one second, wherever it starts, admits more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.simulator.window import Peak, SlidingSecond


GAPS = st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.25, 0.5, 0.999, 1.0, 1.001]), max_size=60)


def times_of(gaps: list[float]) -> list[float]:
    """Times that never run backwards, with the given gaps."""
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    return times


@given(st.integers(1, 8), GAPS)
def test_no_second_admits_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    """Of the admitted calls, no window [t, t+1) holds more than the limit."""
    window = SlidingSecond(limit)
    admitted = [now for now in times_of(gaps) if window.admit(now)]
    for start in admitted:
        assert sum(1 for now in admitted if 0 <= now - start < 1.0) <= limit


@given(st.integers(1, 8), GAPS)
def test_no_call_is_refused_without_need(limit: int, gaps: list[float]) -> None:
    """A call is refused only if the second before it has admitted as many as the limit; refused ones do not count."""
    window = SlidingSecond(limit)
    admitted: list[float] = []
    for now in times_of(gaps):
        fits = sum(1 for earlier in admitted if now - earlier < 1.0) < limit
        assert window.admit(now) is fits
        if fits:
            admitted.append(now)


def test_no_limit_admits_everything() -> None:
    """Without a limit nothing is refused."""
    window = SlidingSecond(None)
    assert all(window.admit(0.0) for _ in range(1000))


def test_a_limit_of_nothing_is_an_error() -> None:
    """A quota of zero is refused where it is made, not at the first call."""
    with pytest.raises(ValueError, match="would refuse every call"):
        SlidingSecond(0)


@given(GAPS)
def test_the_peak_is_the_fullest_second(gaps: list[float]) -> None:
    """The peak equals the largest count of any window of one second."""
    peak = Peak()
    times = times_of(gaps)
    for now in times:
        peak.saw(now)
    assert peak.total == len(times)
    assert peak.most == max(sum(1 for now in times if 0 <= now - start < 1.0) for start in times)
