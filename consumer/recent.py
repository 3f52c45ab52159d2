"""The last errors, for people who look at /status: what, which code, when, how often; nothing of what was in them."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["RecentErrors", "lines_counted"]


_MOST = 50
# What is longer, or holds anything else, is no code but a sentence, and may hold a name.
_CODE = re.compile(r"[\w.*:/ -]{1,64}", re.ASCII)


@dataclass(slots=True)
class _Error:
    first_at: float
    last_at: float
    count: int = 0


class RecentErrors:
    """So many kinds of errors, those that came last. Times are in seconds since the epoch."""

    def __init__(self, most: int = _MOST, now: Callable[[], float] = time.time) -> None:
        self._most = most
        self._now = now
        self._errors: OrderedDict[tuple[str, str, str], _Error] = OrderedDict()

    def add(self, what: str, code: str, where: str = "") -> None:
        """One more error of this kind. All three are words of ours or codes, never texts of others."""
        key, now = (what, code, where), self._now()
        error = self._errors.get(key)
        if error is None:
            error = self._errors[key] = _Error(now, now)
            if len(self._errors) > self._most:
                self._errors.popitem(last=False)
        else:
            self._errors.move_to_end(key)
        error.last_at = now
        error.count += 1

    def to_list(self) -> list[dict[str, Any]]:
        """All of them, the last one first."""
        return [
            {
                "what": what,
                "code": code,
                "where": where,
                "count": error.count,
                "first_at": error.first_at,
                "last_at": error.last_at,
            }
            for (what, code, where), error in reversed(self._errors.items())
        ]


@contextmanager
def lines_counted(errors: RecentErrors) -> Iterator[None]:
    """Have warnings and errors that any part of the process logs count among these, while the context is entered."""
    handler = _Lines(errors)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Lines(logging.Handler):
    """Has warnings and errors that are logged count among the last errors, by their event and code."""

    def __init__(self, errors: RecentErrors) -> None:
        super().__init__(logging.WARNING)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line. Of other people's lines only their logger is said."""
        if isinstance(record.msg, dict):
            line: dict[str, Any] = record.msg
            code = next((str(line[name]) for name in ("code", "reason") if line.get(name) is not None), "")
            what = str(line.get("event", ""))
            where = str(line.get("service") or line.get("partition") or line.get("topic") or "")
            self._errors.add(what, code if _CODE.fullmatch(code) else "", where or record.name)
        else:
            self._errors.add("line logged", record.levelname.lower(), record.name)
