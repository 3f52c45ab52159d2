"""How the interpreter is set up for a process that runs for weeks: its event loop and its collector."""

from __future__ import annotations

import asyncio
import gc


__all__ = ["calm_collector", "new_event_loop"]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The event loop of uvloop where it is installed, else that of asyncio."""
    try:
        import uvloop  # noqa: PLC0415  # it is not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def calm_collector() -> None:
    """Look for cycles less often, and never among what was made at start.

    Thousands of records in flight are live objects and hardly ever in cycles: with the usual thresholds a third of all
    CPU goes into looking at them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
