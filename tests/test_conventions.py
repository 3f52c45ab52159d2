"""Tests of what the code promises its readers: docstrings, exports, and imports that run downwards only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "consumer").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

# A module may import from its own row and from those below it.
LAYERS = (
    {"cli", "__main__"},
    {"demo", "rehearsal"},
    {"app", "status", "embedding", "estimate"},
    {"judging", "reloading", "pacing"},
    {"building"},
    {"kafka", "moderation", "simulator", "intake", "admin", "callbacks", "tracing"},
    {"engine", "batching", "certificates"},
    {"settings", "quota", "policy", "routing", "metrics", "metrics_delivery", "metrics_money", "logs", "plugins"},
    {"event", "frozen", "meters", "metric", "record", "verdict", "errors", "clock", "runtime", "listening", "recent"},
)
# What is seen only for its words: settings know the names of services, and check the mapping they hold.
LOOKING_UP = {("settings", "moderation"), ("settings", "intake")}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def layer(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "consumer").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_lives_there(path: Path) -> None:
    """Every module begins with a docstring, and names what it exports."""
    tree = parsed(path)
    docstring = ast.get_docstring(tree)
    assert docstring
    assert docstring[0].isupper() or docstring[0] == "`"
    defines = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    exports = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert exports or not defines


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downwards_only(path: Path) -> None:
    """No module imports from a layer above its own."""
    part = part_of(path)
    if part == "__init__":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("consumer."):
            other = node.module.split(".")[1]
            assert layer(other) >= layer(part) or (part, other) in LOOKING_UP, f"line {node.lineno}: {node.module}"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_is_a_sentence(path: Path) -> None:
    """Each test's docstring states the fact it checks, in one sentence."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            docstring = ast.get_docstring(node)
            assert docstring, node.name
            assert docstring.rstrip().endswith("."), node.name


def test_files_can_be_read_at_one_sitting() -> None:
    """No module is longer than 450 lines."""
    assert [name_of(path) for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 450] == []
