"""A progress that nobody looks at."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["silent"]


@contextmanager
def silent(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """Shows nothing."""
    yield lambda _: None
