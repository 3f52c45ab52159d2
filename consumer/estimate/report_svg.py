"""An estimate as a picture: bars by type, the cost over time, and what each saving would bring."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from consumer.estimate.savings import AS_CONFIGURED
from consumer.estimate.words import count, digits, duration, moment, money


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.estimate.result import Estimate


__all__ = ["draw"]


_WIDTH = 760
_LEFT = 24
_NAMES = 200
_BARS = 340
_ROW = 26
_BAR = 16
_SERIES = 140
_GAP = 22
_COLOUR = "#2f6db3"
_OTHER = "#9db8d6"


class _Page:
    """Draws downwards; `at` is how far it is."""

    def __init__(self) -> None:
        self.at = 0.0
        self._parts: list[str] = []

    def text(self, x: float, y: float, said: str, kind: str = "") -> None:
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{kind and f" class={kind!r}"}>{escape(said)}</text>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, said: str) -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
        self._parts.append(f'<rect {place} fill="{colour}"><title>{escape(said)}</title></rect>')

    def line(self, y: float, width: float) -> None:
        self._parts.append(f'<path d="M{_LEFT} {y:.1f}h{width:.1f}" stroke="#999"/>')

    def heading(self, said: str) -> None:
        self.at += _GAP + _ROW
        self.text(_LEFT, self.at, said, "heading")

    def bars(self, rows: Sequence[tuple[str, float, str, str]]) -> None:
        """A bar for each: its name, its part of the longest, what is said behind it, and its colour."""
        for name, part, said, colour in rows:
            self.at += _ROW
            self.text(_LEFT, self.at, name)
            self.box(_LEFT + _NAMES, self.at - _BAR + 3, part * _BARS, _BAR, colour, f"{name}: {said}")
            self.text(_LEFT + _NAMES + part * _BARS + 8, self.at, said, "number")

    def whole(self) -> str:
        height = self.at + _GAP + _ROW
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
            f'height="{height:.0f}" font-family="system-ui, sans-serif" font-size="13" fill="#222">'
        )
        style = (
            "<style>.title{font-size:16px;font-weight:600}.heading{font-weight:600}.number,.small{fill:#555}</style>"
        )
        return "\n".join((head, style, '<rect width="100%" height="100%" fill="#fff"/>', *self._parts, "</svg>", ""))


def draw(estimate: Estimate) -> str:
    """The picture, as SVG of one width; every bar says its numbers when it is pointed at."""
    about = estimate.about
    places = digits(estimate.cost)
    page = _Page()
    page.at = _ROW + 6
    page.text(_LEFT, page.at, f"{about.source}: {money(estimate.cost, digits(estimate.cost))}", "title")
    page.at += _ROW - 4
    time = "in their own time" if about.pace == "recorded" else f"all at once, in {duration(estimate.seconds.value)}"
    sampled = f"; by a sample of {count(about.sample.records)}" if about.sample else ""
    page.text(_LEFT, page.at, f"{count(about.records)} records, {time}{sampled}", "small")
    for currency in estimate.cost:
        rows = [row for row in estimate.bill if row.currency == currency]
        most = max(row.cost.value for row in rows) or 1.0
        page.heading(f"{currency} by type")
        page.bars(
            [
                (
                    row.moderation_type,
                    row.cost.value / most,
                    f"{row.cost.value:,.{places}f} for {count(row.units.value)} units",
                    _COLOUR,
                )
                for row in rows
            ]
        )
    for currency in estimate.cost if len(estimate.series) > 1 else ():
        _over_time(page, estimate, currency)
    for currency in estimate.cost if estimate.savings else ():
        costs = [(one.name, one.cost[currency].value if currency in one.cost else 0.0) for one in estimate.savings]
        most = max(cost for _, cost in costs) or 1.0
        page.heading(f"{currency} with other savings")
        page.bars(
            [
                (name, cost / most, f"{cost:,.{places}f}", _COLOUR if name == AS_CONFIGURED else _OTHER)
                for name, cost in costs
            ]
        )
    return page.whole()


def _over_time(page: _Page, estimate: Estimate, currency: str) -> None:
    series = estimate.series
    places = digits(estimate.cost)
    seconds = series[1][0] - series[0][0]
    values = [(at, column.get(currency, 0.0)) for at, column in series]
    most = max(value for _, value in values) or 1.0
    width = (_NAMES + _BARS) / len(values)
    page.heading(f"{currency} over time, {duration(seconds)} a bar")
    top, page.at = page.at + 12, page.at + 12 + _SERIES
    for number, (at, value) in enumerate(values):
        height = value / most * _SERIES
        page.box(
            _LEFT + number * width,
            page.at - height,
            width * 0.85,
            height,
            _COLOUR,
            f"{moment(at)}: {value:,.{places}f}",
        )
    page.line(page.at, _NAMES + _BARS)
    page.text(_LEFT + _NAMES + _BARS + 8, top + 10, f"{most:,.{places}f}", "number")
    page.text(_LEFT + _NAMES + _BARS + 8, page.at, "0", "number")
    page.at += _ROW - 8
    page.text(_LEFT, page.at, f"{moment(values[0][0])} UTC", "small")
    page.text(_LEFT + _NAMES + _BARS - 110, page.at, moment(values[-1][0]), "small")
