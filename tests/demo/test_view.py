"""The live view: whole, calm and legible at the usual sizes of terminals."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from consumer.demo.view import MIN_COLUMNS, MIN_LINES, render
from tests.demo.moments import ROWS, START, moment


if TYPE_CHECKING:
    from consumer.demo.snapshot import Snapshot


def drawn(snapshot: Snapshot, columns: int, lines: int) -> list[str]:
    console = Console(record=True, width=columns, height=lines, force_terminal=True, file=io.StringIO())
    console.print(render(snapshot, columns=columns, lines=lines))
    return console.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize("size", [(MIN_COLUMNS, MIN_LINES), (80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("snapshot", [START, moment()], ids=["start", "busy"])
def test_it_fills_the_terminal_and_no_more(snapshot: Snapshot, size: tuple[int, int]) -> None:
    """A picture that is higher or wider than the terminal would scroll and flicker."""
    columns, lines = size
    picture = drawn(snapshot, columns, lines)
    assert len(picture) == lines
    assert max(map(cell_len, picture)) <= columns


def test_80_columns_hold_every_number() -> None:
    """The common terminal shows flow, quota, verdicts, cost and the last answers without cutting a number."""
    text = "\n".join(drawn(moment(), 80, 24))
    for said in (
        "1 612 56/s",
        "1 301 49/s",
        "9 skipped 2",
        "260 ▁▁▂▃▄▃█▇",
        "248 36 calls out",
        "48 of 50 calls/s",
        "41 of 70 calls/s",
        "131 ms, 95 % under 250 ms",
        "7, refused for quota 3",
        "none 1276 low 4 medium 9 high 12",
        "241   CNY 0.964",
        "12:01:03 message block       high   contraband_drug",
        "dead letter        decode: malformed",
        "Ctrl-C ends it",
    ):
        assert said in text, said


def test_content_is_shown_as_it_is() -> None:
    """Line breaks and what looks like mark-up in a user's text change nothing around it."""
    text = "\n".join(drawn(moment(), 140, 30))
    assert "beli narkoba murah, hubungi sekarang" in text
    assert "[bold]JSON cut in half" in text


def test_more_lines_show_more_answers() -> None:
    """A higher terminal has room for more of the last verdicts, newest first."""
    rows = ROWS * 10
    low, high = (drawn(moment(rows=rows), 80, lines) for lines in (24, 40))
    assert sum("12:01:0" in line for line in high) == sum("12:01:0" in line for line in low) + 16


def test_a_warning_has_its_line() -> None:
    """What the program logs meanwhile is said in the last line, cut to fit."""
    assert "warning: calls fail" in drawn(moment(note="warning: calls fail " * 20), 80, 24)[-1]
