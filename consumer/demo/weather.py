"""What goes wrong with the simulated service while the demonstration runs, and what the viewer is told of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.simulator import Fault, Latency, SimulatorSettings


if TYPE_CHECKING:
    from consumer.simulator import Simulator


__all__ = ["FAIR", "Weather", "service"]


FAIR = "answers as usual"

_USUAL = Latency(130.0, sigma=0.35)
_SLOW = Latency(600.0, sigma=0.2)
# None of these loses an answer that was billed: what the service charged and what the verdicts say must be the same.
_ERRORS = (Fault("code", code="500", share=0.006), Fault("http_502", share=0.003), Fault("reset", share=0.003))
_REFUSALS = Fault("code", code="403", count=3, operation="ImageModeration")

# After the start, in seconds: before the first spell, during each, and between them.
_FIRST_SECONDS = 7.0
_SPELL_SECONDS = 1.5
_PAUSE_SECONDS = 2.0


def service(seed: int) -> SimulatorSettings:
    """A service in usual health: most calls take 80 to 250 ms, and one in a hundred fails."""
    return SimulatorSettings(latency=_USUAL, faults=_ERRORS, seed=seed)


class Weather:
    """Makes the service slow for a moment, then has it refuse a few image calls as over the quota, over and over."""

    def __init__(self, simulator: Simulator) -> None:
        self._faults = simulator.faults
        self.now = FAIR

    async def run(self) -> None:
        """Change it for ever; ends when cancelled."""
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            self.now = "is slow"
            self._faults.set_latency(_SLOW)
            await asyncio.sleep(_SPELL_SECONDS)
            self._faults.set_latency(_USUAL)
            self.now = FAIR
            await asyncio.sleep(_PAUSE_SECONDS)
            self.now = "says: too many images"
            self._faults.set((*_ERRORS, _REFUSALS))
            await asyncio.sleep(_SPELL_SECONDS)
            self.now = FAIR
            await asyncio.sleep(6 * _PAUSE_SECONDS)
