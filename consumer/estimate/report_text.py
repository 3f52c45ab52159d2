"""An estimate for people: tables and charts for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from consumer.estimate.savings import AS_CONFIGURED
from consumer.estimate.service import ANSWER_SECONDS
from consumer.estimate.words import count, digits, duration, moment, money, percent, within
from consumer.moderation.protocol.billing import AS_OF


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from consumer.estimate.result import About, Estimate
    from consumer.estimate.sampling import Figure


__all__ = ["COLUMNS", "report"]


COLUMNS = 80

_BAR = 40
_ROWS = 6
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STEPS = " ▁▂▃▄▅▆▇█"
_ON_SPENT = {"hold": "events wait then", "review": "events go to people then", "sample": "only a sample is judged then"}


def report(estimate: Estimate) -> Iterator[str]:
    """The lines of it."""
    about = estimate.about
    yield from _wrapped(_header(about))
    if about.sample:
        sample = about.sample
        yield from _wrapped(
            f"a sample: {count(sample.records)} records in {sample.blocks} blocks, seed {sample.seed}; the figures are "
            "for all records, and the truth is within what is said behind ± with 95 % certainty"
        )
    yield from _bill(estimate)
    yield from _bars(estimate)
    yield from _routes(estimate)
    yield from _requests(estimate)
    yield from _time(estimate)
    yield from _over_time(estimate)
    yield from _savings(estimate)
    yield from _letters(estimate)
    yield from _notes(estimate)


def _header(about: About) -> str:
    span = ""
    if about.begins_at is not None and about.ends_at is not None:
        span = f", {moment(about.begins_at)} to {moment(about.ends_at)} UTC"
    pace = "replayed in their own time" if about.pace == "recorded" else "judged all at once"
    replicas = f" by {about.replicas} replicas" if about.replicas > 1 else ""
    return f"estimate of {about.source}: {count(about.records)} records{span}, {pace}{replicas}"


def _bill(estimate: Estimate) -> Iterator[str]:
    places = digits(estimate.cost)
    rows = [
        (
            row.moderation_type,
            count(row.calls.value),
            count(row.units.value),
            f"{row.plan_units.value:,.2f}",
            money({row.currency: row.cost}, places),
        )
        for row in estimate.bill
    ]
    sampled = estimate.about.sample is not None
    for currency, cost in estimate.cost.items() or [("", None)]:
        total = "-" if cost is None else money({currency: cost}, places) + (f" {within(cost)}" if sampled else "")
        rows.append(("total", count(estimate.requests.value), count(estimate.units.value), "", total))
    yield f"bill, at list prices of {AS_OF} unless configured:"
    yield from _table(("", "calls", "units", "plan units", "cost"), rows)


def _bars(estimate: Estimate) -> Iterator[str]:
    if len(estimate.bill) < 2:
        return
    yield "cost by type:"
    width = max(len(row.moderation_type) for row in estimate.bill)
    for row in estimate.bill:
        most = max(one.cost.value for one in estimate.bill if one.currency == row.currency)
        share = row.cost.value / estimate.cost[row.currency].value if most else 0.0
        bar = _bar(row.cost.value / most if most else 0.0)
        yield f"  {row.moderation_type.ljust(width)}  {bar} {percent(share):>6} of {row.currency}".rstrip()


def _routes(estimate: Estimate) -> Iterator[str]:
    if not estimate.routes:
        return
    places = digits(estimate.cost)
    rows = [(row.route, row.events, row.units, row.cost) for row in estimate.routes]
    rows.append(("total", estimate.events, estimate.units, estimate.cost))
    yield "routes:"
    yield from _table(
        ("", "events", "units", "cost"),
        [
            (name, count(events.value), count(units.value), money(cost, places))
            for name, events, units, cost in (rows if len(rows) > 2 else rows[:1])
        ],
    )


def _requests(estimate: Estimate) -> Iterator[str]:
    if not estimate.calls:
        return
    yield "requests:"
    yield from _table(
        ("", ""),
        [
            (f"{operation} {service}" if service else f"{operation} (free)", count(calls.value))
            for (operation, service), calls in estimate.calls.items()
        ],
    )
    yield from _wrapped(
        "verdicts from: " + ", ".join(f"{source} {percent(share)}" for source, share in estimate.sources.items()), "  "
    )


def _time(estimate: Estimate) -> Iterator[str]:
    about = estimate.about
    yield "time:"
    if about.pace == "recorded":
        median, late = estimate.wait_seconds
        yield from _wrapped(
            f"{duration(about.span_seconds)} of traffic; half of the verdicts within {duration(median)} of the record, "
            f"99 % within {duration(late)}",
            "  ",
        )
    else:
        sampled = f" {within(estimate.seconds)}" if about.sample else ""
        yield f"  {duration(estimate.seconds.value)}{sampled} under the quota"
    busiest = "" if about.sample else f", {count(estimate.busiest_minute)} in the busiest"
    yield f"  paid requests a minute: {count(estimate.requests_a_minute)}{busiest}"
    used = ", ".join(f"{quota} {percent(part)}" for quota, part in estimate.used.items())
    yield from _wrapped(f"quota used: {used or 'none'}", "  ")
    if estimate.month:
        yield f"  30 days at this rate: {money(estimate.month, digits(estimate.month))}"


def _over_time(estimate: Estimate) -> Iterator[str]:
    series = estimate.series
    if len(series) < 2:
        return
    for currency in estimate.cost:
        values = [column.get(currency, 0.0) for _, column in series]
        yield f"{currency} over time, {duration(series[1][0] - series[0][0])} a column:"
        label = f"{max(values):,.{digits(estimate.cost)}f}"
        margin = len(label)
        for row in range(_ROWS - 1, -1, -1):
            cells = "".join(_STEPS[_eighths(value / max(values) * _ROWS - row)] for value in values)
            yield f"  {label if row == _ROWS - 1 else '0'.rjust(margin) if not row else ' ' * margin} {cells}".rstrip()
        first, last = moment(series[0][0]), moment(series[-1][0])
        gap = len(values) - len(first) - len(last)
        yield f"  {' ' * margin} {first}{' ' * gap}{last}" if gap > 0 else f"  {' ' * margin} {first}"


def _savings(estimate: Estimate) -> Iterator[str]:
    if not estimate.savings:
        return
    now = estimate.cost
    yield "savings, each by itself:"
    rows = []
    for one in estimate.savings:
        change = "" if one.name == AS_CONFIGURED else " / ".join(_changes(now, one.cost))
        rows.append((one.name, count(one.units.value), money(one.cost, digits(now)), change))
    yield from _table(("", "units", "cost", "change"), rows)


def _changes(now: Mapping[str, Figure], then: Mapping[str, Figure]) -> Iterator[str]:
    for currency, before in now.items():
        after = then[currency].value if currency in then else 0.0
        yield f"{after / before.value - 1:+.0%}".replace("%", " %") if before.value else "-"


def _letters(estimate: Estimate) -> Iterator[str]:
    if not estimate.letters:
        return
    yield f"dead letters: {count(sum(row.count.value for row in estimate.letters))}"
    for row in estimate.letters:
        yield from _wrapped(f"{row.stage}/{row.reason} {count(row.count.value)}, such as {row.place}: {row.said}", "  ")


def _notes(estimate: Estimate) -> Iterator[str]:
    about = estimate.about
    if estimate.skipped.value:
        yield f"skipped: {count(estimate.skipped.value)} records without a value"
    if estimate.late.value:
        yield from _wrapped(f"too late for their routes: {count(estimate.late.value)} events, by deadline_seconds")
    for spent in estimate.spent:
        when = f"at {moment(spent.at)} UTC" if about.pace == "recorded" else f"after {duration(spent.after_seconds)}"
        yield from _wrapped(f"budget {spent.budget}: spent {when}; {_ON_SPENT[spent.when_spent]}")
    if estimate.held:
        yield from _wrapped(f"note: the consumer would hold: {estimate.held}")
    yield from _wrapped(
        f"assumed: each call is answered at its first try, in {ANSWER_SECONDS:g} s; a task has its result when it is "
        f"first asked for; {percent(about.risk)} of texts are risky; no budget stands in the way"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns with a heading: the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        if line := "  ".join(cells).rstrip():
            yield f"  {line}"


def _bar(part: float) -> str:
    eighths = round(part * _BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(_BAR)


def _eighths(rows: float) -> int:
    return max(0, min(8, round(rows * 8)))


def _wrapped(text: str, indent: str = "") -> Iterable[str]:
    """Lines of at most 80 columns; those behind the first are indented."""
    return textwrap.wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
