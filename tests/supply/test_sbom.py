"""Tests of the SBOMs: what they name, and that tools of others take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from consumer import __version__
from tools.dependencies import PARTS, UnlikeTheLock, installed, locked, normal
from tools.sbom import environment, sbom


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return environment()


@pytest.mark.parametrize("part", PARTS)
def test_it_names_what_the_lock_names(found: dict[str, Any], part: str) -> None:
    """Each package of the lock is in the list in its version, with a licence and its hashes, and nothing else is."""
    packages = locked(part)
    components = {normal(component["name"]): component for component in sbom(part, found)["components"]}
    assert {name: component["version"] for name, component in components.items()} == {
        name: package.version for name, package in packages.items()
    }
    for name, component in components.items():
        assert component["licenses"], name
        assert component["purl"] == f"pkg:pypi/{name}@{packages[name].version}"
        hashes = {one["content"] for one in component["externalReferences"][-1]["hashes"]}
        assert hashes == set(packages[name].sha256) != set()


def test_it_says_what_needs_what(found: dict[str, Any]) -> None:
    """The program is the root, in its version, and every package of the list is reached from it."""
    document = sbom("runtime", found)
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("moderation-consumer", __version__)
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    reached, ahead = set[str](), [root["bom-ref"]]
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += needs[ref]
    # Of packages for other Pythons or systems the lock knows more than this environment does.
    missing = {component["name"] for component in document["components"] if component["bom-ref"] not in reached}
    assert missing <= {"async-timeout"}


def test_cyclonedx_takes_it(found: dict[str, Any]) -> None:
    """It is valid by the strict schema of the CycloneDX version that it names."""
    document = sbom("formats", found)
    validator = JsonStrictValidator(SchemaVersion.from_version(document["specVersion"]))
    assert validator.validate_str(json.dumps(document)) is None


def test_the_same_source_gives_the_same_list(found: dict[str, Any]) -> None:
    """A second run gives the same list, which has no date and no serial number."""
    document = sbom("runtime", found)
    assert document == sbom("runtime", environment())
    assert "serialNumber" not in document
    assert "timestamp" not in document["metadata"]


def test_an_environment_unlike_the_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another version is installed than the lock names, no list is made of it."""
    text = "click==8.0.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    (tmp_path / "runtime.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr("tools.dependencies.locked", lambda part: locked(part, tmp_path))
    with pytest.raises(UnlikeTheLock, match=r"names click 8\.0\.0, but it is"):
        installed("runtime")
