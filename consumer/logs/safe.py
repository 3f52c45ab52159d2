"""Errors and other people's messages in words that hold no content: where it happened, and what kind it was."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

from consumer.errors import ModerationConsumerError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


__all__ = ["Foreign", "complain", "message_of", "rendered", "traceback_of"]


# Their messages are made of numbers, names of brokers and topics, and reasons; everybody else's may quote a value.
_SPEAKING = ("aiokafka.errors",)
# These may put what they were given into the arguments of their messages.
_TEMPLATE_ONLY = ("opentelemetry", "urllib3", "requests", "aiohttp")


def message_of(error: BaseException) -> str:
    """What an error says, as far as that can hold no content: all of our own, and the reasons of the system's."""
    if isinstance(error, ModerationConsumerError) or type(error).__module__ in _SPEAKING:
        return str(error)
    if isinstance(error, OSError) and error.strerror and isinstance(error.errno, int):
        return f"[Errno {error.errno}] {error.strerror}"
    return ""


def traceback_of(error: BaseException) -> str:
    """A traceback as Python prints it, without the messages of errors that may quote what they were given."""
    return "\n".join(_lines(error, set()))


def rendered(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """The same, as structlog asks for it."""
    return traceback_of(exc_info[1])


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    cause, context = error.__cause__, error.__context__
    if cause is not None and id(cause) not in seen:
        yield from (
            *_lines(cause, seen),
            "",
            "The above exception was the direct cause of the following exception:",
            "",
        )
    elif context is not None and not error.__suppress_context__ and id(context) not in seen:
        yield from (*_lines(context, seen), "", "During handling of the above exception, another one occurred:", "")
    yield "Traceback (most recent call last):"
    yield from "".join(traceback.format_tb(error.__traceback__)).splitlines()
    said = message_of(error)
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    yield f"{name}: {said}" if said else name
    if isinstance(error, BaseExceptionGroup):
        for number, one in enumerate(error.exceptions, 1):
            if id(one) not in seen:
                yield f"  ---- {number} ----"
                yield from (f"  {line}" for line in _lines(one, seen))


class Foreign(logging.Filter):
    """Keeps of the lines that other people's code logs only what cannot hold content."""

    def filter(self, record: logging.LogRecord) -> bool:  # the standard library's method
        """Lets all lines through, some of them shorter."""
        package = record.name.partition(".")[0]
        if package == "asyncio":
            record.msg, record.args = _said(record).partition("\n")[0], ()
        elif package == "py":
            # A warning of Python: its place and its kind, without its words.
            record.msg, record.args = ":".join(_said(record).split(":")[:3]), ()
        elif package in _TEMPLATE_ONLY:
            record.msg, record.args = _without_texts(record), ()
        return True


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)


def _without_texts(record: logging.LogRecord) -> str:
    """The message with its numbers, and the kinds of its errors; of texts nobody knows what is in them."""
    args = record.args
    if not isinstance(args, tuple):
        return str(record.msg)
    shown = tuple(
        one if isinstance(one, (int, float)) else type(one).__name__ if isinstance(one, BaseException) else "…"
        for one in args
    )
    try:
        return str(record.msg) % shown
    except (TypeError, ValueError):
        return str(record.msg)


def complain(record: logging.LogRecord) -> None:
    """Say that a line could not be logged, without what was in it."""
    error = sys.exc_info()[0]
    sys.stderr.write(f"a line of {record.name} could not be logged: {error.__name__ if error else 'unknown'}\n")
