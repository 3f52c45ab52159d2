"""Samples: which runs of records are replayed, and what they say of all of them, with how much certainty."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from consumer.estimate.corpus import Block


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["AROUND", "BEFORE", "Figure", "Sample", "chosen", "cut", "quantile", "total"]


BEFORE = 60_000
"""How many records before those that are replayed are looked at for what is known already."""
AROUND = 1000
"""How many records before and behind a block are replayed, too: more than are worked on at the same time."""

_BLOCKS = 15
_LEAST_BLOCKS = 5
_LEAST_RECORDS = 500
_CERTAINTY = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and how far the true one may be from it, with 95 % certainty; `within` is 0 where it was counted."""

    value: float
    within: float = 0.0

    def times(self, factor: float) -> Figure:
        """So many times this."""
        return Figure(self.value * factor, self.within * factor)


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample was taken: of which share of the records, by which seed, and in how many blocks."""

    share: float
    seed: int
    blocks: int
    records: int


def chosen(records: int, share: float, seed: int) -> tuple[int, list[int]]:
    """Into how many runs of equal length all records are cut, and which of these are taken, by chance.

    Raises:
        ValueError: there would be too few records in the sample to say anything.
    """
    wanted = records * share
    blocks = min(_BLOCKS, int(wanted / _LEAST_RECORDS))
    if blocks < _LEAST_BLOCKS:
        raise ValueError(
            f"a sample of {share:.3%} of {records:,} records has too few to say anything: it takes "
            f"{_LEAST_BLOCKS * _LEAST_RECORDS:,}; take a larger --sample, or all"
        )
    runs = max(blocks, round(blocks / share))
    return runs, sorted(random.Random(seed).sample(range(runs), blocks))


def cut(records: int, share: float, seed: int) -> list[Block]:
    """The blocks of a sample of so many records.

    Raises:
        ValueError: see `chosen`.
    """
    runs, taken = chosen(records, share, seed)
    blocks = []
    for run in taken:
        first, last = run * records // runs, (run + 1) * records // runs
        start = max(0, first - AROUND)
        blocks.append(Block(max(0, start - BEFORE), start, first, last, min(records, last + AROUND)))
    return blocks


def total(values: Sequence[float], records: Sequence[float], population: float) -> Figure:
    """What all of a population come to, by what some blocks of it do: the ratio estimate, with its interval.

    Args:
        values: What each block came to.
        records: How many records each block has.
        population: How many records there are in all. Where the blocks are all of them, nothing is uncertain.
    """
    counted = sum(records)
    if not counted:
        return Figure(0.0)
    rate = sum(values) / counted
    blocks = len(values)
    if counted >= population or blocks < 2:
        return Figure(rate * population)
    residues = sum((value - rate * size) ** 2 for value, size in zip(values, records, strict=True)) / (blocks - 1)
    unseen = 1 - counted / population
    error = math.sqrt(unseen * residues / blocks) / (counted / blocks)
    return Figure(rate * population, quantile(blocks - 1) * error * population)


def quantile(freedom: int) -> float:
    """How many standard errors 95 % of Student's distribution lie within, by Cornish and Fisher's expansion.

    It is right to a thousandth from 4 degrees of freedom on.
    """
    z = NormalDist().inv_cdf((1 + _CERTAINTY) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4
