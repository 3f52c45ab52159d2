"""Lines that repeat themselves: the first of a kind is logged at once, the others are counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


__all__ = ["Quiet", "Repeats"]


# What has not come for so long is over; the count of what was left out is said then.
_QUIET_SECONDS = 60.0
# What goes on and on is said again so rarely, with the count.
_AGAIN_SECONDS = 600.0
# So many of our own lines of a kind are logged before the others are counted: two partitions, or two services, that
# have the same trouble are both worth a line.
_OURS = 5
_THEIRS = 1
_MOST_KINDS = 1000
_LOOK_SECONDS = 5.0
# Each of its lines answers a person who has just saved settings, or asked for them to be read again.
_ANSWERS = "consumer.reloading"
# What makes two of our own lines different: the others of their values are numbers, or go without saying.
_TELLING = ("reason", "code", "service", "quota", "budget", "topic", "partition", "plugin")


@dataclass(slots=True)
class _Kind:
    """Lines of one kind, since they were last quiet."""

    package: str
    first_at: float
    last_at: float
    said_at: float
    said: int = 0
    left_out: int = 0
    all_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Quiet:
    """Lines of one package that were left out and do not come any more."""

    package: str
    lines: int
    seconds: float


class Repeats(logging.Filter):
    """Lets a line through while it is news. `said` is told what was left out, when it is over."""

    def __init__(self, said: Callable[[Quiet], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._said = said
        self._clock = clock
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is logged. Where lines of its kind were left out before it, it says how many."""
        if record.name == _ANSWERS:
            return True
        now = self._clock()
        key = _key(record)
        kind = self._kinds.get(key)
        if kind is None or now - kind.last_at >= _QUIET_SECONDS:
            if kind is not None:
                self._over([key])
            elif len(self._kinds) >= _MOST_KINDS:
                self._over([next(iter(self._kinds))])
            kind = self._kinds[key] = _Kind(record.name.partition(".")[0], now, now, now)
        kind.last_at = now
        if kind.said < (_OURS if kind.package == "consumer" else _THEIRS):
            kind.said += 1
            kind.said_at = now
            return True
        if now - kind.said_at < _AGAIN_SECONDS:
            kind.left_out += 1
            kind.all_left_out += 1
            return False
        _note(record, kind.left_out)
        kind.left_out, kind.said_at = 0, now
        return True

    def look(self) -> None:
        """Say what was left out of lines that have not come for a while: a line for each package that has gone quiet.

        A package is quiet when none of its lines that were left out still comes.
        """
        now = self._clock()
        busy = {kind.package for kind in self._kinds.values() if kind.left_out and now - kind.last_at < _QUIET_SECONDS}
        self._over([key for key, kind in self._kinds.items() if kind.package not in busy and _is_old(kind, now)])

    def close(self) -> None:
        """Say what was left out so far."""
        self._over(list(self._kinds))

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def _over(self, keys: list[Hashable]) -> None:
        packages: dict[str, list[_Kind]] = {}
        for key in keys:
            kind = self._kinds.pop(key)
            if kind.all_left_out:
                packages.setdefault(kind.package, []).append(kind)
        for package, kinds in packages.items():
            began, ended = min(kind.first_at for kind in kinds), max(kind.last_at for kind in kinds)
            self._said(Quiet(package, sum(kind.all_left_out for kind in kinds), ended - began))


def _is_old(kind: _Kind, now: float) -> bool:
    return now - kind.last_at >= _QUIET_SECONDS


def _key(record: logging.LogRecord) -> Hashable:
    """What makes a line another one: of ours its event and a few values, of others the message without its values."""
    if isinstance(record.msg, dict):
        event: dict[str, Any] = record.msg
        return (record.name, record.levelno, str(event.get("event")), *(str(event.get(name)) for name in _TELLING))
    return record.name, record.levelno, str(record.msg)


def _note(record: logging.LogRecord, left_out: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "left_out": left_out}
    else:
        record.msg = f"{record.msg} ({left_out} like it were left out)"
