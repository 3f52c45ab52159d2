"""The log while the view has the terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from aiokafka import client

from consumer.demo.notes import Notes


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def notes() -> Iterator[Notes]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    made = Notes()
    made.take_over()
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_warnings_of_ours_and_of_libraries_are_kept(notes: Notes, capsys: pytest.CaptureFixture[str]) -> None:
    """The last warning is there in one line, and nothing is written over the view."""
    structlog.get_logger("consumer.x").info("running", admin_port=1)
    assert notes.latest == ""
    structlog.get_logger("consumer.x").warning("calls fail", service="s", code=500)
    assert notes.latest == "warning: calls fail service=s code=500"
    logging.getLogger("aiokafka").error("no\nbroker %s", 1)
    assert notes.latest == "error: no broker 1"
    assert capsys.readouterr() == ("", "")


def test_old_news_is_none(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning leaves its line after some seconds."""
    structlog.get_logger("consumer.x").warning("calls fail")
    monkeypatch.setattr("consumer.demo.notes.time.monotonic", lambda: float("inf"))
    assert notes.latest == ""


def test_a_connection_that_is_made_anew_is_no_news(notes: Notes) -> None:
    """What the Kafka client says of a connection that ended does not stand before a new user's eyes."""
    logger = logging.getLogger("aiokafka")
    logger.handle(logger.makeRecord("aiokafka", logging.ERROR, client.__file__, 1, "Unable to update …", (), None))
    assert notes.latest == ""
