"""Peers that are measured only where they are installed, and how they come to be there.

usage: python -m benchmarks.peers_install

FastStream and Arroyo go into a virtual environment of their own below `.cache/peers`, by uv; Parallel Consumer is
fetched by Maven and compiled by the JDK's javac.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.contenders import Job


__all__ = ["INSTALLED", "Peer", "main"]


_HOME = ROOT / ".cache" / "peers"
_PYTHON = _HOME / "venv" / "bin" / "python"
_CLASSES = _HOME / "classes"
_JARS = _HOME / "jars"
_SOURCES = Path(__file__).resolve().parent / "others"
_MAIN = "ParallelWindow"
_PACKAGES = ("faststream[kafka]", "sentry-arroyo", "aiohttp", "aiokafka", "orjson", "uvloop")


@dataclass(frozen=True, slots=True)
class Peer:
    """One that may be there.

    Attributes:
        name: what it is called in the table.
        command: does a job.
        missing: why it cannot be measured; None when it can.
    """

    name: str
    command: Callable[[Job], list[str]]
    missing: Callable[[], str | None]


def _in_python(module: str) -> Callable[[Job], list[str]]:
    return lambda job: [str(_PYTHON), "-m", f"benchmarks.others.{module}", *_arguments(job)]


def _in_java(job: Job) -> list[str]:
    return ["java", "-Xmx1g", "-cp", f"{_CLASSES}:{_JARS}/*", _MAIN, *_arguments(job)]


def _arguments(job: Job) -> list[str]:
    return [job.bootstrap, job.topic, job.out, job.group, job.endpoint, str(job.in_flight)]


def _without(package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if list(_HOME.glob(f"venv/lib/python3*/site-packages/{package}/__init__.py")):
            return None
        return "it is not installed; `python -m benchmarks.peers_install` fetches it"

    return missing


def _without_classes() -> str | None:
    if (_CLASSES / f"{_MAIN}.class").exists():
        return None
    return "it is not installed; `python -m benchmarks.peers_install` fetches it, with Maven and a JDK"


INSTALLED = (
    Peer("FastStream, batches", _in_python("faststream_batches"), _without("faststream")),
    Peer("Arroyo, threads", _in_python("arroyo_threads"), _without("arroyo")),
    Peer("Parallel Consumer, Vert.x", _in_java, _without_classes),
)


def main() -> int:
    """Fetch what can be fetched, and say what could not; 1 if there was any."""
    failed = [name for name, fetch in (("Python's", _fetch_python), ("Java's", _fetch_java)) if not fetch()]
    print(f"could not be fetched: {', '.join(failed)}" if failed else f"all peers are in {_HOME}")
    return len(failed)


def _fetch_python() -> bool:
    uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
    return _done([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_HOME / "venv")]) and _done(
        [uv, "pip", "install", "--quiet", "--python", str(_PYTHON), *_PACKAGES]
    )


def _fetch_java() -> bool:
    maven = ["mvn", "-q", "-B", "-f", str(_SOURCES / "pom.xml"), "dependency:copy-dependencies"]
    return _done([*maven, f"-DoutputDirectory={_JARS}"]) and _done(
        ["javac", "-d", str(_CLASSES), "-cp", f"{_JARS}/*", str(_SOURCES / f"{_MAIN}.java")]
    )


def _done(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main())
