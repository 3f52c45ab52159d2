"""What a release depends on, read from locks/ and from what is installed: names, versions, hashes and licences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


__all__ = ["PARTS", "ROOT", "Locked", "UnlikeTheLock", "installed", "licence", "locked", "normal"]


ROOT = Path(__file__).resolve().parents[1]
PARTS = ("runtime", "formats", "tracing", "demo")
"""The locks of what users install: the program alone, and with each of its extras."""

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ \\;]+)(?P<hashes>.*(?:\n    --hash=.*)*)", re.MULTILINE)
# What older packages write in free words, or as classifiers, in the terms of SPDX.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}


class UnlikeTheLock(Exception):
    """What is installed is not what the locks name."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One package that a lock names."""

    name: str
    version: str
    sha256: tuple[str, ...]


def normal(name: str) -> str:
    """A package's name as locks and purls write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(part: str, folder: Path = ROOT / "locks") -> dict[str, Locked]:
    """What one of `PARTS` consists of, by name.

    Raises:
        OSError: There is no such lock.
    """
    text = (folder / f"{part}.txt").read_text(encoding="utf-8")
    return {
        normal(pin["name"]): Locked(
            normal(pin["name"]), pin["version"], tuple(re.findall(r"sha256:([0-9a-f]{64})", pin["hashes"]))
        )
        for pin in _PIN.finditer(text)
    }


def installed(part: str) -> dict[str, Locked]:
    """What one of `PARTS` consists of, after a look that just that is installed.

    Raises:
        UnlikeTheLock: A package is missing, or is there in another version.
    """
    packages = locked(part)
    for package in packages.values():
        try:
            found = distribution(package.name).version
        except PackageNotFoundError:
            found = "not there"
        if found != package.version:
            raise UnlikeTheLock(
                f"locks/{part}.txt names {package.name} {package.version}, but it is {found}: make check"
            )
    return packages


def licence(name: str) -> str:
    """A package's licence in the terms of SPDX: its own expression, else its classifiers, else its words.

    Raises:
        PackageNotFoundError: It is not installed.
    """
    metadata = distribution(name).metadata.json
    if expression := metadata.get("license_expression"):
        return str(expression)
    classifiers = [value for value in metadata.get("classifier", ()) if value.startswith("License ::")]
    words = classifiers or [str(metadata.get("license", "unknown"))]
    return " OR ".join(sorted(_SPDX.get(word, word) for word in words))
