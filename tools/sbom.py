"""The lists of all that is in a release, in CycloneDX: `python -m tools.sbom` writes one for each lock into dist/.

The tool of CycloneDX reads the development environment, which holds more than a release; what the lock does not name
is taken out again, and what the lock knows is put in: the hashes that installations are checked against. The same
source gives the same bytes, without a date or a serial number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from consumer import __version__
from tools.dependencies import PARTS, ROOT, installed, licence, normal


__all__ = ["environment", "sbom", "write"]


_ROOT_REF = "root-component"


def environment() -> dict[str, Any]:
    """What the tool of CycloneDX finds in the environment that runs this.

    Raises:
        subprocess.CalledProcessError: The tool failed; it says why on standard error.
    """
    tool = Path(sysconfig.get_path("scripts")) / "cyclonedx-py"
    options = ["--output-reproducible", "--no-validate", "--pyproject", str(ROOT / "pyproject.toml")]
    command = [str(tool), "environment", *options, sys.executable]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - nothing of it comes from outside
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sbom(part: str, found: dict[str, Any]) -> dict[str, Any]:
    """The list for one of `PARTS`, out of what `environment` found.

    Raises:
        UnlikeTheLock: What is installed is not what the lock names.
    """
    packages = installed(part)
    components = []
    for component in found["components"]:
        package = packages.get(normal(component["name"]))
        if package is None:
            continue
        distribution = {
            "type": "distribution",
            "url": f"pkg:pypi/{package.name}@{package.version}",
            "comment": "every file that may be installed for it, as the lock names them",
            "hashes": [{"alg": "SHA-256", "content": content} for content in sorted(package.sha256)],
        }
        references = [*component.get("externalReferences", ()), distribution]
        licences = component.get("licenses") or [{"expression": licence(package.name)}]
        components.append({**component, "externalReferences": references, "licenses": licences})
    kept = {_ROOT_REF, *(component["bom-ref"] for component in components)}
    dependencies = []
    for entry in found["dependencies"]:
        if entry["ref"] in kept:
            needed = sorted(kept.intersection(entry.get("dependsOn", ())))
            dependencies.append({"ref": entry["ref"], **({"dependsOn": needed} if needed else {})})
    root = {
        **found["metadata"]["component"],
        "version": __version__,
        "purl": f"pkg:pypi/moderation-consumer@{__version__}",
        "properties": [{"name": "moderation-consumer:lock", "value": f"locks/{part}.txt"}],
    }
    return {
        **found,
        "metadata": {**found["metadata"], "component": root},
        "components": components,
        "dependencies": dependencies,
    }


def write(folder: Path) -> list[Path]:
    """Write one list for each lock into `folder`, and return their paths.

    Raises:
        UnlikeTheLock: What is installed is not what the locks name.
        subprocess.CalledProcessError: The tool of CycloneDX failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = environment()
    paths = []
    for part in PARTS:
        path = folder / f"moderation-consumer-{__version__}-{part}.cdx.json"
        path.write_text(json.dumps(sbom(part, found), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the SBOM of each lock.")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="where to (dist)")
    for written in write(parser.parse_args().folder):
        print(written)  # noqa: T201 - the answer of a command
