"""Budgets that contradict each other, or name what is not there, are told with the nearest right name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings import load_embedded


if TYPE_CHECKING:
    from typing import Any


def problems(*budgets: dict[str, Any]) -> str:
    """What is said of these budgets, in one text."""
    given = {
        "moderation": {"region": "ap-southeast-1"},
        "routes": [{"name": "chat", "services": ["ugc_moderation_byllm_global"]}],
        "budgets": [{"name": "b", "limit": 1, "unit": "CNY", **budget} for budget in budgets],
    }
    with pytest.raises(SettingsError) as raised:
        load_embedded(given, {})
    return "\n".join(raised.value.problems)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"timezone": "Asia/Shangai"}, "there is no time zone 'Asia/Shangai'; did you mean Asia/Shanghai?"),
        ({"timezone": "../etc/passwd"}, "there is no time zone"),
        ({"routes": ["chta"]}, "there is no route 'chta'; did you mean chat?"),
        ({"limit": 0}, "budgets[0].limit"),
        ({"unit": "EUR"}, "budgets[0].unit"),
        ({"sample": 1}, "budgets[0].sample"),
    ],
)
def test_a_faulty_budget_is_told(budget: dict[str, Any], expected: str) -> None:
    """Each fault has a line that says where it is and what would be right."""
    assert expected in problems(budget)


def test_two_budgets_have_two_names() -> None:
    """A name that is given twice is told, since metrics and the state topic could not tell the two apart."""
    assert "'b' is also the name of" in problems({}, {})
