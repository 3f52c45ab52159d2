"""What is known to be vulnerable in a release: `python -m tools.audit` asks pip-audit about every package of the locks.

It ends with 0 where nothing is known, 1 where something is, and 69 where packages could not be asked about and the
environment variable CI is set; elsewhere that is said loudly, and the end is 0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.dependencies import PARTS, ROOT, locked


__all__ = ["Audit", "audit", "outcome", "read"]


UNAVAILABLE = 69


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit found: sentences to print."""

    vulnerable: tuple[str, ...]
    unasked: tuple[str, ...]
    """Packages that the service said nothing about. pip-audit itself takes them for clean."""


def read(report: dict[str, Any], wanted: dict[str, str]) -> Audit:
    """Read pip-audit's report about the packages `wanted`, each name with its version."""
    vulnerable = []
    asked = set()
    for package in report.get("dependencies", ()):
        if "skip_reason" in package:
            continue
        asked.add(package["name"].lower())
        for found in package.get("vulns", ()):
            names = ", ".join([found["id"], *found.get("aliases", ())])
            remedy = ", ".join(found.get("fix_versions", ())) or "no version yet"
            vulnerable.append(f"{package['name']} {package['version']}: {names}; mended in {remedy}")
    unasked = [f"{name} {version}" for name, version in sorted(wanted.items()) if name not in asked]
    return Audit(tuple(vulnerable), tuple(unasked))


def audit() -> Audit:
    """Ask about every package of every lock that users install."""
    wanted = {package.name: package.version for part in PARTS for package in locked(part).values()}
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(wanted.items())), encoding="utf-8")
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "-r", str(pins)]
        tool = Path(sysconfig.get_path("scripts")) / "pip-audit"
        done = subprocess.run([str(tool), *options], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - nothing of it comes from outside
    try:
        report = json.loads(done.stdout)
    except ValueError:  # it ended with a traceback: the service could not be reached
        sys.stderr.write(done.stderr[-1000:] + "\n")
        report = {}
    return read(report, wanted)


def outcome(found: Audit, *, ci: bool) -> tuple[str, int]:
    """What to say, and the exit code."""
    lines = [f"VULNERABLE: {sentence}" for sentence in found.vulnerable]
    if found.unasked:
        lines.append(f"NOT AUDITED, the vulnerability service said nothing about: {', '.join(found.unasked)}")
    if not lines:
        lines = ["No vulnerability is known in what the locks name."]
    return "\n".join(lines), 1 if found.vulnerable else UNAVAILABLE if found.unasked and ci else 0


if __name__ == "__main__":
    text, code = outcome(audit(), ci=bool(os.environ.get("CI")))
    print(text)  # noqa: T201 - the answer of a command
    sys.exit(code)
