"""The dashboards that users import: current, and free of what makes a panel stay empty or say nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Histogram

from consumer.metrics import CATALOGUE, PREFIX


FOLDER = Path(__file__).parents[2] / "config" / "grafana"
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
VARIABLES = {"datasource", "job", "instance"}
BUILT_IN = {"__rate_interval", "__range"}
UNITS = {"recps", "eps", "reqps", "cps", "s", "bytes", "short", "none", "percentunit"}

_EXPOSED = {
    PREFIX + metric.name + ending: metric
    for metric in CATALOGUE
    for ending in (
        ["_total"] if metric.kind is Counter else ["_bucket", "_sum", "_count"] if metric.kind is Histogram else [""]
    )
}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def names_in(expression: str) -> list[str]:
    """Every metric named, with a selector or not; labels after `by` are no metrics, whatever they begin with."""
    return re.findall(rf"\b{PREFIX}\w+", re.sub(r"by \([^)]*\)", "", expression))


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")  # older Grafanas read only the first
def test_the_overview_is_current() -> None:
    """What is committed is what the code builds; `python -m config.grafana.build` writes it anew."""
    from config.grafana.build import OVERVIEW, overview  # noqa: PLC0415  # the import warns, too

    assert OVERVIEW.read_text() == overview()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_imported_and_linked_to(name: str) -> None:
    """A dashboard has a lasting uid, the three variables in their order, and an id of its own for each panel."""
    board = DASHBOARDS[name]
    assert board["uid"].startswith("moderation-consumer-")
    assert board["title"]
    assert board["description"]
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    for one in (variables["job"], variables["instance"]):
        assert one["datasource"]["uid"] == "${datasource}"
        assert one["multi"]
        assert one["includeAll"]
        assert set(re.findall(rf"{PREFIX}\w+", one["query"])) <= set(_EXPOSED)
    ids = [panel["id"] for panel in board["panels"]]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    """Every panel stands within the grid's 24 columns and on its own place."""
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARDS[name]["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    """Every panel has a title, a unit, and a description in sentences."""
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert re.fullmatch(r"[A-Z1].{40,}\.", panel["description"])
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    """Every series asked for is exposed under this name, narrowed to job and instance, by labels that it has."""
    for expression in expressions(panel):
        names = names_in(expression)
        selectors = re.findall(rf"\b({PREFIX}\w+)\{{([^}}]*)\}}", expression)
        assert [name for name, _ in selectors] == names != []
        assert set(names) <= set(_EXPOSED)
        assert all('job=~"$job",instance=~"$instance"' in selector for _, selector in selectors)
        labels = {"le", "job", "instance"}.union(*(_EXPOSED[name].labels for name in names))
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")]
        assert set(grouped) <= labels
    legends = " ".join(target["legendFormat"] for target in panel["targets"])
    assert set(re.findall(r"\{\{(\w+)\}\}", legends)) <= labels


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_uses_metrics_as_their_kind_wants(panel: dict[str, Any]) -> None:
    """Counters and buckets are seen only as rates over the interval Grafana picks, or as increase over the range."""
    for expression in expressions(panel):
        windows = re.findall(rf"(rate|increase)\({PREFIX}\w+\{{[^}}]*\}}\[\$(\w+)\]\)", expression)
        assert set(windows) <= {("rate", "__rate_interval"), ("increase", "__range")}
        growing = [name for name in names_in(expression) if name.endswith(("_total", "_bucket"))]
        assert len(windows) == len(growing) == expression.count("[")
        assert set(re.findall(r"\$\{?(\w+)", expression)) <= VARIABLES | BUILT_IN
        assert ("histogram_quantile" in expression) == ("_bucket" in expression)


def test_the_overview_answers_the_four_questions() -> None:
    """The overview shows whether it works, how fast, what fails and what it costs, from the metrics that tell."""
    asked = " ".join(one for param in PANELS for one in expressions(param.values[0]))  # type: ignore[arg-type]  # pytest types values as object
    for name in (
        *("events_total", "verdicts_total", "lag_records", "oldest_unfinished_seconds", "holding"),
        *("event_seconds_bucket", "call_seconds_bucket", "quota_wait_seconds_bucket", "quota_used_total"),
        *("calls_total", "retries_total", "throttled_total", "dead_letters_total"),
        *("billed_units_total", "billed_cost_total", "bill_unknown_calls_total"),
    ):
        assert f"{PREFIX}{name}{{" in asked
