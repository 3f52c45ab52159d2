"""The dashboards that users import: current, and free of what makes a panel stay empty or say nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from consumer.meters import Counter, Histogram
from consumer.metrics import CATALOGUE, PREFIX


FOLDER = Path(__file__).parents[2] / "helm" / "moderation-consumer" / "dashboards"
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
VARIABLES = {"datasource", "job", "instance"}
BUILT_IN = {"__rate_interval", "__range"}
UNITS = {"recps", "eps", "reqps", "cps", "ops", "s", "bytes", "short", "none", "percentunit"}

_EXPOSED = {
    PREFIX + metric.name + ending: metric
    for metric in CATALOGUE
    for ending in (
        ["_total"] if metric.kind is Counter else ["_bucket", "_sum", "_count"] if metric.kind is Histogram else [""]
    )
}


# What no panel shows, and why.
NOT_SHOWN = {
    "kafka_refused": "only secured clusters refuse; an alert watches it",
    "kafka_certificate_expires_timestamp_seconds": "only secured clusters have it; an alert watches it",
    "kafka_certificates_stale": "only secured clusters have it; an alert watches it",
    "kafka_token_expires_timestamp_seconds": "only secured clusters have it; an alert watches it",
    "cache_entries": "its bytes are what is limited",
    "credentials_expire_at_seconds": "it is 0 for an AccessKey; an alert watches it",
    "plugin_failures": "only those who have plugins have it; dead letters are shown, and an alert watches policies",
    "config_reloads": "whoever changes a file reads the log; the two gauges beside it say whether something is open",
    "config_reload_failed": "it is 0 unless somebody has just changed a file; an alert watches it",
    "config_restart_needed": "it is 0 unless somebody has just changed a file",
    "schema_requests": "only formats with a schema registry have it; a hold and dead letters are shown",
    "packed_sample_calls": "what packing saves is shown when it does",
}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def names_in(expression: str) -> list[str]:
    """Every metric named, with a selector or not; labels after `by` are no metrics, whatever they begin with."""
    return re.findall(rf"\b{PREFIX}\w+", re.sub(r"by \([^)]*\)", "", expression))


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")  # older Grafanas read only the first
def test_the_dashboards_are_current() -> None:
    """What is committed is what the code builds; `python -m config.grafana.build` writes it anew."""
    from config.grafana.build import dashboards  # noqa: PLC0415  # the import warns, too

    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == dashboards()


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
    assert panel["targets"]
    for expression in expressions(panel):
        names = names_in(expression)
        selectors = re.findall(rf"\b({PREFIX}\w+)\{{([^}}]*)\}}", expression)
        assert [name for name, _ in selectors] == names != []
        assert set(names) <= set(_EXPOSED)
        for name, selector in selectors:
            assert selector.startswith('job=~"$job",instance=~"$instance"')
            assert set(re.findall(r"(\w+)[!=]", selector)) <= {"job", "instance", *_EXPOSED[name].labels}
        labels = {"le", "job", "instance"}.union(*(_EXPOSED[name].labels for name in names))
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")]
        assert set(grouped) <= labels
    for target in panel["targets"]:
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(", ")]
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(grouped)
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_uses_metrics_as_their_kind_wants(panel: dict[str, Any]) -> None:
    """Counters and buckets are seen only as rates over the interval Grafana picks, or as increase over the range."""
    for expression in expressions(panel):
        windows = re.findall(rf"(\w+)\(({PREFIX}\w+\{{[^}}]*\}})\[\$?(\w+)\]( offset \$\w+)?\)", expression)
        assert len(windows) == expression.count("[")
        for function, series, window, offset in windows:
            assert (function, window) in {
                *(("rate", "__rate_interval"), ("increase", "__rate_interval"), ("increase", "__range")),
                ("last_over_time", "1h"),
            }
            if function == "last_over_time":
                assert offset == " offset $__rate_interval"
                assert f"(({series} unless last_over_time({series}[1h]{offset})) or increase({series}[" in expression
            else:
                assert offset == ""
        growing = [name for name in names_in(expression) if name.endswith(("_total", "_bucket"))]
        young = expression.count(" unless ")
        assert len(windows) + young == len(growing)
        assert set(re.findall(r"\$\{?(\w+)", expression)) <= VARIABLES | BUILT_IN
        whole = panel["type"] == "heatmap"
        assert ("histogram_quantile" in expression) == ("_bucket" in expression and not whole)
        assert all((target.get("format") == "heatmap") == whole for target in panel["targets"])


def test_every_metric_is_shown() -> None:
    """Each metric of the catalogue is on a panel, or there is a reason why not."""
    asked = {_EXPOSED[name].name for param in PANELS for one in expressions(param.values[0]) for name in names_in(one)}  # type: ignore[arg-type]  # pytest types values as object
    assert asked | NOT_SHOWN.keys() >= {metric.name for metric in CATALOGUE}
    assert not asked & NOT_SHOWN.keys()


def test_there_are_the_four_dashboards() -> None:
    """Overview, API, money and Kafka are shipped, each with a heading for every row and at most 30 panels."""
    assert set(DASHBOARDS) == {"overview.json", "api.json", "money.json", "kafka.json"}
    for board in DASHBOARDS.values():
        assert board["panels"][0]["type"] == "row"
        assert len(board["panels"]) <= 30
