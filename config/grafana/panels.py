# ruff: noqa: INP001  # a script's parts beside it, no package
"""The kinds of panels that all dashboards are made of, and the dashboard around them."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeValueMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from consumer.metrics import PREFIX


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ALWAYS_GREEN", "bars", "board", "heat", "lines", "number", "words"]


ALWAYS_GREEN: tuple[tuple[float | None, str], ...] = ((None, "green"),)

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG = "moderation-consumer"
_QUIET = "None in this time"


def board(name: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[Any]]]) -> str:
    """A dashboard in Grafana's JSON, with links to the others.

    Panels have fixed ids, a row's own by its place and theirs by their places in it, so that links and alerts to a
    panel outlive changes of other rows: put new panels at the end of a row, and new rows at the end.
    """
    made = (
        dashboard.Dashboard(f"Moderation consumer: {title}")
        .uid(f"{_TAG}-{name}")
        .description(description)
        .tags([_TAG, "kafka"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Moderation consumer")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_label_variable("job", "Job", f"{PREFIX}build"))
        .with_variable(_label_variable("instance", "Instance", PREFIX + 'build{job=~"$job"}'))
    )
    for row_id, (row_title, panels) in enumerate(rows, 1):
        made = made.with_row(dashboard.Row(row_title).id(100 * row_id))
        for panel_id, panel in enumerate(panels, 100 * row_id + 1):
            made = made.with_panel(panel.id(panel_id).datasource(_SOURCE))
    encoded = json.loads(JSONEncoder().encode(made.build()))
    return json.dumps(encoded, indent=2, sort_keys=True) + "\n"


def number(
    title: str,
    unit: str,
    description: str,
    target: Any,
    *,
    steps: Sequence[tuple[float | None, str]] = ALWAYS_GREEN,
    mappings: Sequence[Any] = (),
    named: bool = False,
    course: bool = True,
    decimals: int | None = None,
) -> Any:
    """One number of now, above its `course`; `named` where there may be several, such as one for each currency."""
    panel = (
        stat.Panel()
        .title(title)
        .unit(unit)
        .description(description)
        .height(4)
        .span(6)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA if course else BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .no_value(_QUIET)
        .with_target(target.ref_id("A"))
    )
    if mappings:
        panel = panel.mappings(list(mappings))
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    unit: str,
    description: str,
    *queries: Any,
    many: bool = False,
    wide: bool = False,
    stacked: bool = False,
    steps: bool = False,
    top: float | None = None,
    mappings: Sequence[Any] = (),
    colors: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Courses over time, with a table of their last values, or only with their names where there are `many`.

    `steps` is for what jumps between states, `wide` for what has so many names that they need the whole width.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .unit(unit)
        .description(description)
        .height(11 if wide else 9)
        .span(24 if wide else 12)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 10)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)
        .no_value(_QUIET)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST if many else LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .calcs([] if many else ["lastNotNull", "max"])
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if steps:
        panel = panel.line_interpolation(LineInterpolation.STEP_AFTER).decimals(0)
    if top is not None:
        panel = panel.max(top)
    if mappings:
        panel = panel.mappings(list(mappings))
    for series, color in colors.items():
        fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        panel = panel.override_by_name(series, [fixed])
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(query.ref_id(letter))
    return panel


def bars(
    title: str,
    unit: str,
    description: str,
    target: Any,
    *,
    steps: Sequence[tuple[float | None, str]] = ALWAYS_GREEN,
    top: float | None = None,
    decimals: int | None = None,
) -> Any:
    """One bar for each value of now."""
    panel = (
        bargauge.Panel()
        .title(title)
        .unit(unit)
        .description(description)
        .height(9)
        .span(12)
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .value_mode(BarGaugeValueMode.TEXT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text(common.VizTextDisplayOptions().title_size(14))
        .thresholds(_thresholds(steps))
        .no_value(_QUIET)
        .with_target(target.ref_id("A"))
    )
    if top is not None:
        panel = panel.max(top)
    return panel if decimals is None else panel.decimals(decimals)


def heat(title: str, unit: str, description: str, target: Any) -> Any:
    """How many observations fell where, over time; `target` gives the buckets of a histogram."""
    return (
        heatmap.Panel()
        .title(title)
        .unit("short")
        .description(description)
        .height(9)
        .span(12)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").exponent(0.5).steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.LE))
        .tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(True))
        .show_legend()
        .no_value(_QUIET)
        .with_target(target.ref_id("A"))
    )


def words(**said: tuple[int, str]) -> list[Any]:
    """Words in the place of numbers, as `word=(number, color)`; an underscore stands for a space."""
    options = {
        str(value): ValueMappingResult(text=word.replace("_", " "), color=color, index=place)
        for place, (word, (value, color)) in enumerate(said.items())
    }
    return [ValueMap(options=options)]


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Any:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def _label_variable(name: str, title: str, series: str) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(title)
        .query(f"label_values({series}, {name})")
        .datasource(_SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
