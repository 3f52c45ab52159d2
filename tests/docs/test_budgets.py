"""The page on budgets: its example can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from consumer.settings import load
from consumer.settings.saving import Budget


PAGE = Path(__file__).resolve().parents[2] / "docs" / "budgets.md"
KEYS = {f"MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_{name}": f"test{name.lower()}" for name in ("ID", "SECRET")}


def test_the_example_is_valid(tmp_path: Path) -> None:
    """The configuration on the page loads, and has the budgets that the text speaks of."""
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config = tmp_path / "config.yaml"
    config.write_text(example, encoding="utf-8")
    budgets = load([str(config)], KEYS).settings.budgets
    assert [(one.name, one.period, one.when_spent) for one in budgets] == [
        ("backfill-day", "day", "hold"),
        ("everything-month", "month", "sample"),
    ]


def test_every_key_is_in_the_table() -> None:
    """The table of the page names each key of a budget, with its default."""
    page = PAGE.read_text(encoding="utf-8")
    for name, field in Budget.model_fields.items():
        assert f"`{name}`" in page
        if not field.is_required() and name in {"period", "when_spent", "sample"}:
            row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
            assert str(field.default) in row
