"""Tests of the tests: what one of them does to logging is not there in the next."""

from __future__ import annotations

import logging

import structlog
from structlog.testing import capture_logs

from consumer import logs


_log = structlog.get_logger(__name__)


def _say_as_commands_do() -> None:
    logs.configure(level="error", form="json")
    _log.error("said")


def test_lines_are_captured_after_a_command_has_used_their_logger() -> None:
    """A logger that was used under one configuration is captured under the next."""
    _say_as_commands_do()
    logs.configure(level="info", form="console")
    with capture_logs() as captured:
        _log.warning("heard")
    assert [line["event"] for line in captured] == ["heard"]


def test_a_command_leaves_no_handler_and_no_level() -> None:
    """What the test above has configured has ended with it."""
    root = logging.getLogger()
    assert root.level == logging.WARNING
    assert not structlog.is_configured()
    assert [kind.__module__ for kind in map(type, root.handlers) if kind.__module__.startswith("consumer")] == []
