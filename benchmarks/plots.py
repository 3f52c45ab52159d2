"""Charts as SVG: lines over numbers, or bars beside each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape


if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Chart, Line


__all__ = ["draw"]


_WIDTH = 760
_LEFT, _RIGHT = 70, 24
_TOP = 44
_PLOT = 220
_ROW = 20
_BAR_ROW = 22
_NAMES = 230
# A letter of what stands below the axis is about as wide.
_LETTER = 6.8
# The product's colour is that of all pictures here; others are paler.
_COLOURS = ("#9db8d6", "#2f6db3", "#c9b27c", "#8a6d1f", "#a8c6a4", "#3d7a3a", "#c9a0b8")
_STEPS = (1, 2, 2.5, 5, 10)


def draw(chart: Chart) -> str:
    """The picture, of one width; every point and every bar says its numbers when it is pointed at."""
    parts = [_text(_RIGHT, 22, chart.title, "title")]
    height = _bars(parts, chart) if chart.ticks else _lines(parts, chart)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" font-size="12" fill="#222">'
    )
    style = "<style>.title{font-size:15px;font-weight:600}.small{fill:#555}.end{text-anchor:end;fill:#555}</style>"
    return "\n".join((head, style, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""))


def _bars(parts: list[str], chart: Chart) -> float:
    most = _most(chart.lines)
    width = _WIDTH - _NAMES - _RIGHT - 80
    at: float = _TOP
    for number, tick in enumerate(chart.ticks):
        for which, line in enumerate(chart.lines):
            value = dict(line.points).get(float(number))
            if value is None:
                continue
            name = f"{tick}, {line.name}" if len(chart.lines) > 1 else tick
            colour = _COLOURS[which % len(_COLOURS)] if len(chart.lines) > 1 else _COLOURS[1]
            parts.append(_text(_RIGHT, at + 13, name, ""))
            place = f'x="{_NAMES + _RIGHT}" y="{at:.0f}" width="{width * value / most:.1f}" height="{_BAR_ROW - 6}"'
            said = escape(f"{name}: {_said(value)} {chart.y}")
            parts.append(f'<rect {place} fill="{colour}"><title>{said}</title></rect>')
            parts.append(_text(_NAMES + _RIGHT + width * value / most + 6, at + 13, _said(value), "small"))
            at += _BAR_ROW
        at += 6 if len(chart.lines) > 1 else 0
    parts.append(_text(_NAMES + _RIGHT, at + 14, chart.y, "small"))
    return at + 28


def _lines(parts: list[str], chart: Chart) -> float:
    most = _round_up(_most(chart.lines))
    xs = sorted({x for line in chart.lines for x, _ in line.points})
    low, high = _scaled(xs[0], chart), _scaled(xs[-1], chart)
    width = _WIDTH - _LEFT - _RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        across = (_scaled(x, chart) - low) / (high - low) if high > low else 0.5
        return _LEFT + across * width, _TOP + _PLOT * (1 - y / most)

    for quarter in range(5):
        value = most * quarter / 4
        _, y = place(xs[0], value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{width}" stroke="{"#999" if not quarter else "#e4e4e4"}"/>')
        parts.append(_text(_LEFT - 6, y + 4, _said(value), "end"))
    free = -math.inf
    for x in xs:
        across, _ = place(x, 0)
        if across - _LETTER * len(_said(x)) >= free:
            parts.append(_text(across, _TOP + _PLOT + 16, _said(x), "end"))
            free = across + _LETTER
    parts.append(_text(_LEFT - 46, _TOP - 10, chart.y, "small"))
    parts.append(_text(_LEFT, _TOP + _PLOT + 34, chart.x, "small"))
    at = _TOP + _PLOT + 56.0
    for which, line in enumerate(chart.lines):
        colour = _COLOURS[which % len(_COLOURS)]
        places = [(place(x, y), x, y) for x, y in line.points]
        path = " ".join(f"{across:.1f},{down:.1f}" for (across, down), _, _ in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (across, down), x, y in places:
            said = escape(f"{line.name}, {_said(x)}: {_said(y)} {chart.y}")
            parts.append(
                f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" fill="{colour}"><title>{said}</title></circle>'
            )
        parts.append(f'<rect x="{_LEFT}" y="{at - 9:.0f}" width="12" height="10" fill="{colour}"/>')
        parts.append(_text(_LEFT + 18, at, line.name, ""))
        at += _ROW
    return at


def _scaled(x: float, chart: Chart) -> float:
    return math.log10(x) if chart.logarithmic and x > 0 else x


def _most(lines: Sequence[Line]) -> float:
    return max((y for line in lines for _, y in line.points), default=0.0) or 1.0


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * 0.999)


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.2g}"


def _text(x: float, y: float, said: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind and f" class={chr(34)}{kind}{chr(34)}"}>{escape(said)}</text>'
