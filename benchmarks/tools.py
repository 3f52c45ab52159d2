"""Tools for developers that the project does not depend on: fetched into its environment when they are asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Ended


__all__ = ["fetched"]


def fetched(tool: str) -> str:
    """The command of a tool, fetched into this environment if it is not there.

    Raises:
        Ended: it could not be fetched.
    """
    beside = Path(sys.executable).parent / tool
    if beside.exists():
        return str(beside)
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    subprocess.run([*pip, "--quiet", tool], check=False)
    if not beside.exists():
        raise Ended(f"{tool} is needed, which could not be fetched: install it beside this Python, and try again")
    return str(beside)
