"""Tests of the wheel and the sdist that a release consists of."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tools.release import build


ROOT = Path(__file__).resolve().parents[2]
# A user's module, and what their mypy says about it: the types of the public API, and what is wrong with its use.
USER = """\
from typing import Any

from consumer import Event, Moderater, Moderator
from consumer.errors import DecodeError
from consumer.plugins import CodecFunction
from consumer.record import Headers


async def judge(event: Event) -> None:
    async with Moderator.from_settings({"moderation": {"region": "ap-southeast-1"}}) as moderator:
        judged = await moderator.moderate(event)
    reveal_type(judged)
    reveal_type(judged.action)
    reveal_type(judged.risk_level)
    Event(id=1, kind="comment")
    print(judged.verdict)


def read_lines(value: str, headers: Headers) -> dict[str, Any]:
    raise DecodeError("no lines")


codec: CodecFunction = read_lines
"""
SAID = [
    'user.py:3: error: Module "consumer" has no attribute "Moderater"',
    'user.py:12: note: Revealed type is "consumer.embedding.Moderated"',
    "user.py:13: note: Revealed type is \"Literal['pass'] | Literal['review'] | Literal['block']\"",
    'user.py:14: note: Revealed type is "consumer.verdict.RiskLevel"',
    'user.py:15: error: Argument "id" to "Event" has incompatible type "int"; expected "str"  [arg-type]',
    'user.py:16: error: "Moderated" has no attribute "verdict"  [attr-defined]',
    "user.py:23: error: Incompatible types in assignment",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this source."""
    try:
        return build(tmp_path_factory.mktemp("dist"))
    except subprocess.CalledProcessError as exc:
        reason = f"the build backend of locks/build.txt cannot be had here: {exc}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    """In the wheel are the modules, `py.typed`, the demo's phrases, and the wheel's own papers."""
    names = zipfile.ZipFile(built[0]).namelist()
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "consumer").rglob("*.py")}
    papers = {name.partition("/")[2] for name in names if ".dist-info/" in name}
    assert {name for name in names if ".dist-info/" not in name} - ours == {
        "consumer/py.typed",
        "consumer/demo/phrases.yaml",
    }
    assert ours <= set(names)
    assert papers == {"METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD"}


def test_the_sdist_holds_what_it_takes_to_build_and_test(built: tuple[Path, Path]) -> None:
    """The sdist holds the sources, the tests, the docs and the locks, and nothing that was made or cached."""
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"consumer/py.typed", "tests/conftest.py", "locks/runtime.txt", "Makefile", "LICENSE", "README.md"} <= names
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc") or ".cache" in name] == []


def test_the_same_source_gives_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    """A second build gives the same wheel, bit for bit."""
    assert build(tmp_path)[0].read_bytes() == built[0].read_bytes()


def test_the_types_reach_a_users_mypy(built: tuple[Path, Path], tmp_path: Path) -> None:
    """With the wheel installed, a user's mypy knows the public names' types and finds what is done wrong with them."""
    venv.create(tmp_path / "venv", symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    zipfile.ZipFile(built[0]).extractall(packages)
    # What the package depends on is the same as here; this source itself must not be seen.
    for there in Path(sysconfig.get_path("purelib")).iterdir():
        if there.suffix != ".pth" and not there.name.startswith(("moderation_consumer", "__pycache__")):
            (packages / there.name).symlink_to(there)
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "--python-executable", str(tmp_path / "venv/bin/python"), "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.splitlines()
    assert len([line for line in said if ": error:" in line]) == 4, done.stdout + done.stderr
    for line in SAID:
        assert any(one.startswith(line) for one in said), line + "\n" + done.stdout
