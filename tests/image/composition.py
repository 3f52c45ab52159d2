"""What compose.yaml says, and the tools that the tests of it and of the image ask."""

from __future__ import annotations

import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml


__all__ = ["COMPOSE", "ROOT", "environment", "mounted", "published", "service", "tool"]


ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose.yaml"


def tool(name: str, package: str) -> str:
    """The path of a command. Where it is missing the test is skipped, on CI it fails."""
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        reason = f"no {name} on this machine ({package} has it)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@cache
def _composition() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def service(name: str) -> dict[str, Any]:
    """One service, as Compose reads it."""
    found: dict[str, Any] = _composition()["services"][name]
    return found


def environment(name: str) -> dict[str, str]:
    """The variables of a service."""
    return dict(service(name).get("environment", {}))


def published(name: str) -> dict[int, int]:
    """The ports of this machine at which a service is reached, and its own behind them."""
    ports = (str(port).rsplit(":", 2) for port in service(name)["ports"])
    return {int(outer): int(inner) for _, outer, inner in ports}


def mounted(name: str) -> dict[str, Path]:
    """The files and folders of the project that a service sees, by where it sees them."""
    volumes = (str(volume).split(":") for volume in service(name).get("volumes", ()))
    return {parts[1]: (ROOT / parts[0]).resolve() for parts in volumes if parts[0].startswith("./")}
