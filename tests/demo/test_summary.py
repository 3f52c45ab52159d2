"""The sums at the end: what adds up passes, and whatever does not is said."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from consumer.demo.report import ADDS_UP, DOES_NOT, report
from consumer.demo.summary import Amount, Bills, Counts, Sums


BILL = {"text_llm_advanced": Amount(7, Decimal("0.028")), "image_standard": Amount(4, Decimal("0.0024"))}
FEWER = {**BILL, "image_standard": Amount(3, Decimal("0.0018"))}
DEARER = {**BILL, "image_standard": Amount(4, Decimal("0.0025"))}
GOOD = Sums(
    events_in=12,
    read_back=Counts(9, 2, 1),
    counted=Counts(9, 2, 1),
    committed=12,
    bills=Bills(ledger=BILL, verdicts=BILL, metrics=BILL),
)


def shown(sums: Sums) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(
        report(
            sums,
            title="After 20 s, with seed 1",
            actions={"pass": 8, "block": 1},
            currencies={"text_llm_advanced": "CNY", "image_standard": "USD"},
            busiest={"text": 49},
            limits={"text": 50, "image": 100},
        )
    )
    return console.export_text()


def test_sums_that_add_up_have_no_problems() -> None:
    """In = verdicts + dead letters + skipped, and one bill in three books: exit code 0."""
    assert GOOD.problems() == []
    assert GOOD.exit_code == 0


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"events_in": 13, "committed": 13}, "13 events in, but 9 verdicts + 2 dead letters + 1 skipped = 12 out"),
        ({"missing": ["t/0@3"]}, "1 events have neither a verdict nor a dead letter: t/0@3"),
        ({"lost": ["t/0@3"]}, "1 events have no answer and lie below the committed offset: t/0@3"),
        ({"twice": ["t/0@1", "t/0@2"]}, "2 events were answered twice: t/0@1, t/0@2"),
        ({"unknown": ["t/0@99"]}, "1 answers are to events that were never sent: t/0@99"),
        ({"wrong": list("abcde")}, "5 events became something else than they should: a, b, c and 2 more"),
        ({"counted": Counts(9, 1, 1)}, "the metrics count 9 verdicts + 1 dead letters + 1 skipped"),
        ({"committed": 11}, "offsets are committed for 11 of 12 events"),
        (
            {"bills": Bills(BILL, FEWER, BILL)},
            "billed 4 units for 0.002400 of image_standard, but the verdicts say 3 units",
        ),
        ({"bills": Bills(BILL, BILL, DEARER)}, "but the metrics say 4 units for 0.002500"),
        ({"bills": Bills({}, BILL, BILL)}, "the service billed 0 units for 0.000000 of image_standard"),
    ],
)
def test_a_spoilt_sum_is_said_and_fails(spoilt: dict[str, Any], said: str) -> None:
    """Each sum that does not add up is said in the summary, and the exit code is 1."""
    sums = replace(GOOD, **spoilt)
    assert any(said in problem for problem in sums.problems()), sums.problems()
    assert sums.exit_code == 1
    text = shown(sums)
    assert DOES_NOT in text
    assert ADDS_UP not in text


def test_what_was_left_on_purpose_is_no_problem() -> None:
    """Who leaves early is told how many events stay in the topic; none of them may be below a committed offset."""
    early = replace(GOOD, events_in=20, missing=["t/0@9"], committed=8, cut_short=True)
    assert early.problems() == []
    assert early.left == 8
    assert "+ 8 left" in shown(early)
    assert replace(early, lost=["t/0@9"]).exit_code == 1


def test_more_answers_than_events_never_add_up() -> None:
    """Leaving early does not excuse answers that nobody asked for."""
    assert replace(GOOD, events_in=11, cut_short=True).exit_code == 1


def test_the_summary_fits_80_columns_and_says_it_all() -> None:
    """A stranger reads the whole arithmetic in a few lines."""
    lines = shown(GOOD).splitlines()
    text = "\n".join(line.rstrip() for line in lines)
    assert max(map(len, lines)) <= 80
    assert "12 = 9 verdicts + 2 dead letters + 1 skipped" in text
    assert "CNY 0.028: 7 units in ledger, verdicts and metrics" in text
    assert "text 49 of 50 calls, image 0 of 100 calls" in text
    assert text.endswith(ADDS_UP)
