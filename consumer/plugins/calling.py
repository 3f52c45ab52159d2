"""A plugin at work: its function under its name, and what becomes of what it raises or returns that is wrong."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

import structlog

from consumer.errors import DecodeError, MappingError, RecordError, RouteError
from consumer.plugins.frames import place_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.metrics import Metrics


__all__ = ["KEPT", "RAISED", "Kept", "Kind", "Plugin"]


Kind = Literal["mapping", "rule", "policy", "codec"]

RAISED: Final = (Exception, SystemExit, asyncio.CancelledError)
"""What counts as a plugin's own: it cannot be cancelled, and `sys.exit()` in it must not stop all other records."""

_F = TypeVar("_F", bound="Callable[..., Any]")

_log = structlog.get_logger(__name__)

_SLOW_SECONDS = 0.1
_CODE = "plugin"
_GIVEN_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_LETTERS: Final[dict[Kind, type[RecordError]]] = {"codec": DecodeError, "mapping": MappingError, "rule": RouteError}


class Kept:
    """How long the event loop was kept by calls of plugins, all together."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


KEPT: Final = Kept()
"""It counts the calls of this process: they are made one after the other, whatever they are made for."""


class Plugin(Generic[_F]):
    """A function of the user's, and how to say and count that it failed; never with what it was given.

    Args:
        kind: What it is used as.
        name: What the settings call it.
        function: The function.
        metrics: Where its failures are counted, if they are.
    """

    __slots__ = ("_file", "_metrics", "function", "kind", "name")

    def __init__(self, kind: Kind, name: str, function: _F, metrics: Metrics | None = None) -> None:
        call: Any = type(function).__call__
        code = getattr(function, "__code__", None) or getattr(call, "__code__", None)
        self.kind = kind
        self.name = name
        self.function = function
        self._file: str | None = None if code is None else code.co_filename
        self._metrics = metrics

    def call(self, *given: Any) -> Any:
        """What the function returns for this; the log has a line where it takes long.

        Raises:
            Exception: whatever the function raises.
        """
        began = time.perf_counter()
        try:
            return self.function(*given)
        finally:
            seconds = time.perf_counter() - began
            KEPT.seconds += seconds
            if seconds > _SLOW_SECONDS:
                _log.warning(
                    "slow_plugin",
                    kind=self.kind,
                    plugin=self.name,
                    seconds=round(seconds, 3),
                    meaning="nothing else is done during a call of a plugin: the program gets on only between records",
                    remedy="Have it wait for nothing: read what it needs when its module is imported, or in a thread.",
                )

    def raised(self, error: BaseException) -> RecordError:
        """The dead letter of what it raised: of a `RecordError` with its message and code, else with its place only."""
        if isinstance(error, RecordError):
            code = error.reason if _GIVEN_CODE.fullmatch(error.reason) else _CODE
            return _LETTERS[self.kind](f"{self._who}: {error}", code=code)
        return _LETTERS[self.kind](self.failed(error), code=_CODE)

    def returned(self, found: object, wanted: str) -> RecordError:
        """The dead letter of what it returned, and should not have."""
        return _LETTERS[self.kind](self.gave(found, wanted), code=_CODE)

    def spoilt(self, how: str) -> RecordError:
        """The dead letter of what it returned, of the right type but with something wrong in it."""
        return _LETTERS[self.kind](self._broke(how, "returned"), code=_CODE)

    def failed(self, error: BaseException) -> str:
        """Count that it raised this; in words."""
        name = type(error).__name__
        return self._broke(f"failed with {name} at {place_of(error, self._file)}", name)

    def gave(self, found: object, wanted: str) -> str:
        """Count that it returned something of the wrong type; in words."""
        if inspect.iscoroutine(found):
            found.close()  # who leaves it alone has Python warn that nobody has waited for it
        if found is None:
            what = "nothing"
        elif self.kind == "policy" and type(found) is str:
            what = "another text"
        else:
            what = f"a value of the type {type(found).__name__}"
        return self._broke(f"returned {what}; {wanted} is wanted", "returned")

    def _broke(self, how: str, code: str) -> str:
        if self._metrics is not None:
            self._metrics.counter("plugin_failures").labels(self.kind, self.name).inc()
            self._metrics.errors.add("plugin failed", code, f"{self.kind} {self.name}")
        return f"{self._who} {how}"

    @property
    def _who(self) -> str:
        return f"the {self.kind} plugin '{self.name}'"
