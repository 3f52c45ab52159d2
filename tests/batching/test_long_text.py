"""Tests of long text: nothing is left out, nothing is too long, and places are those of the whole text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.long_text import OVERLAP_CHARACTERS, cut, join_labels, length, shifted
from consumer.verdict import CustomHit, Label, RiskLevel, RiskPosition


LABEL = Label("contraband_drug", "contraband", "service", "text")


@given(
    text=st.text(st.sampled_from("ab .!?。！\n世界😀👍é"), max_size=900),
    limit=st.integers(4, 200),
    overlap=st.integers(0, 60),
)
def test_every_character_is_in_a_piece_and_no_piece_is_too_long(text: str, limit: int, overlap: int) -> None:
    """The pieces cover the text without a hole, each stands where it says, and each is within the limit."""
    pieces = cut(text, limit, overlap=overlap)
    covered = 0
    for piece in pieces:
        assert length(piece.text) <= limit
        assert text[piece.start :].startswith(piece.text)
        assert piece.start <= covered
        covered = piece.start + len(piece.text)
    assert covered == len(text)
    assert len({piece.start for piece in pieces}) == len(pieces)


@pytest.mark.parametrize(
    ("filler", "phrase"),
    [("Words in a row. ", "buy it here now"), ("一二三四五六七八九十。", "在这里购买"), ("x" * 50, "needle")],
)
def test_a_phrase_across_a_cut_is_whole_in_one_piece(filler: str, phrase: str) -> None:
    """Wherever a short phrase stands in a long text, one of the pieces holds all of it."""
    base = filler * (5000 // len(filler))
    for at in range(1900, 2100, 7):
        pieces = cut(base[:at] + phrase + base[at:], 2000)
        assert any(phrase in piece.text for piece in pieces)


def test_a_short_text_is_one_piece() -> None:
    """A text within the limit is sent as it is."""
    assert [piece.text for piece in cut("short", 2000)] == ["short"]


def test_cuts_are_made_at_sentence_ends() -> None:
    """A piece ends with a sentence, and a full stop inside a number ends none."""
    text = "One sentence of some length, pi is 3.14 here. " * 100
    pieces = cut(text, 500)
    assert len(pieces) > 5
    assert all(piece.text.endswith("here.") for piece in pieces[:-1])


def test_emoji_count_twice() -> None:
    """Characters outside the basic plane count as two, so that a text fits however the service counts."""
    assert length("a世😀") == 4
    assert all(len(piece.text) <= 1000 for piece in cut("😀" * 3000, 2000))


def test_pieces_overlap_by_little() -> None:
    """The overlap repeats at most sixty characters a cut."""
    text = "word " * 2000
    assert sum(len(piece.text) for piece in cut(text, 2000)) <= len(text) + 5 * OVERLAP_CHARACTERS


def test_positions_are_those_of_the_whole_text() -> None:
    """A place found in a piece is moved by where the piece begins."""
    label = replace(LABEL, positions=(RiskPosition("w", 3, 5),))
    assert shifted(label, 100).positions == (RiskPosition("w", 103, 105),)
    assert shifted(label, 0) is label


def test_a_label_found_in_two_pieces_is_one_label() -> None:
    """Words, places and library hits are joined without repetition, and the higher confidence stays."""
    first = replace(LABEL, confidence=80.0, risk_words=("a", "b"), positions=(RiskPosition("a", 1, 2),))
    second = replace(
        LABEL,
        confidence=95.5,
        risk_words=("b", "c"),
        positions=(RiskPosition("a", 1, 2), RiskPosition("c", 9, 10)),
        custom_hits=(CustomHit("mine", ("c",)),),
    )
    other = replace(LABEL, service="another", confidence=None)
    joined, apart = join_labels([first, other, second])
    assert joined.confidence == 95.5
    assert joined.risk_words == ("a", "b", "c")
    assert joined.positions == (RiskPosition("a", 1, 2), RiskPosition("c", 9, 10))
    assert joined.custom_hits == (CustomHit("mine", ("c",)),)
    assert apart == other


def test_a_joined_label_has_its_highest_level() -> None:
    """Where the pieces of a text have one label at different levels, the whole has the highest."""
    levels = (None, RiskLevel.LOW, RiskLevel.HIGH, None)
    (joined,) = join_labels(replace(LABEL, risk_level=level) for level in levels)
    assert joined.risk_level is RiskLevel.HIGH
