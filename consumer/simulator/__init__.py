"""A Content Moderation 2.0 that runs on this machine: signatures, quotas, verdicts, bills and faults."""

from __future__ import annotations

from consumer.simulator.faults import Fault
from consumer.simulator.latency import Latency
from consumer.simulator.server import Simulator
from consumer.simulator.settings import SimulatorSettings


__all__ = ["Fault", "Latency", "Simulator", "SimulatorSettings"]
