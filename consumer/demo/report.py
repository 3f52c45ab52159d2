"""The summary at the end: every sum in a line, then whether they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.demo.summary import Sums


__all__ = ["ADDS_UP", "DOES_NOT", "report"]


ADDS_UP = "It all adds up."
DOES_NOT = "It does not add up:"


def report(
    sums: Sums,
    *,
    title: str,
    actions: Mapping[str, int],
    currencies: Mapping[str, str],
    busiest: Mapping[str, int],
    limits: Mapping[str, int],
) -> RenderableType:
    """The summary.

    Args:
        sums: What was counted on all sides.
        title: Its first line.
        actions: Verdicts by action.
        currencies: What each moderation type is paid in.
        busiest: The most calls that the service saw in any one second, by quota.
        limits: The calls a second that the account may make, by quota.
    """
    problems = sums.problems()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="grey62", no_wrap=True)
    grid.add_column()
    flow = f"{sums.events_in} = {sums.read_back}"
    grid.add_row("  events in", flow + (f" + {sums.left} left" if sums.left else ""))
    answers = sums.read_back.verdicts + sums.read_back.dead_letters
    absent = "not yet there" if sums.cut_short else "missing"
    read_back = f"{answers} answers: {len(sums.missing) or 'none'} {absent}, {len(sums.twice) or 'none'} twice"
    grid.add_row("  read back", read_back)
    grid.add_row("  judged right", f"{answers - len(sums.wrong)} of {answers}, as the content deserves")
    counted = [f"{action} {actions.get(action, 0)}" for action in ("pass", "review", "block")]
    grid.add_row("  verdicts", ", ".join(counted))
    grid.add_row("  offsets", f"{sums.committed} of {sums.events_in} committed")
    for name in sums.bills.moderation_types:
        grid.add_row(f"  {name}", _books(sums, name, currencies.get(name, "")))
    peaks = ", ".join(f"{name} {busiest.get(name, 0)} of {limit} calls" for name, limit in limits.items())
    grid.add_row("  busiest second", peaks)
    if problems:
        end = [Text(DOES_NOT, style="bold red"), *(Text(f"  {problem}") for problem in problems)]
    else:
        end = [Text(ADDS_UP, style="bold green")]
    return Group(Text(title, style="bold"), grid, *end)


def _books(sums: Sums, name: str, currency: str) -> str:
    bills = sums.bills
    books = {"ledger": bills.ledger, "verdicts": bills.verdicts, "metrics": bills.metrics}
    units = {book: amounts[name].units if name in amounts else 0 for book, amounts in books.items()}
    cost = f"{currency} {bills.ledger[name].cost:.3f}: " if name in bills.ledger else ""
    if len(set(units.values())) == 1:
        return f"{cost}{units['ledger']} units in ledger, verdicts and metrics"
    return cost + ", ".join(f"{count} units in the {book}" for book, count in units.items())
