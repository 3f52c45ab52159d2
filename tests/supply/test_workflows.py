"""Tests of the workflows on GitHub: their form, their rights, and that they run what a submission must pass."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.image.composition import tool


ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def workflow(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return document


def commands(name: str) -> list[str]:
    """What the jobs of a workflow run."""
    return [step["run"] for job in workflow(name)["jobs"].values() for step in job.get("steps", ()) if "run" in step]


def test_github_takes_them() -> None:
    """The workflows are valid by the schema of GitHub workflows."""
    command = [tool("check-jsonschema", "check-jsonschema"), "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    """Each action of others is named by a commit, which cannot move, and says which version that is."""
    used = re.findall(r"uses: (?!\./)(.+)", path.read_text(encoding="utf-8"))
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_jobs_may_do_no_more_than_they_must() -> None:
    """Jobs may read the source; only a release's may sign a provenance and make a release, each in a job of its own."""
    rights = {}
    for path in WORKFLOWS:
        document = workflow(path.name)
        assert document["permissions"] == {"contents": "read"}, path.name
        for name, job in document["jobs"].items():
            granted = {key for key, value in job.get("permissions", {}).items() if value == "write"}
            if granted:
                rights[path.name, name] = granted
    assert rights == {
        ("release.yml", "build"): {"id-token", "attestations"},
        ("release.yml", "publish"): {"contents"},
    }


def test_it_runs_what_a_submission_must_pass() -> None:
    """Each target that .ci/run makes has a job that runs it, and the audit has one beside them."""
    submission = set(re.findall(r"[a-z-]+", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))) & TARGETS
    run = {command.removeprefix(".ci/run ") for command in commands("ci.yml") if command.startswith(".ci/run ")}
    assert run == submission >= {"test"}
    assert "make audit" in commands("ci.yml")


def test_the_tests_run_on_every_python_that_is_promised() -> None:
    """The versions of Python that the package names are those that the tests run on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert workflow("ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == promised


def test_a_release_passes_first_what_a_change_must() -> None:
    """A release runs all of ci.yml before it builds, and what is published is what was built and signed."""
    jobs = workflow("release.yml")["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("ci", "build")
    assert "make release" in commands("release.yml")
