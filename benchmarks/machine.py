"""The machine that a benchmark ran on, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from consumer import __version__
from tests.broker.cluster import VERSION


__all__ = ["Machine", "machine"]


_PACKAGES = ("aiokafka", "aiohttp", "httptools", "orjson", "uvloop")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures depend on; `load` is the load average of the last minute before the run."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    versions: dict[str, str]
    load: float


def machine() -> Machine:
    """This machine, now."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.release()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = round(os.getloadavg()[0], 2)
    return Machine(_processor(), len(os.sched_getaffinity(0)), round(memory, 1), system, python, _versions(), load)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _versions() -> dict[str, str]:
    found = {"moderation-consumer": __version__, "Apache Kafka": VERSION, "Java": _java()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _java() -> str:
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return "not installed"
    found = re.search(r'version "([^"]+)', said)
    return found[1] if found else "unknown"
