"""Tests of the page on priorities: its examples can be used, and its promises have their tests."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from consumer.settings import load_embedded
from tests.docs.test_delivery import names_of_tests


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "priorities.md").read_text(encoding="utf-8")
KEY = {"access_key_id": "testid", "access_key_secret": "testsecret"}


def test_the_examples_of_routes_are_right() -> None:
    """Each example is taken without a fault, and says what the words beside it say."""
    first, second = (yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    chat, backfill = load_embedded(first | {"moderation": {"region": "ap-southeast-1", "credentials": KEY}}, {}).routes
    assert (chat.weight, chat.deadline_seconds, chat.on_deadline) == (10, 20, "review")
    assert (backfill.weight, backfill.deadline_seconds) == (1, None)
    posts, *_ = load_embedded(second | {"moderation": {"region": "cn-shanghai", "credentials": KEY}}, {}).routes
    assert posts.on_deadline == "quick"


def test_each_promise_has_its_test() -> None:
    """Every test that the page names exists under that name."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 15
    assert named - names_of_tests() == set()
