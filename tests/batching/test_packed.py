"""Groups cost what the formula says, hold what fits, and as many texts as cost least at the risk that is seen."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.agreement import Agreement, Sample, least_share, risky_needed
from consumer.batching.long_text import cut, length
from consumer.batching.packed import (
    SEPARATOR,
    RiskRate,
    Room,
    best_size,
    expected_calls,
    halves,
    joined,
    longest_packed,
    parts,
)


def calls_for(risky: tuple[bool, ...]) -> int:
    """How many calls are made for these texts, by the rule itself."""
    if len(risky) == 1 or not any(risky):
        return 1
    return 1 + sum(calls_for(tuple(half)) for half in halves(risky))


def by_counting(texts: int, risk: float) -> float:
    """The average over everything that can be the case."""
    return math.fsum(
        calls_for(risky) * math.prod(risk if one else 1 - risk for one in risky)
        for risky in itertools.product((False, True), repeat=texts)
    )


@pytest.mark.parametrize("risk", [0.0, 0.001, 0.02, 0.1, 0.35, 0.9, 1.0])
def test_the_expected_calls_are_exact(risk: float) -> None:
    """The formula gives the average over all ways in which texts can be risky."""
    for texts in range(1, 11):
        assert expected_calls(texts, risk) == pytest.approx(by_counting(texts, risk))


@given(st.floats(0, 1, allow_nan=False), st.integers(1, 9))
def test_the_best_size_is_the_best(risk: float, most: int) -> None:
    """No other size up to the limit costs less for each text, by counting all cases."""
    cost = {texts: by_counting(texts, risk) / texts for texts in range(1, most + 1)}
    assert cost[best_size(risk, most)] == pytest.approx(min(cost.values()))


def test_packing_pays_where_risk_is_rare() -> None:
    """At 2 % risk a text costs about a fifth of a call; from a third on nothing is saved, and nothing is packed."""
    assert best_size(0.02, 16) == 16
    assert expected_calls(16, 0.02) / 16 == pytest.approx(0.213, abs=0.001)
    assert best_size(0.0, 64) == 64
    assert [best_size(risk, 16) for risk in (0.05, 0.1, 0.2, 0.33, 1.0)] == [8, 4, 2, 1, 1]


def test_the_page_has_the_right_numbers() -> None:
    """The tables of the page on saving money are what the formulas give."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "savings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) % \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 8
    for percent, size, by_halves, named in rows:
        risk, texts = float(percent) / 100, int(size)
        assert texts == best_size(risk, 16)
        assert float(by_halves) == round(expected_calls(texts, risk) / texts, 2)
        # All of them, each risky one, and the others if there are any; a pair is halved in any case.
        some = 1 - (1 - risk) ** texts - risk**texts
        assert float(named) == round((1 + texts * risk + some) / texts if texts > 1 else 1, 2)
    needed = re.findall(r"^\| (0\.\d+) \| (\d+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert len(needed) == 4
    for least, risky, sampled in needed:
        assert int(risky) == risky_needed(float(least))
        assert int(sampled.replace(",", "")) == 50 * int(risky)


def test_the_risk_rate_follows_what_is_seen() -> None:
    """It starts at a usual rate, goes to what is seen, and forgets what was long ago."""
    rate = RiskRate()
    assert rate.value == 0.05
    for _ in range(300):
        rate.saw(10, 0)
    assert rate.value < 0.005
    for _ in range(300):
        rate.saw(10, 1)
    assert 0.07 < rate.value < 0.1
    assert RiskRate(rate.risky, rate.texts).value == rate.value


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 64)), max_size=50))
def test_the_risk_rate_is_a_share(seen: list[tuple[int, int]]) -> None:
    """Whatever is seen, it stays between none and all."""
    rate = RiskRate()
    for texts, risky in seen:
        rate.saw(texts, min(texts, risky))
        assert 0 <= rate.value <= 1


@given(st.lists(st.text("ab \n-😀", min_size=1, max_size=30), min_size=1), st.integers(30, 200), st.integers(1, 8))
def test_what_has_room_fits(texts: list[str], characters: int, most: int) -> None:
    """What was taken in fits into one call when it is joined, and what was not taken would not have fitted."""
    room = Room(characters, most)
    taken: list[str] = []
    for text in texts:
        was_full = room.full
        if room.take(text):
            assert not was_full
            taken.append(text)
            assert length(joined(taken)) <= characters
            assert len(taken) <= most
        else:
            assert len(taken) == most or length(joined([*taken, text])) > characters


def test_each_text_has_lines_of_its_own() -> None:
    """Between two texts stands a line that belongs to neither."""
    assert joined(["gg", "so\nlong"]) == f"gg{SEPARATOR}so\nlong"
    assert SEPARATOR.startswith("\n")
    assert SEPARATOR.endswith("\n")


