"""The type of options that take a number: `nan` would get past every bound, and `inf` past most."""

from __future__ import annotations

import math
from typing import Any

import click


__all__ = ["Finite"]


class Finite(click.FloatRange):
    """A number within bounds; what Python reads as one, but is none or has no end, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that was written."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        within: float = super().convert(value, param, ctx)
        return within
