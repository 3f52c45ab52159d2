"""What became of every event and every payment: pure, over what was read back, in words for who was not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.audit_events import events
from chaos.audit_payments import payments
from chaos.audit_work import work
from chaos.books import Books


if TYPE_CHECKING:
    from chaos.finding import Finding
    from chaos.history import History


__all__ = ["audit", "report"]


_INDENT = " " * 6


def audit(history: History) -> list[Finding]:
    """Everything that was promised, held against what was read."""
    books = Books(history)
    return [*events(books), *payments(books), *work(books)]


def report(findings: list[Finding]) -> str:
    """The audit as text: a line each, what does not hold marked, and what there is to add below it."""
    width = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{'' if one.holds else 'NOT':>4}  {one.name:<{width}}  {one.said}")
        lines += [f"{_INDENT}{'':<{width}}  {note}" for note in one.notes]
    return "\n".join(lines)