@given(st.text("ab. \n😀", min_size=1, max_size=400), st.integers(8, 80))
def test_a_piece_of_a_longer_text_is_never_short(text: str, limit: int) -> None:
    """The first piece of a text that is cut, which looks like a whole one, is longer than what is packed."""
    pieces = cut(text, limit)
    if len(pieces) > 1:
        assert length(pieces[0].text) > longest_packed(limit)


@given(st.lists(st.integers(), min_size=2, max_size=70))
def test_halves_are_all_of_it(items: list[int]) -> None:
    """The two halves are the whole, in order, and differ by at most one."""
    first, second = halves(items)
    assert [*first, *second] == items
    assert 0 <= len(first) - len(second) <= 1


@given(
    st.lists(st.text("abAB ", max_size=4), min_size=2, max_size=20), st.lists(st.text("abAB ", max_size=2), max_size=3)
)
def test_parts_are_all_of_it(texts: list[str], words: list[str]) -> None:
    """Whatever words are named, each text is in exactly one of the parts, and every part is smaller than the whole."""
    items = list(enumerate(texts))
    found = parts(items, lambda item: item[1], words)
    assert sorted(item for part in found for item in part) == items
    assert all(0 < len(part) < len(items) for part in found)


def test_named_texts_stand_alone() -> None:
    """Texts that hold a named word, in any letter case, are parts of their own; too many of them are halved instead."""
    texts = ["hi", "Buy a GUN", "so", "gun", "ok"]
    assert parts(texts, str, ["gun"]) == [["Buy a GUN"], ["gun"], ["hi", "so", "ok"]]
    assert parts(texts, str, ["o", "gun"]) == [["hi", "Buy a GUN", "so"], ["gun", "ok"]]
    assert parts(texts, str, ["", "tank"]) == [["hi", "Buy a GUN", "so"], ["gun", "ok"]]


def test_few_risky_texts_prove_little() -> None:
    """Without a single miss it takes 73 risky texts to be sure of 95 %, and 381 to be sure of 99 %."""
    assert (risky_needed(0.95), risky_needed(0.99)) == (73, 381)
    assert least_share(73, 73) >= 0.95 > least_share(72, 72)
    assert least_share(381, 381) >= 0.99 > least_share(380, 381)
    assert least_share(0, 0) == 0


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_bound_is_below_the_share(hits: int, misses: int) -> None:
    """What is sure is never more than what was seen, and one more miss never makes it surer."""
    bound = least_share(hits, hits + misses)
    assert 0 <= bound <= (hits / (hits + misses) if hits + misses else 0)
    assert least_share(hits, hits + misses + 1) <= bound


def test_agreement_needs_texts_and_risk() -> None:
    """Many clean texts prove nothing, and neither do a few risky ones: both counts have to be reached."""
    assert not Agreement(texts=1_000_000).suffices(2000, 0.95)
    assert not Agreement(texts=1999, risky=1000).suffices(2000, 0.95)
    assert Agreement(texts=2000, risky=73).suffices(2000, 0.95)
    assert not Agreement(texts=2000, risky=73, missed=1).suffices(2000, 0.95)


def test_a_change_shows_in_what_is_remembered() -> None:
    """After years of good samples a few dozen risky texts, half of them missed, are enough to lose the agreement."""
    agreement = Agreement()
    for _ in range(5000):
        agreement = agreement.plus(Sample(16, 1, 0, 0, 5), 2000, 0.95)
    assert agreement.suffices(2000, 0.95)
    assert agreement.saving == pytest.approx(1 - 5 / 16, abs=0.01)
    samples = 0
    while agreement.suffices(2000, 0.95):
        agreement = agreement.plus(Sample(16, 1, samples % 2, 0, 3), 2000, 0.95)
        samples += 1
    assert samples < 40


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400)), max_size=60))
def test_counts_stay_true(samples: list[tuple[int, int, int]]) -> None:
    """However counts are halved, no more is missed than was risky, and no more is risky than there was."""
    agreement = Agreement()
    for clean, found, missed in samples:
        sample = Sample(clean + found + missed, found + missed, missed, clean // 2, clean)
        agreement = agreement.plus(sample, 100, 0.6)
        assert agreement.missed <= agreement.risky <= agreement.texts
        assert Agreement.from_dict(agreement.to_dict()) == agreement


@pytest.mark.parametrize("counts", [{}, {"texts": "many"}, Agreement(3, 2, 3).to_dict(), Agreement(1, 2).to_dict()])
def test_what_is_no_count_is_refused(counts: dict[str, object]) -> None:
    """A record that cannot be true is not believed."""
    with pytest.raises(ValueError, match=r"counts|missed"):
        Agreement.from_dict(counts)
