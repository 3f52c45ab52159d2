"""How long the simulated service thinks before it answers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import random


__all__ = ["NO_LATENCY", "Latency"]


_TEXT = re.compile(r"(?P<low>\d+(?:\.\d+)?)(?:-(?P<high>\d+(?:\.\d+)?)|~(?P<sigma>\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of waiting times.

    `low_ms` alone is constant; with `high_ms` each time between the two is as likely; with `sigma` it is log-normal
    with median `low_ms`, as service latencies tend to be (sigma 0.5: one call in a hundred takes 3.2 times as long).
    """

    low_ms: float = 0.0
    high_ms: float | None = None
    sigma: float = 0.0

    def __post_init__(self) -> None:
        high_ms = self.low_ms if self.high_ms is None else self.high_ms
        if not (0 <= self.low_ms <= high_ms < math.inf and 0 <= self.sigma < math.inf):
            raise ValueError(f"{self!r} is no range of waiting times")

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read `50` (constant), `20-80` (uniform) or `50~0.5` (log-normal), in milliseconds.

        Raises:
            ValueError: `text` is none of these, or a range that ends before it begins.
        """
        parts = _TEXT.fullmatch(text.strip())
        if parts is None:
            raise ValueError(
                f"{text!r} is no latency: write 50, 20-80 (uniform) or 50~0.5 (log-normal), in milliseconds"
            )
        high, sigma = parts["high"], parts["sigma"]
        if high and float(high) < float(parts["low"]):
            raise ValueError(
                f"{text!r} is no range of waiting times: the lower end comes first, as in {high}-{parts['low']}"
            )
        return cls(float(parts["low"]), float(high) if high else None, float(sigma) if sigma else 0.0)

    def __str__(self) -> str:
        if self.high_ms is not None:
            return f"{self.low_ms:g}-{self.high_ms:g}"
        return f"{self.low_ms:g}~{self.sigma:g}" if self.sigma else f"{self.low_ms:g}"

    def draw_seconds(self, dice: random.Random) -> float:
        """One waiting time."""
        if self.high_ms is not None:
            return dice.uniform(self.low_ms, self.high_ms) / 1000
        if self.sigma:
            return self.low_ms * math.exp(dice.gauss(0.0, self.sigma)) / 1000
        return self.low_ms / 1000


NO_LATENCY = Latency()
