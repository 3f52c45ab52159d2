"""How long the next event of a key is worth waiting for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.pace import Pace


def after(gaps: list[float], longest_seconds: float = 1.0) -> float:
    """The patience after events with these gaps between them."""
    pace: Pace[str] = Pace(longest_seconds)
    now = 100.0
    pace.came("k", now)
    for gap in gaps:
        now += gap
        pace.came("k", now)
    return pace.patience_seconds("k")


@pytest.mark.parametrize(
    ("gaps", "patience"),
    [([], 0.0), ([0.1], 0.3), ([0.1] * 50, 0.3), ([0.5] * 50, 1.0), ([2.0] * 50, 0.0), ([0.1] * 20 + [60.0], 0.0)],
)
def test_the_patience_is_three_usual_gaps_or_none(gaps: list[float], patience: float) -> None:
    """Three times the usual gap, at most the longest wait, and none where events come more rarely than that."""
    assert after(gaps) == pytest.approx(patience)


def test_quick_events_soon_outweigh_a_silence() -> None:
    """However long a key was silent, a handful of quick events shows that it is back."""
    assert after([0.1] * 20 + [1e6] + [0.1] * 4) > 0


@given(st.lists(st.floats(0, 1e9)), st.floats(0, 100))
def test_the_patience_is_bounded(gaps: list[float], longest_seconds: float) -> None:
    """Whatever came, nobody waits longer than the longest wait."""
    assert 0 <= after(gaps, longest_seconds) <= longest_seconds


def test_keys_not_heard_of_longest_are_forgotten() -> None:
    """A platform has more threads than memory; those of late are known."""
    pace: Pace[int] = Pace(1.0, keys=100)
    for key in range(1000):
        pace.came(key, key)
        pace.came(key, key + 0.1)
    assert len(pace) == 100
    assert pace.patience_seconds(899) == 0
    assert pace.patience_seconds(900) == pytest.approx(0.3)
