"""Tests of the delivery table: each promise names a test, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")


def names_of_tests() -> set[str]:
    """The names of all tests."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_promise_has_its_test() -> None:
    """Every test that the page names exists under that name."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 40
    assert named - names_of_tests() == set()


def test_no_cell_of_the_table_is_without_a_test() -> None:
    """Each row names at least one test, in the cell of what holds for both or in each of them."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    table = rows[rows.index("| fault | at least once | exactly once |") + 1 :]
    assert len(table) > 20
    for row in table:
        _, _, both, exactly, _ = row.split("|")
        assert "test_" in both, row
        assert "test_" in exactly or exactly.strip().startswith("the same"), row
