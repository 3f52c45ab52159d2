"""What the account has beyond a single call: its settings, its clock, its tasks and its uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.simulator.objects import Objects
from consumer.simulator.tasks import Tasks


if TYPE_CHECKING:
    from consumer.clock import Clock
    from consumer.simulator.settings import SimulatorSettings


__all__ = ["Account"]


class Account:
    """The one account of a simulator."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.tasks = Tasks(settings)
        self.objects = Objects(settings)

    def clear(self) -> None:
        """Forget tasks and uploads."""
        self.tasks.clear()
        self.objects.clear()
