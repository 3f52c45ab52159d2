"""How long does the interpreter take to load the program, and to print its help?

usage: python -m benchmarks.imports [--runs 7]

Each command is a new process; the time is that of the whole process, and the median of all runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import Question, ask
from benchmarks.harness import ROOT, environment
from benchmarks.results import Bound, Found


if TYPE_CHECKING:
    from benchmarks.bench import Bench


__all__ = ["QUESTION", "Plan", "run"]


_HELP = "moderation-consumer --help"
_COMMANDS = {
    "an empty program": ("-c", "pass"),
    "what the bare window imports": ("-c", "import aiohttp, aiokafka, orjson, uvloop, yarl"),
    _HELP: ("-m", "consumer", "--help"),
    "moderation-consumer run --help": ("-m", "consumer", "run", "--help"),
    "all that the sidecar imports": ("-c", "import consumer.app, uvloop"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers."""

    runs: int = 7


def run(bench: Bench, plan: Plan) -> Found:
    """Start each so many times, in turn."""
    took: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in bench.rounds(plan.runs):
        for name, arguments in _COMMANDS.items():
            began = time.perf_counter()
            command = [sys.executable, *arguments]
            subprocess.run(command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - began)
    empty = statistics.median(took["an empty program"])
    rows = tuple(
        (name, f"{statistics.median(one):.3f}", f"{statistics.median(one) - empty:.3f}", str(len(one)))
        for name, one in took.items()
    )
    bound = Bound("--help, s", statistics.median(took[_HELP]), 0.3, at_most=True)
    return Found("Imports, medians", ("command", "s", "beyond an empty program", "runs"), rows, (), (bound,))


QUESTION = Question("imports", __doc__ or "", 11, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
