"""How the interpreter is set up for a process that runs for weeks: its event loop and its collector."""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["calm_collector", "new_event_loop", "resting_collector"]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The event loop of uvloop where it is installed, else that of asyncio."""
    try:
        import uvloop  # noqa: PLC0415  # it is not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def resting_collector() -> Iterator[None]:
    """Look for no cycles meanwhile: while modules are loaded nearly all that is made stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def calm_collector() -> None:
    """Look for cycles less often, and never among what was made at start.

    Thousands of records in flight are live objects and hardly ever in cycles: with the usual thresholds a third of all
    CPU goes into looking at them again and again. What little is in cycles by now is not worth a look: it would take
    longer than connecting does.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
