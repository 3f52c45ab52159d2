"""The live view: one moment drawn for a terminal of 80 columns and 24 lines, or more of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.demo.snapshot import Row, Snapshot


__all__ = ["MIN_COLUMNS", "MIN_LINES", "render"]


MIN_COLUMNS = 76
MIN_LINES = 21

# Lines around the list of answers: the title, two rows of panels, the list's own borders, and the last line.
_OTHER_LINES = 2 + 7 + 6 + 2 + 1
_WIDE_COLUMNS = 110
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_POINTS = 14

_QUIET = "grey62"
_COLOURS = {
    "pass": "green",
    "review": "yellow",
    "block": "red",
    "dead letter": "magenta",
    "none": "green",
    "low": "cyan",
    "medium": "yellow",
    "high": "red",
}


def render(snapshot: Snapshot, *, columns: int, lines: int) -> RenderableType:
    """The whole picture, exactly `lines` high."""
    return Group(
        _title(snapshot),
        _beside(_events(snapshot), _quota(snapshot)),
        _beside(_verdicts(snapshot), _billed(snapshot)),
        _answers(snapshot.rows, columns=columns, count=max(1, lines - _OTHER_LINES)),
        _last_line(snapshot),
    )


def _title(snapshot: Snapshot) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(
        Text(" moderation-consumer demo", style="bold"),
        Text(f"{snapshot.phase}  {snapshot.elapsed_seconds:3.0f} s ", style="bold cyan"),
    )
    way = " invented events → Kafka → moderation-consumer → simulated service → verdicts"
    return Group(grid, Text(way, style=_QUIET, no_wrap=True, overflow="ellipsis"))


def _beside(left: RenderableType, right: RenderableType) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=19)
    grid.add_column(ratio=21)
    grid.add_row(left, right)
    return grid


def _panel(title: str, body: RenderableType, lines: int) -> Panel:
    return Panel(body, title=title, title_align="left", height=lines + 2, border_style="grey42", box=box.ROUNDED)


def _events(snapshot: Snapshot) -> RenderableType:
    counts = snapshot.reading.counts
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style=_QUIET, no_wrap=True)
    grid.add_column(justify="right", min_width=5, no_wrap=True)
    grid.add_column(no_wrap=True, overflow="crop")
    grid.add_row("in", _number(snapshot.sent), f"{snapshot.sent_rate:.0f}/s")
    grid.add_row("judged", _number(counts.verdicts), f"{snapshot.judged_rate:.0f}/s")
    grid.add_row("dead letters", _number(counts.dead_letters), Text(f"skipped {counts.skipped}", style=_QUIET))
    grid.add_row("lag", _number(snapshot.lag), Text(_spark(snapshot.lags), style="cyan"))
    wire = Text(f"{snapshot.on_the_wire} calls out", style=_QUIET)
    grid.add_row("in flight", _number(snapshot.reading.in_flight), wire)
    return _panel("events", grid, 5)


def _quota(snapshot: Snapshot) -> RenderableType:
    reading = snapshot.reading
    bars = Table.grid(expand=True, padding=(0, 1))
    bars.add_column(style=_QUIET, no_wrap=True)
    bars.add_column(ratio=1)
    bars.add_column(justify="right", no_wrap=True)
    for name in ("text", "image"):
        rate, limit = snapshot.quota_rates.get(name, 0.0), reading.quota_limit.get(name, 0)
        bar = ProgressBar(total=max(limit, 1), completed=min(rate, limit), complete_style="cyan", finished_style="cyan")
        bars.add_row(name, bar, f"{rate:.0f} of {limit} calls/s")
    calls = snapshot.calls
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style=_QUIET, no_wrap=True, min_width=10)
    facts.add_column(no_wrap=True, overflow="ellipsis")
    took = f"{_milliseconds(calls.mean)}, 95 % under {_milliseconds(calls.most)}" if calls else "none yet"
    facts.add_row("a call", took)
    facts.add_row("sent again", f"{reading.retries}, refused for quota {reading.throttled}")
    facts.add_row("service", snapshot.weather)
    return _panel("the account's quota", Group(bars, facts), 5)


def _verdicts(snapshot: Snapshot) -> RenderableType:
    reading = snapshot.reading
    total = max(reading.counts.verdicts, 1)
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", min_width=5, no_wrap=True)
    grid.add_column(ratio=1)
    for action in ("pass", "review", "block"):
        count = reading.actions.get(action, 0)
        colour = _COLOURS[action]
        bar = ProgressBar(total=total, completed=count, complete_style=colour, finished_style=colour, style="grey23")
        grid.add_row(Text(action, style=colour), _number(count), bar)
    risks = Text(no_wrap=True, overflow="ellipsis")
    for level in ("none", "low", "medium", "high", "unknown"):
        if level in reading.risk_levels or level != "unknown":
            risks.append(f"{level} ", style=_QUIET).append(f"{reading.risk_levels.get(level, 0)} ")
    return _panel("verdicts by action, and risk", Group(grid, risks), 4)


def _billed(snapshot: Snapshot) -> RenderableType:
    reading = snapshot.reading
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style=_QUIET, no_wrap=True)
    grid.add_column(justify="right", min_width=5, no_wrap=True)
    grid.add_column(justify="right", min_width=11, no_wrap=True)
    for name, amount in sorted(reading.billed.items()):
        grid.add_row(name, _number(amount.units), f"{reading.currencies[name]} {amount.cost:.3f}")
    return _panel("billed units, at list prices", grid, 4)


def _answers(rows: Sequence[Row], *, columns: int, count: int) -> RenderableType:
    wide = columns >= _WIDE_COLUMNS
    # Text that is written from right to left may be moved by the terminal: it comes last, and no border after it.
    table = Table(box=None, expand=True, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=8, style=_QUIET, no_wrap=True)
    table.add_column(width=7, no_wrap=True)
    table.add_column(width=11, no_wrap=True)
    table.add_column(width=6, no_wrap=True)
    table.add_column(width=30 if wide else 18, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows[:count]:
        colour = _COLOURS.get(row.action, "")
        risk = Text(row.risk_level, style=_COLOURS.get(row.risk_level, ""))
        labels = Text("" if row.action == "pass" and row.risk_level == "none" else row.labels)
        table.add_row(row.clock, row.kind, Text(row.action, style=colour), risk, labels, Text(_one_line(row.excerpt)))
    return Panel(
        table,
        title="last verdicts",
        title_align="left",
        height=count + 2,
        box=box.HORIZONTALS,
        padding=0,
        border_style="grey42",
    )


def _last_line(snapshot: Snapshot) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text(f" {snapshot.note}", style="yellow"), Text(" Ctrl-C ends it, with its sums ", style=_QUIET))
    return grid


def _spark(values: Sequence[int]) -> str:
    """The course of the values in a few small columns, each the highest of its stretch."""
    stretch = -(-len(values) // _SPARK_POINTS) or 1
    highest = [max(values[start : start + stretch]) for start in range(0, len(values), stretch)]
    top = max(highest, default=0) or 1
    return "".join(_SPARKS[value * (len(_SPARKS) - 1) // top] for value in highest)


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _one_line(text: str) -> str:
    return " ".join(text.split())
