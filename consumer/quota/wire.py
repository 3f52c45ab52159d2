"""From the token to the wire: who counts sends hears when the request of a token has really been written."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["expect", "written"]


# A list, since the request may be written by a task of its own, which has a copy of the context: it is told once.
_expected: ContextVar[list[Callable[[], None]] | None] = ContextVar("expected", default=None)


def expect(told: Callable[[], None]) -> None:
    """Have `told` called when this task, or one that it starts, has written its next request."""
    _expected.set([told])


def written() -> None:
    """A request has just been written to its connection."""
    expected = _expected.get()
    if expected:
        expected.pop()()
