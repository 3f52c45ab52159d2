"""The page of metrics: it is the catalogue's, and each metric has its place."""

from __future__ import annotations

import re

from config.metrics_page import GROUPS, PAGE, page
from consumer.metrics import CATALOGUE


__all__: list[str] = []


def test_the_page_is_current() -> None:
    """docs/metrics.md is what `python -m config.metrics_page` writes."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_metric_is_in_one_part() -> None:
    """Every metric of the catalogue belongs to exactly one part of the page."""
    places = {
        metric.name: [title for title, names in GROUPS.items() if re.fullmatch(names, metric.name)]
        for metric in CATALOGUE
    }
    assert {name: found for name, found in places.items() if len(found) != 1} == {}
