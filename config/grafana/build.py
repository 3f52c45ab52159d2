# ruff: noqa: INP001  # a script beside what it writes, no package
"""The overview dashboard as code: `python -m config.grafana.build` writes overview.json beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)

from consumer.metrics import CATALOGUE, PREFIX


if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OVERVIEW", "overview"]


OVERVIEW = Path(__file__).parent / "overview.json"

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_SELECTOR = 'job=~"$job",instance=~"$instance"'
_CATALOGUE = {metric.name: metric for metric in CATALOGUE}
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def overview() -> str:
    """The dashboard in Grafana's JSON: is it working, how fast, what fails, what does it cost.

    Panels have fixed ids, so that links and alerts to a panel outlive changes of the others.
    """
    board = (
        dashboard.Dashboard("Moderation consumer: overview")
        .uid("moderation-consumer-overview")
        .description("Is it working, how fast is it, what fails, and what does it cost.")
        .tags(["moderation-consumer", "kafka"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_label_variable("job", "Job", f"{PREFIX}build"))
        .with_variable(_label_variable("instance", "Instance", PREFIX + 'build{job=~"$job"}'))
    )
    for row_id, title, panels in (
        (100, "Is it working?", _working()),
        (200, "How fast is it?", _speed()),
        (300, "What fails?", _failures()),
        (400, "What does it cost?", _cost()),
    ):
        board = board.with_row(dashboard.Row(title).id(row_id))
        for panel_id, panel in enumerate(panels, row_id + 1):
            board = board.with_panel(panel.id(panel_id).datasource(_SOURCE))
    encoded = json.loads(JSONEncoder().encode(board.build()))
    return json.dumps(encoded, indent=2, sort_keys=True) + "\n"


def _working() -> list[Any]:
    holding = {
        "0": ValueMappingResult(text="no", color="green", index=0),
        "1": ValueMappingResult(text="holding", color="red", index=1),
    }
    return [
        _number("Records read", units.RecordsPerSecond, _advice("events"), f"sum({_rate('events')})"),
        _number("Lag", units.Short, _advice("lag_records"), f"sum({_gauge('lag_records')})"),
        _number(
            "Oldest unfinished event",
            units.Seconds,
            _advice("oldest_unfinished_seconds"),
            f"max({_gauge('oldest_unfinished_seconds')})",
            steps=((None, "green"), (60.0, "orange"), (300.0, "red")),
        ),
        _number(
            "Holding",
            units.NoUnit,
            _advice("holding"),
            f"max({_gauge('holding')}) or 0 * max({_gauge('build')})",
            steps=((None, "green"), (1.0, "red")),
        ).mappings([ValueMap(options=holding)]),
        _lines(
            "Verdicts by action",
            units.EventsPerSecond,
            _advice("verdicts"),
            _query(f"sum by (action) ({_rate('verdicts')})", "{{action}}"),
            stacked=True,
            colors={"pass": "green", "review": "orange", "block": "red"},
        ),
        _lines(
            "Records read and what became of them",
            units.RecordsPerSecond,
            "Records read, and their three ends, which add up to what was read over minutes. Where they stay below it, "
            "look at the oldest unfinished event and at the holds.",
            _query(f"sum({_rate('events')})", "read"),
            _query(f"sum({_rate('verdicts')})", "verdict"),
            _query(f"sum({_rate('dead_letters')})", "dead letter"),
            _query(f"sum({_rate('skipped')})", "skipped"),
        ),
        _lines(
            "Lag by partition",
            units.Short,
            _advice("lag_records"),
            _query(f"sum by (topic, partition) ({_gauge('lag_records')})", "{{topic}}/{{partition}}"),
        ),
        _lines(
            "Holds by reason",
            units.NoUnit,
            _advice("holding"),
            _query(f"max by (reason) ({_gauge('holding')})", "{{reason}}"),
        ),
    ]


def _speed() -> list[Any]:
    return [
        _lines(
            "Event latency",
            units.Seconds,
            _advice("event_seconds"),
            *(_query(_quantile(share, "event_seconds"), name) for name, share in _QUANTILES),
        ),
        _lines(
            "Call latency",
            units.Seconds,
            _advice("call_seconds"),
            *(_query(_quantile(share, "call_seconds"), name) for name, share in _QUANTILES),
        ),
        _lines(
            "Wait for quota (p95)",
            units.Seconds,
            _advice("quota_wait_seconds"),
            _query(_quantile(0.95, "quota_wait_seconds", "quota"), "{{quota}}"),
        ),
        _lines(
            "Use of the quota",
            units.PercentUnit,
            "Tokens taken as a share of the calls that are allowed now. At 100 % while the lag grows, the account's "
            "limit is the bottleneck: have it raised.",
            _query(f"sum by (quota) ({_rate('quota_used')}) / sum by (quota) ({_gauge('quota_limit')})", "{{quota}}"),
        ),
        _lines(
            "In flight",
            units.Short,
            _advice("in_flight"),
            _query(f"sum by (instance) ({_gauge('in_flight')})", "{{instance}}"),
        ),
        _lines(
            "Memory of records in flight",
            units.BytesIEC,
            _advice("in_flight_bytes"),
            _query(f"sum by (instance) ({_gauge('in_flight_bytes')})", "{{instance}}"),
        ),
    ]


def _failures() -> list[Any]:
    return [
        _lines(
            "Calls by code",
            units.RequestsPerSecond,
            _advice("calls"),
            _query(f"sum by (code) ({_rate('calls')})", "{{code}}"),
            stacked=True,
        ),
        _lines(
            "Retries",
            units.RequestsPerSecond,
            _advice("retries"),
            _query(f"sum by (service, reason) ({_rate('retries')})", "{{service}}: {{reason}}"),
        ),
        _lines(
            "Throttled calls",
            units.RequestsPerSecond,
            _advice("throttled"),
            _query(f"sum by (quota) ({_rate('throttled')})", "{{quota}}"),
        ),
        _lines(
            "Dead letters",
            units.RecordsPerSecond,
            _advice("dead_letters"),
            _query(f"sum by (stage, reason) ({_rate('dead_letters')})", "{{stage}}: {{reason}}"),
        ),
    ]


def _cost() -> list[Any]:
    return [
        _lines(
            "Billed units",
            units.CountsPerSecond,
            _advice("billed_units"),
            _query(f"sum by (moderation_type) ({_rate('billed_units')})", "{{moderation_type}}"),
            stacked=True,
        ),
        _bars(
            "Cost today",
            units.Short,
            f"{_advice('billed_cost')} Since midnight, in the currency that stands in each name.",
            f"sum by (moderation_type, currency) (increase({PREFIX}billed_cost_total{{{_SELECTOR}}}[$__range]))",
            "{{moderation_type}}, {{currency}}",
        ).time_from("now/d"),
        _lines(
            "Cost of 1,000 verdicts",
            units.Short,
            "Cost of the billed units for each 1,000 verdicts, in the currency that stands in the name. It rises with "
            "images in an event and with retries that are billed; duplicates that are known already lower it.",
            _query(
                f"1000 * sum by (currency) ({_rate('billed_cost')}) / scalar(sum({_rate('verdicts')}))", "{{currency}}"
            ),
        ),
        _lines(
            "Calls paid in vain, or perhaps paid",
            units.RequestsPerSecond,
            f"{_advice('discarded_answers')} {_advice('bill_unknown_calls')}",
            _query(f"sum by (service) ({_rate('discarded_answers')})", "discarded: {{service}}"),
            _query(f"sum by (service) ({_rate('bill_unknown_calls')})", "unknown: {{service}}"),
        ),
    ]


def _advice(name: str) -> str:
    metric = _CATALOGUE[name]
    return f"{metric.help} {metric.advice}"


def _rate(name: str) -> str:
    return f"rate({PREFIX}{_CATALOGUE[name].name}_total{{{_SELECTOR}}}[$__rate_interval])"


def _gauge(name: str) -> str:
    return f"{PREFIX}{_CATALOGUE[name].name}{{{_SELECTOR}}}"


def _quantile(share: float, name: str, *by: str) -> str:
    buckets = f"rate({PREFIX}{_CATALOGUE[name].name}_bucket{{{_SELECTOR}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def _query(expression: str, legend: str) -> Any:
    return prometheus.Dataquery().expr(expression).legend_format(legend).range()


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


def _number(
    title: str,
    unit: str,
    description: str,
    expression: str,
    *,
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),),
) -> Any:
    return (
        stat.Panel()
        .title(title)
        .unit(unit)
        .description(description)
        .height(4)
        .span(6)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(
            dashboard.ThresholdsConfig()
            .mode(ThresholdsMode.ABSOLUTE)
            .steps([Threshold(value=value, color=color) for value, color in steps])
        )
        .with_target(_query(expression, title).ref_id("A"))
    )


def _lines(
    title: str,
    unit: str,
    description: str,
    *queries: Any,
    stacked: bool = False,
    colors: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    panel = (
        timeseries.Panel()
        .title(title)
        .unit(unit)
        .description(description)
        .height(8)
        .span(12)
        .min(0)
        .fill_opacity(30 if stacked else 10)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for series, color in colors.items():
        fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        panel = panel.override_by_name(series, [fixed])
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(query.ref_id(letter))
    return panel


def _bars(title: str, unit: str, description: str, expression: str, legend: str) -> Any:
    return (
        bargauge.Panel()
        .title(title)
        .unit(unit)
        .decimals(2)
        .description(description)
        .height(8)
        .span(12)
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(prometheus.Dataquery().expr(expression).legend_format(legend).instant().ref_id("A"))
    )


if __name__ == "__main__":
    OVERVIEW.write_text(overview())
