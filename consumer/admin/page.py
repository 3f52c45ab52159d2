"""The status as a page for people: plain HTML without scripts, made of what `/status` tells, and of nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from consumer.admin.style import STYLE, STYLE_SOURCE


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


__all__ = ["SECURITY", "page"]


SECURITY = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {STYLE_SOURCE}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""Headers of the page: nothing is loaded, run, sent or framed."""

_GOOD = {"running": "good", "closed": "good", "open": "bad", "half_open": "warn"}
_LANES = {"open": "good", "opening": "warn", "closed": "warn", "draining": "warn", "gone": "bad"}
_LONGEST_TABLE = 500


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(status: Mapping[str, Any], *, ready: bool, reason: str) -> str:
    """The whole page. Every value in it is escaped."""
    parts = [
        _head(status, ready=ready, reason=reason),
        _facts(status),
        _holds(status["holds"], status["now"]),
        _lanes(status["lanes"]),
        _quotas(status["quotas"], status["breakers"]),
        _money(status),
        _errors(status["errors"], status["now"]),
        _settings(status["settings"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>moderation-consumer: {_text(status['state'])}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )


def _head(status: Mapping[str, Any], *, ready: bool, reason: str) -> str:
    tag = _tag("ready" if ready else f"not ready: {reason}", "good" if ready else "bad")
    role = "works" if status["owner"] else "stands by"
    return (
        f"<header><h1>moderation-consumer</h1>{tag}{_tag(status['state'], _GOOD.get(status['state'], 'warn'))}"
        f'<span class="soft">{role} · version {_text(status["version"])} · up for '
        f"{_span(status['now'] - status['started_at'])} · at {_moment(status['now'])}</span></header>"
    )


def _facts(status: Mapping[str, Any]) -> str:
    lanes = status["lanes"]
    counts: dict[str, float] = {}
    for one in status["verdicts"]:
        counts[one["action"]] = counts.get(one["action"], 0) + one["count"]
    facts = [
        ("in flight", _number(status["in_flight"])),
        ("oldest unfinished", _span(status["oldest_unfinished_seconds"])),
        ("lag, records", _number(sum(lane["lag"] for lane in lanes))),
        ("partitions", _number(len(lanes))),
        ("tasks pending", _number(status["tasks_pending"])),
        *((f"verdicts: {action}", _number(counts.get(action, 0))) for action in ("pass", "review", "block")),
    ]
    rows = "".join(f"<div><dt>{_text(name)}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<section><dl class="facts">{rows}</dl></section>'


def _holds(holds: Sequence[Mapping[str, Any]], now: float) -> str:
    if not holds:
        return ""
    lines = []
    for hold in holds:
        about = hold.get("service") or hold.get("partition") or hold.get("budget") or "everything"
        since = f" for {_span(now - hold['since'])}" if hold.get("since") is not None else ""
        code = f", code {_text(hold['code'])}" if hold.get("code") is not None else ""
        said = " ".join(_text(hold[name]) for name in ("meaning", "remedy") if hold.get(name))
        lines.append(f'<p class="why">{_tag(hold["reason"], "bad")} {_text(about)}{code}{since}. {said}</p>')
    return _section("Holding", "".join(lines))


def _lanes(lanes: Sequence[Mapping[str, Any]]) -> str:
    if not lanes:
        return _section(
            "Lanes", '<p class="soft why">No partition is assigned: another replica works, or none yet.</p>'
        )
    rows = [
        (
            lane["topic"],
            str(lane["partition"]),
            _tag(lane["state"], _LANES.get(lane["state"], "warn")),
            str(lane["position"]),
            lane["lag"],
            lane["unfinished"],
            "–" if lane["oldest_unfinished_offset"] is None else str(lane["oldest_unfinished_offset"]),
        )
        for lane in lanes
    ]
    heads = ("topic", "partition", "state", "committed up to", "lag", "unfinished", "oldest unfinished offset")
    return _section("Lanes", _table(heads, rows, numbers={1, 3, 4, 5, 6}))


def _quotas(quotas: Mapping[str, Mapping[str, Any]], breakers: Mapping[str, str]) -> str:
    rows = []
    for name, one in quotas.items():
        limit = one["limit"]
        meter = f'<meter min="0" max="{max(1, limit)}" value="{min(one["used"], limit)}"></meter>'
        now = _tag(f"{one['limit_now']} now", "warn") if one["limit_now"] < limit else "–"
        rows.append((name, _Html(meter), one["used"], limit, now, one["waiting"], one["taken"], one["throttled"]))
    heads = ("quota", "use", "sent in the last s", "limit a second", "lowered to", "calls waiting", "calls", "refused")
    text = _table(heads, rows, numbers={2, 3, 5, 6, 7}) if rows else '<p class="soft why">Not there yet.</p>'
    if breakers:
        states = " ".join(
            f"{_text(service)} {_tag(state.replace('_', ' '), _GOOD.get(state, 'warn'))}"
            for service, state in sorted(breakers.items())
        )
        text += f'<p class="why"><span class="soft">Breakers:</span> {states}</p>'
    return _section("Quota", text)


def _money(status: Mapping[str, Any]) -> str:
    text = ""
    spending = status["spending"].get("cost", {})
    if spending:
        heads = ("currency", "this hour", "this day", "by its end", "this month", "by its end")
        rows = [
            (
                currency,
                *(_money_of(one.get(name)) for name in ("hour", "day", "day_forecast", "month", "month_forecast")),
            )
            for currency, one in spending.items()
        ]
        text += _table(heads, rows, numbers={1, 2, 3, 4, 5})
    if status["budgets"]:
        rows = []
        for one in status["budgets"]:
            limit = max(one["limit"], 1e-9)
            meter = f'<meter min="0" max="{limit}" high="{0.8 * limit}" value="{min(one["spent"], limit)}"></meter>'
            rows.append(
                (
                    one["name"],
                    _Html(meter),
                    f"{_money_of(one['spent'])} of {_money_of(one['limit'])} {one['unit']}",
                    f"a {one['period']}, until {one['until']}",
                    one["when_spent"],
                    one["waiting"],
                )
            )
        text += _table(("budget", "use", "spent", "period", "when spent", "calls waiting"), rows, numbers={5})
    if status["calls_with_unknown_bill"]:
        count = _number(status["calls_with_unknown_bill"])
        text += f'<p class="why soft">{count} calls may have been billed: no whole answer came.</p>'
    return _section("Money", text or '<p class="soft why">Nothing was spent yet.</p>')


def _errors(errors: Sequence[Mapping[str, Any]], now: float) -> str:
    if not errors:
        return _section("Last errors", '<p class="soft why">None since the start.</p>')
    rows = [
        (
            f"{_span(now - one['last_at'])} ago",
            one["what"],
            one["code"] or "–",
            one["where"],
            one["count"],
            f"{_span(now - one['first_at'])} ago",
        )
        for one in errors
    ]
    heads = ("last", "what", "code", "where", "count", "first")
    return _section("Last errors", _table(heads, rows, numbers={4}, narrow={0, 5}))


def _settings(settings: Mapping[str, Mapping[str, str]]) -> str:
    given = [(key, one) for key, one in settings.items() if one["origin"] != "default"]
    rest = [(key, one) for key, one in settings.items() if one["origin"] == "default"]

    def table(which: Iterable[tuple[str, Mapping[str, str]]]) -> str:
        rows = [(key, one["value"], one["origin"]) for key, one in which]
        return _table(("key", "value", "from"), rows, mono={0, 1, 2})

    return _section(
        "Configuration",
        f"{table(given)}</section>\n<section><details><summary>Defaults ({len(rest)})</summary>{table(rest)}</details>",
    )


def _section(title: str, text: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{text}</section>"


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    numbers: Iterable[int] = (),
    mono: Iterable[int] = (),
    narrow: Iterable[int] = (),
) -> str:
    kinds = [
        "n" if at in set(numbers) else "k" if at in set(mono) else "w" if at in set(narrow) else ""
        for at in range(len(heads))
    ]
    marks = [f' class="{kind}"' if kind else "" for kind in kinds]
    head = "".join(f"<th{mark}>{_text(name)}</th>" for name, mark in zip(heads, marks, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{mark}>{_cell(value)}</td>' for value, mark in zip(row, marks, strict=True))}</tr>"
        for row in rows[:_LONGEST_TABLE]
    )
    more = len(rows) - _LONGEST_TABLE
    note = f'<p class="soft why">and {more} more</p>' if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _cell(value: Any) -> str:
    if isinstance(value, _Html):
        return value
    return _number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _text(value)


def _tag(text: Any, kind: str) -> _Html:
    return _Html(f'<span class="tag {kind}">{_text(text)}</span>')


def _text(value: Any) -> str:
    return escape(str(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _money_of(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:,.4f}".rstrip("0").rstrip(".")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    """A time span as people say it: in the two largest units."""
    whole = max(0, round(seconds))
    if whole < 1:
        return "0 s" if seconds < 0.05 else f"{seconds:.1f} s"
    for unit, length, below, name in (
        ("d", 86_400, 3600, "h"),
        ("h", 3600, 60, "min"),
        ("min", 60, 1, "s"),
    ):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // below} {name}"
    return f"{whole} s"
