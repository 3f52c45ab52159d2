"""The program's log while its view has the terminal: warnings and errors are kept for a line of the view."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import structlog


if TYPE_CHECKING:
    from structlog.typing import EventDict


__all__ = ["Notes"]


_NEWS_SECONDS = 4.0
# The logger and the module in which the Kafka client says that a connection has ended, before it makes another: the
# broker in this process ends the first. What comes of a broker that stays away is told by our own lines.
_NO_NEWS = ("aiokafka", "client")


class Notes(logging.Handler):
    """The last warning or error, for as long as it is news."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.add_log_level],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _line],
            )
        )
        self._last = ""
        self._last_at = float("-inf")

    @property
    def latest(self) -> str:
        """What was logged in the last seconds; empty where there was nothing."""
        return self._last if time.monotonic() - self._last_at < _NEWS_SECONDS else ""

    def take_over(self) -> None:
        """Be the whole process's log from now on."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(logging.WARNING)
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_log_level,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it is news."""
        if (record.name, record.module) == _NO_NEWS:
            return
        self._last = self.format(record)
        self._last_at = time.monotonic()


def _line(_logger: object, _method: str, event: EventDict) -> str:
    """`warning: event key=value …`, in one line."""
    level, what = event.pop("level"), event.pop("event")
    event.pop("exc_info", None)
    return " ".join([f"{level}: {what}", *(f"{name}={value}" for name, value in event.items())]).replace("\n", " ")
