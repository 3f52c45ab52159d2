"""Without a terminal: a line a second."""

from __future__ import annotations

import io

from rich.console import Console

from consumer.demo.screens import LiveScreen, PlainScreen, screen
from tests.demo.moments import START, moment


def console(*, terminal: bool, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, height=30, _environ={"TERM": "xterm"})


def printed(where: Console) -> list[str]:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue().splitlines()


def test_a_terminal_gets_the_live_view_and_a_pipe_gets_lines() -> None:
    """Lines are chosen for pipes, for terminals that are too narrow, and by --plain."""
    assert isinstance(screen(console(terminal=True), plain=False), LiveScreen)
    assert isinstance(screen(console(terminal=False), plain=False), PlainScreen)
    assert isinstance(screen(console(terminal=True, width=40), plain=False), PlainScreen)
    assert isinstance(screen(console(terminal=True), plain=True), PlainScreen)


def test_a_line_a_second() -> None:
    """Moments come several times a second; a line is printed for each second."""
    where = console(terminal=False)
    with PlainScreen(where) as lines:
        for tick in range(16):
            lines.show(moment(elapsed_seconds=tick / 5, rows=()))
    assert [line[:6] for line in printed(where) if "lag" in line] == ["   0 s", "   1 s", "   2 s", "   3 s"]


def test_a_line_has_the_numbers() -> None:
    """One line tells flow, lag, quota, verdicts, dead letters and cost."""
    where = console(terminal=False)
    with PlainScreen(where) as lines:
        lines.show(moment(rows=()))
    assert printed(where)[1] == (
        "   8 s  in 1612 ( 56/s)  lag 260  text 48/50, image 41/70 calls/s  pass 1280 review 9 block 12 dead 9"
        "  CNY 0.96 + USD 0.19"
    )


def test_the_last_answer_that_is_worth_it_gets_a_line_once() -> None:
    """Now and then a verdict other than a clean one is shown, with a short piece of its text."""
    where = console(terminal=False)
    with PlainScreen(where) as lines:
        for second in range(6):
            lines.show(moment(elapsed_seconds=float(second)))
    assert [line.strip() for line in printed(where) if "12:01" in line] == [
        "12:01:03 block, high risk (contraband_drug): message “beli narkoba murah, hubungi sekarang 🔥”"
    ]


def test_a_warning_is_printed_once() -> None:
    """The same warning is not repeated every second."""
    where = console(terminal=False)
    with PlainScreen(where) as lines:
        for second in range(3):
            lines.show(moment(elapsed_seconds=float(second), note="warning: calls fail", rows=()))
    assert sum("calls fail" in line for line in printed(where)) == 1


def test_the_live_view_leaves_its_last_moment() -> None:
    """After the end the last picture stands above the summary, and the terminal is as it was."""
    where = console(terminal=True)
    with LiveScreen(where) as live:
        live.show(START)
        live.show(moment(phase="done"))
    assert isinstance(where.file, io.StringIO)
    picture = where.file.getvalue()
    _, _, after = picture.rpartition("\x1b[?1049l")
    assert "done" in after
    assert "the account's quota" in after
