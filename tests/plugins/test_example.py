"""The example package: installed as users install theirs, found by its entry points, and put to work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from consumer.errors import SettingsError
from consumer.settings import load
from tests.app.process import Bench, environment, running
from tests.app.test_restart import simulator
from tests.ports import free_port


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker


__all__: list[str] = []


ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
KEYS = {f"MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_{name}": f"test{name.lower()}" for name in ("ID", "SECRET")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the example is installed; nothing is fetched for it."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(target))
    done = subprocess.run([*pip, *offline, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def program(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    done = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_its_own_tests_pass(installed: dict[str, str]) -> None:
    """What the package tests of itself holds where it is installed."""
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), "-c", str(EXAMPLE / "pyproject.toml"))
    env = installed | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    code, output = program(env, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert code == 0, output


def test_its_cases_hold(installed: dict[str, str]) -> None:
    """What its configuration promises of records is so where it is installed, through all four plugins."""
    code, output = program(installed, "-m", "consumer", "test", str(EXAMPLE / "config.yaml"))
    assert code == 0, output
    assert "8 passed, 0 failed" in output


def test_without_the_package_each_name_is_missing() -> None:
    """Where it is not installed, each plugin's line says what is missing."""
    with pytest.raises(SettingsError) as caught:
        load([EXAMPLE / "config.yaml"], KEYS)
    output = str(caught.value)
    no = "cannot be used: no installed package has an entry point of this name in the group moderation_consumer"
    for key, kind, name in (
        ("format.topics.forum.old.plugin", "codec", "acme-lines"),
        ("mapping.plugin", "mapping", "acme-forum"),
        ("routes[0].when.plugin", "rule", "acme-newcomer"),
        ("policy.plugin", "policy", "acme-staff"),
    ):
        assert f": {key}: the {kind} plugin '{name}' {no}.{kind}; there is none at all; install its package" in output


@pytest.mark.timeout(150)
def test_a_running_program_uses_them(installed: dict[str, str], embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """Records that only the package can read get their verdicts, and what its mapping fails at is counted."""
    bench, port = Bench.on(embedded), free_port()
    text = (EXAMPLE / "config.yaml").read_text().replace("forum.old", bench.events)
    (tmp_path / "config.yaml").write_text(text)
    bench.produce([b"post_no=6\nby=2026-3\n\nHello", b"post_no=7\n\nHello"], keys=1)
    with simulator("1") as made:
        env = environment(bench, made.url, ADMIN__PORT=str(port)) | {"PYTHONPATH": installed["PYTHONPATH"]}
        with running(env, "run", str(tmp_path / "config.yaml")):
            [(verdict, _)] = bench.read(bench.verdicts, 1)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
    assert (orjson.loads(verdict)["event_id"], orjson.loads(verdict)["route"]) == (f"{bench.events}-6", "newcomers")
    assert 'moderation_plugin_failures_total{kind="mapping",plugin="acme-forum"} 1.0' in metrics
