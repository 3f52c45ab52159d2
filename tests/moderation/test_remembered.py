"""Tests of the shelf of answers: its bound, what goes first, and that it counts what it takes."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.metrics import Metrics
from consumer.moderation.remembered import Remembered, Shelf, size_bytes
from consumer.verdict import CustomHit, Label, RiskLevel, RiskPosition


if TYPE_CHECKING:
    from collections.abc import Callable


MIB = 1_048_576
CLEAN = Remembered(RiskLevel.NONE, (), ("R-1",), None, b"", 100.0)


def shelf(max_bytes: int = MIB) -> Shelf:
    metrics = Metrics()
    return Shelf(max_bytes, entries=metrics.gauge("cache_entries"), size=metrics.gauge("cache_bytes"))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_was_not_asked_for_longest_goes_first() -> None:
    """When room is needed an answer that was asked for lately stays, and one that nobody asked for goes."""
    full = shelf(65_536)
    count = 0
    while full.size_bytes + size_bytes(CLEAN) + 400 < 65_536:
        full.put(key(count), CLEAN, 0.0)
        count += 1
    assert full.get(key(0), 1.0) is CLEAN
    for number in range(count, count + 3):
        full.put(key(number), CLEAN, 1.0)
    assert full.get(key(0), 2.0) is CLEAN
    assert [full.get(key(number), 2.0) for number in (1, 2)] == [None, None]
    assert full.get(key(count + 2), 2.0) is CLEAN


def test_what_has_expired_makes_room() -> None:
    """An answer is not given out from its end on, and those at the front go when another comes."""
    one = shelf()
    for number in range(10):
        one.put(key(number), replace(CLEAN, until=float(number)), 0.0)
    assert (one.get(key(5), 4.9), one.get(key(5), 5.0)) == (replace(CLEAN, until=5.0), None)
    one.put(key(99), CLEAN, 8.5)
    # Those before it have gone; 9 was asked for last by nobody, and lives on.
    assert [number for number in (*range(10), 99) if one.get(key(number), 0.0)] == [9, 99]


def test_an_answer_larger_than_all_room_is_not_kept() -> None:
    """It does not push out everything else first, and what was known before of its content is forgotten."""
    small = shelf(65_536)
    small.put(key(1), CLEAN, 0.0)
    small.put(key(2), CLEAN, 0.0)
    small.put(key(2), replace(CLEAN, extra={"llm_output": "x" * 70_000}), 0.0)
    assert (len(small), small.get(key(1), 0.0), small.get(key(2), 0.0)) == (1, CLEAN, None)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 4000), st.floats(0, 50), st.sampled_from(["put", "put", "get"])),
        max_size=80,
    )
)
def test_the_bound_is_never_exceeded(steps: list[tuple[int, int, float, str]]) -> None:
    """Whatever is put and asked for in whatever order, it holds no more bytes than it may, and never what expired."""
    one, now = shelf(16_384), 0.0
    known: dict[bytes, Remembered] = {}
    for number, characters, later, step in steps:
        now += later / 10
        name = key(number)
        if step == "put":
            known[name] = replace(CLEAN, extra={"llm_output": "x" * characters}, until=now + later)
            one.put(name, known[name], now)
        else:
            found = one.get(name, now)
            assert found is None or (found is known[name] and found.until > now)
        assert 0 <= one.size_bytes <= 16_384
    assert bool(one.size_bytes) == bool(len(one))


def a_clean(number: int) -> Remembered:
    request_id = orjson.loads(b'"%036d"' % number)
    return Remembered(RiskLevel.NONE, (), (request_id,), None, b"%016d" % number, 1e9 + number)


def a_risky(number: int) -> Remembered:
    words = orjson.loads(f'["word {number}", "言葉 {number}"]')
    label = Label(
        orjson.loads(b'"contraband_drug_%d"' % number),
        "contraband",
        "ugc_moderation_byllm",
        "text",
        description=orjson.loads(f'"疑似毒品 {number}"'),
        confidence=number / 7,
        risk_words=tuple(words),
        positions=(RiskPosition(words[0], 1000 + number, 2000 + number),),
        custom_hits=(CustomHit(orjson.loads(b'"library %d"' % number), tuple(words)),),
        risk_level=RiskLevel.HIGH,
    )
    extra = {"llm_output": f"{'文' * 50}{number}", "nested": {"of": [1, 2.5, f"x{number}"]}}
    return replace(a_clean(number), level=RiskLevel.HIGH, labels=(label,), extra=extra)


@pytest.mark.parametrize("make", [a_clean, a_risky])
def test_it_counts_what_it_takes(make: Callable[[int], Remembered]) -> None:
    """Full, and after many have come and gone, it takes no more memory than it says, and no less than half of it."""
    one = shelf()
    chance = random.Random(1)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        worst = 0
        for number in range(8_000 if make is a_clean else 2_000):
            made = make(number)
            orjson.dumps([[label.to_dict() for label in made.labels], made.extra])
            one.put(chance.randbytes(16), made, 0.0)
            worst = max(worst, tracemalloc.get_traced_memory()[0] - before)
        del made
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert one.size_bytes > 0.99 * MIB
    assert 0.5 * one.size_bytes < taken <= one.size_bytes
    assert worst <= MIB


def test_a_full_shelf_is_as_fast_as_a_small_one() -> None:
    """What one answer costs to remember does not grow with how many there are."""

    def seconds(size: int) -> float:
        one = shelf(size)
        for number in range(size // 500):
            one.put(key(number), CLEAN, 0.0)
        started = time.perf_counter()
        for number in range(2_000):
            one.put(key(10**6 + number), CLEAN, 0.0)
        return time.perf_counter() - started

    small, large = (min(seconds(size) for _ in range(3)) for size in (65_536, 8 * MIB))
    assert large < 5 * small
