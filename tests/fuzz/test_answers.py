"""The fuzz run in short, and that it would find what it looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.moderation.protocol.responses import Finding
from consumer.verdict import RiskLevel
from fuzz.answers import EXAMPLES, answer, main
from fuzz.promises import broken_promises


if TYPE_CHECKING:
    from collections.abc import Callable


__all__: list[str] = []


def test_two_thousand_answers_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """Random and mutated answers neither raise nor pass by accident, and the run says what it tried."""
    assert main(["--count", "2000", "--seed", "20260102"]) == 0
    said = capsys.readouterr().out
    assert "2000 answers" in said
    assert "no promise broken" in said


def test_every_example_of_the_pages_keeps_the_promises() -> None:
    """The vendor's own examples, unchanged, break nothing."""
    assert EXAMPLES
    assert [broken_promises(body, 200) for body in EXAMPLES] == [[]] * len(EXAMPLES)


def test_an_answer_can_be_had_again() -> None:
    """The same seed and number give the same answer, whatever was tried before."""
    assert [answer(7, number) for number in range(50)] == [answer(7, number) for number in range(50)]
    assert answer(7, 0) != answer(8, 0)


def _fails(*_: object) -> Finding:
    raise RecursionError("too deep")


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (lambda *_: Finding(RiskLevel.NONE), "none from an answer with code"),
        (lambda *_: Finding(RiskLevel.NONE, extra={"x": 1 << 70}), "raised TypeError"),
        (_fails, "raised RecursionError: too deep"),
    ],
)
def test_a_reader_with_a_defect_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    defect: Callable[..., Finding],
    said: str,
) -> None:
    """A reader that takes everything for clean, gives what cannot be written, or fails, ends the run with the bytes."""
    monkeypatch.setattr("fuzz.promises.read_finding", defect)
    assert main(["--count", "500"]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert "seed 1, answer " in out
    assert "again: python -m fuzz.answers --seed 1 --start " in out
