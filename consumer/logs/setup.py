"""Sets logging up for the whole process: one handler, one form, and levels that leave out what nobody reads."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Self

import structlog

from consumer.logs.repeats import Repeats
from consumer.logs.safe import Foreign, complain, rendered


if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import Processor

    from consumer.logs.repeats import Quiet


__all__ = ["Logging", "configure", "set_level"]


# Their information is ours to give, in our own words; what remains is worth reading. Below these levels some of them
# log what they send, so no setting makes them say more.
_LEAST = {
    "aiokafka": logging.WARNING,
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "urllib3": logging.ERROR,
    "requests": logging.ERROR,
}
_log = structlog.get_logger(__name__)


class _Handler(logging.StreamHandler[Any]):
    """Writes to standard error. A line that cannot be written is not repeated in a complaint about it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name, and its method
        complain(record)


class Logging:
    """Logging as it was configured. While its context is entered, it says when lines that were left out are over.

    It then also has errors that nobody waits for, of threads and of objects that are taken apart, and the warnings of
    Python itself, come out as lines like all others: they would be printed with what they hold.
    """

    def __init__(self, repeats: Repeats) -> None:
        self._repeats = repeats
        self._watching: asyncio.Task[None] | None = None
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)

    async def __aenter__(self) -> Self:
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook = lambda kind, error, trace: _unexpected("the program", (kind, error, trace))
        threading.excepthook = lambda args: _unexpected("a thread", (args.exc_type, args.exc_value, args.exc_traceback))
        sys.unraisablehook = lambda args: _unexpected("a clean-up", (args.exc_type, args.exc_value, args.exc_traceback))
        logging.captureWarnings(capture=True)
        self._watching = asyncio.create_task(self._repeats.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        self._repeats.close()
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks


def configure(*, level: str, form: Literal["console", "json"]) -> Logging:
    """Set up logging for the whole process; lines go to standard error.

    Lines that repeat themselves are counted instead of logged. Of errors only the kind and the place are said, and of
    other people's messages only what cannot hold content.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(rendered),
                renderer,
            ],
        )
    )
    repeats = Repeats(_quiet)
    handler.addFilter(repeats)
    handler.addFilter(Foreign())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return Logging(repeats)


def set_level(level: str) -> None:
    """Log nothing less severe than this from now on."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _quiet(over: Quiet) -> None:
    """The other end of an outage: the lines that were left out are no more."""
    _log.info("lines_left_out", of=over.package, lines=over.lines, seconds=round(over.seconds, 1))


def _unexpected(
    where: str, exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
) -> None:
    kind, error, trace = exc_info
    if kind is None or error is None:
        _log.error("unexpected_error", within=where, error="unknown" if kind is None else kind.__name__)
    else:
        _log.error("unexpected_error", within=where, exc_info=(kind, error, trace))
