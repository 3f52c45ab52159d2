"""The run that an estimate is about: real time, sockets, and a simulator that keeps a ledger of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consumer.clock import SystemClock
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.routing import Router
from consumer.building import routes
from consumer.intake import Intake
from consumer.settings import load
from consumer.simulator import Latency, Simulator, SimulatorSettings
from tests.engine.memory import Cluster, MemorySink, MemorySource
from consumer.building import policy
from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from consumer.settings import Settings
    from consumer.simulator.ledger import Ledger


__all__ = ["QUOTAS", "configured", "really"]
