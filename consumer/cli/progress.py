"""How far something is that takes long, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import click


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["progress"]


_LINES_SECONDS = 10.0


@contextlib.contextmanager
def progress(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to be called with how many more of `size` are done; where that is 0 nothing is shown."""
    if not size:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _Lines(label, size).more
    else:
        with _bar(label, size) as more:
            yield more


@contextlib.contextmanager
def _bar(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar by rich, which has colours and the time that is left, or by click, where rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        with click.progressbar(length=size, label=label.ljust(14), file=sys.stderr) as bar:
            yield bar.update
        return
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=size)
        yield lambda count: shown.advance(task, count)


class _Lines:
    """A line every few seconds, so that short work says nothing."""

    def __init__(self, label: str, size: int) -> None:
        self._label = label
        self._size = size
        self._done = 0
        self._told = time.monotonic()

    def more(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._told >= _LINES_SECONDS:
            self._told = time.monotonic()
            click.echo(f"{self._label}: {self._done} of {self._size} ({100 * self._done // self._size} %)", err=True)
