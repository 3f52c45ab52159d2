"""Tests of normalisation: what becomes the same, what never does, and that doing it again changes nothing."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.batching.normal import INVISIBLE, JOINERS, MARKS, MOST_REPEATS, WIDTHS, Form, hides, normal


FORMS: tuple[Form, ...] = ("unicode", "invisible", "repeats")
# Parts that meet in odd ways: joiners beside letters and emoji, marks that combine, and forms of all of these.
PARTS = (
    *INVISIBLE,
    *JOINERS,
    *MARKS,
    *WIDTHS,
    *"aeA1 \n-*ａＡ１．①ﬁé가각あが﷽ℹ️👨👩❤🏴",
    "\u0301",
    "\u0338",
    "\u3099",
    "\u1100\u1161",
    "\u11a8",
    "\u094d",
    "\ufe0f",
    "\U000e0067",
    "\ud800",
)
TEXTS = st.lists(st.sampled_from(PARTS) | st.characters(), max_size=12).map("".join)
CHOICES = st.lists(st.sampled_from(FORMS), unique=True)


@settings(max_examples=250)
@given(TEXTS, CHOICES)
@example("e\u200b\u0301", ["unicode", "invisible"])
@example("ａ\u200dｂ", ["unicode", "invisible"])
@example("‼" * 3, ["unicode", "repeats"])
def test_a_normal_text_is_left_as_it_is(text: str, forms: list[Form]) -> None:
    """Normalising a second time changes nothing, and hides nothing, whatever forms are chosen."""
    once = normal(text, forms)
    assert normal(once, forms) == once
    if once and not once.isspace():
        assert not hides(once, forms)


@settings(max_examples=120)
@given(TEXTS, CHOICES)
def test_no_text_becomes_empty(text: str, forms: list[Form]) -> None:
    """Where nothing but white space would be left a text stays as it is, and without any form every text does."""
    found = normal(text, forms)
    assert bool(found) == bool(text)
    assert found == text or not found.isspace()
    assert normal(text, []) == text


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("unicode", ["Café", "Cafe\u0301", "Ｃａｆé"]),
        ("unicode", ["ｶﾞ", "ガ"]),
        ("unicode", ["①②", "12"]),
        ("unicode", ["你好！", "你好!"]),
        ("invisible", ["free money", "fr\u200bee mon\u2060ey", "\ufefffree money", "free mo\u00adney"]),
        ("invisible", ["bad", "b\u200dad", "ba\u200c\u200dd"]),
        ("repeats", ["wow!!!", "wow!!!!", "wow!!!!!!!!!!!!!"]),
        ("repeats", ["嗯。。。", "嗯。。。。。。"]),
    ],
)
def test_what_becomes_the_same(form: Form, texts: list[str]) -> None:
    """Forms of one character, what is not seen, and marks repeated more than three times make no difference."""
    assert len({normal(text, [form]) for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["👨‍👩‍👧", "👨👩👧", "👨‍👩👧"],
        ["❤", "❤️", "❤︎"],
        ["🏴", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"],
        ["می‌خواهم", "میخواهم"],
        ["क्‍ष", "क्ष"],
        ["\u202edab", "dab"],
        ["wow!", "wow!!", "wow!!!"],
        ["f****", "f***", "f*****"],
        ["-----", "----"],
        ["10", "1\u3164" + "0"],
        ["aaaa", "aaaaa"],
        ["!!!!", "????"],
    ],
)
@pytest.mark.parametrize("forms", [choice for n in range(4) for choice in itertools.combinations(FORMS, n)])
def test_what_looks_different_stays_different(texts: list[str], forms: list[Form]) -> None:
    """Families of emoji, flags, words with joiners, turned text, masks and letters are told apart by every choice."""
    assert len({normal(text, forms) for text in texts}) == len(texts)


@settings(max_examples=120)
@given(TEXTS)
def test_only_what_is_listed_is_left_out(text: str) -> None:
    """`invisible` leaves out characters of its two lists and no other, and changes the order of none."""
    left_out = {*INVISIBLE, *JOINERS}
    keeps = [one for one in normal(text, ["invisible"]) if one not in left_out]
    assert keeps == [one for one in text if one not in left_out]


@settings(max_examples=120)
@given(st.text("!?.a 。", max_size=30))
def test_repeats_are_cut_to_three(text: str) -> None:
    """No mark is left more than three times in a row, shorter runs keep their length, and all else stays in place."""
    runs = [(mark, len(list(run))) for mark, run in itertools.groupby(text)]
    assert normal(text, ["repeats"]) == "".join(
        mark * (min(count, MOST_REPEATS) if mark in MARKS else count) for mark, count in runs
    )


@pytest.mark.parametrize("text", ["b\u200bad", "ｂad", "see example．com", "cafe\u0301", "①②③"])
def test_words_in_disguise_are_told(text: str) -> None:
    """Letters and stops in another form, and characters that are not seen, may hide words."""
    assert hides(text, FORMS)
    assert not hides(text, ["repeats"])


@pytest.mark.parametrize("text", ["bad", "wow!!!!!!!", "你好！！！！（对吗？）……", "\u200b", "👨‍👩‍👧 hello"])
def test_loud_texts_hide_nothing(text: str) -> None:
    """Marks in their usual widths, repeated marks and emoji hide nothing."""
    assert not hides(text, FORMS)


def test_the_widths_are_those_of_unicode() -> None:
    """What counts as another width of a mark is what NFKC makes of it: marks and spaces, never a letter."""
    for one, form in WIDTHS.items():
        assert unicodedata.normalize("NFKC", one) == form
        assert all(unicodedata.category(part)[0] in "PZ" for part in one + form)
