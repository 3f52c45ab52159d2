"""Tests of lines that repeat themselves: what is news is logged, and what is not is counted."""

from __future__ import annotations

import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer import reloading
from consumer.logs.repeats import Quiet, Repeats


class Log:
    """A log with a clock of its own: which lines came through, and what was said of the others."""

    def __init__(self) -> None:
        self.now = 0.0
        self.through: list[str] = []
        self.quiet: list[Quiet] = []
        self.repeats = Repeats(self.quiet.append, lambda: self.now)

    def line(self, message: Any, *args: object, logger: str = "aiokafka.conn", level: int = logging.ERROR) -> bool:
        record = logging.LogRecord(logger, level, __file__, 1, message, args, None)
        through = self.repeats.filter(record)
        if through:
            self.through.append(record.getMessage())
        return through

    def ours(self, event: str, **values: object) -> bool:
        return self.line({"event": event, **values}, logger="consumer.part", level=logging.WARNING)


def test_an_outage_is_one_line_each_way_and_a_count() -> None:
    """Of a client's complaints that come for minutes the first is logged, and the count when they are over."""
    log = Log()
    for _ in range(600):
        log.line("Unable connect to node with id %s", 1)
        log.line("Heartbeat failed: %s", log.now)
        log.now += 0.5
        log.repeats.look()
    assert log.through == ["Unable connect to node with id 1", "Heartbeat failed: 0.0"]
    assert log.quiet == []
    log.now += 60
    log.repeats.look()
    assert [(one.package, one.lines) for one in log.quiet] == [("aiokafka", 1198)]
    assert log.quiet[0].seconds == 299.5
    log.repeats.look()
    assert len(log.quiet) == 1


def test_what_goes_on_for_hours_is_said_again_now_and_then() -> None:
    """Every ten minutes a line that never ends is logged once more, with the count of those left out since."""
    log = Log()
    for _ in range(2 * 3600):
        log.line("down")
        log.now += 1
    assert len(log.through) == 12
    assert log.through[1] == "down (599 like it were left out)"


def test_an_end_and_a_new_begin_are_both_said() -> None:
    """A line that comes again after a minute's quiet is news, after the count of those before."""
    log = Log()
    log.line("down")
    log.line("down")
    log.now += 61
    assert log.line("down")
    assert [one.lines for one in log.quiet] == [1]


def test_our_own_lines_are_told_apart_by_what_they_are_about() -> None:
    """Five lines of ours of a kind are logged; another service, code or partition is another kind."""
    log = Log()
    through = [log.ours("calls fail", service=service, detail=n) for service in ("a", "b") for n in range(8)]
    assert through == 2 * (5 * [True] + 3 * [False])


def test_what_answers_an_edit_is_never_left_out() -> None:
    """However often an operator saves settings within a minute, each time the log says what came of it."""
    log = Log()
    for number in range(20):
        problems = [f"config.yaml:{number}:1: wrong"]
        assert log.line({"event": "settings refused", "problems": problems}, logger=reloading.__name__)
        assert log.line({"event": "settings need a restart", "keys": [number]}, logger=reloading.__name__)
        log.now += 3
    log.repeats.close()
    assert log.quiet == []


def test_lines_of_other_levels_and_loggers_are_other_lines() -> None:
    """The same message of another logger or level is not left out."""
    log = Log()
    assert log.line("closed", logger="aiokafka.a")
    assert log.line("closed", logger="aiokafka.b")
    assert log.line("closed", logger="aiokafka.b", level=logging.WARNING)
    assert not log.line("closed", logger="aiokafka.b")


def test_what_is_left_out_at_the_end_is_said_at_the_end() -> None:
    """A program that stops in the middle of an outage still says how many lines there were."""
    log = Log()
    for _ in range(9):
        log.line("down")
    log.repeats.close()
    assert [one.lines for one in log.quiet] == [8]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 400)), max_size=200))
def test_every_line_is_logged_or_counted(lines: list[tuple[str, float]]) -> None:
    """Whatever comes whenever, the lines that were logged and those that are counted at the end are all of them."""
    log = Log()
    for message, seconds in lines:
        log.line(message)
        log.now += seconds
        log.repeats.look()
    log.repeats.close()
    assert len(log.through) + sum(one.lines for one in log.quiet) == len(lines)


def test_kinds_of_lines_are_bounded() -> None:
    """However many different lines there are, only so many are remembered."""
    log = Log()
    for number in range(5000):
        log.line(f"one of many {number}")
    assert len(log.repeats._kinds) == 1000
    assert len(log.through) == 5000
