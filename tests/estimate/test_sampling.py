"""Tests of samples: which blocks are taken, and how sure their figures are."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.estimate.sampling import AROUND, Figure, chosen, cut, quantile, total


def test_the_quantiles_are_those_of_the_tables() -> None:
    """The factors are Student's for 95 %, to a thousandth."""
    tables = {4: 2.776, 5: 2.571, 9: 2.262, 14: 2.145, 19: 2.093, 30: 2.042}
    for freedom, expected in tables.items():
        assert quantile(freedom) == pytest.approx(expected, abs=1.5e-3)


@given(st.integers(3000, 2_000_000), st.floats(0.01, 0.9), st.integers())
def test_blocks_hold_the_share_that_was_asked_for(records: int, share: float, seed: int) -> None:
    """Counted parts never overlap, what is replayed beside them stays within the records, and a seed says it all."""
    if records * share < 2500:
        with pytest.raises(ValueError, match="too few"):
            chosen(records, share, seed)
        return
    blocks = cut(records, share, seed)
    assert blocks == cut(records, share, seed)
    assert 5 <= len(blocks) <= 15
    for block in blocks:
        assert 0 <= block.known_from <= block.start <= block.first < block.last <= block.stop <= records
        assert block.start == max(0, block.first - AROUND)
    for one, other in pairwise(blocks):
        assert one.last <= other.first
    counted = sum(block.counted for block in blocks)
    assert counted == pytest.approx(records * share, rel=0.12, abs=20)


def test_all_records_leave_nothing_uncertain() -> None:
    """Where the blocks are the whole, the figure is their sum."""
    assert total([3.0, 4.0], [10, 10], 20) == Figure(7.0, 0.0)
    assert total([5.0], [10], 10) == Figure(5.0, 0.0)
    assert total([], [], 10) == Figure(0.0, 0.0)


def test_a_known_sample_has_the_interval_of_the_books() -> None:
    """The ratio estimate and its interval are those of the formula, worked out by hand."""
    # 5 of 10 blocks of 100 records; 10, 12, 8, 11 and 9 of each: residues 0, 2, -2, 1, -1, so s² = 10 / 4.
    found = total([10, 12, 8, 11, 9], [100] * 5, 1000)
    assert found.value == pytest.approx(100)
    error = (0.5 * 2.5 / 5) ** 0.5 / 100 * 1000
    assert found.within == pytest.approx(2.776 * error, rel=1e-3)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Over many samples of uneven blocks the interval holds the true total about as often as it says."""
    dice = random.Random(1)
    blocks = [(dice.gauss(1.0, 0.3) * size, size) for size in (dice.randrange(50, 150) for _ in range(200))]
    truth, population = sum(value for value, _ in blocks), sum(size for _, size in blocks)
    held = 0
    for _ in range(1000):
        taken = dice.sample(blocks, 15)
        found = total([value for value, _ in taken], [size for _, size in taken], population)
        held += abs(found.value - truth) <= found.within
    assert 0.92 <= held / 1000 <= 0.98
