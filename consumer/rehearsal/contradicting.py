"""What in a case cannot come true, whatever becomes of its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.settings.words import meant


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from consumer.rehearsal.cases import Case, Expected
    from consumer.settings.nodes import Path as KeyPath

    Contradiction = tuple[KeyPath, str]


__all__ = ["contradictions"]


def contradictions(case: Case, names: Collection[str], services: Collection[str]) -> Iterator[Contradiction]:
    """Each of them: where in the case it stands, and what it is.

    Args:
        case: The case.
        names: The routes there are.
        services: The services there are.
    """
    if case.records is None:
        if case.expect is not None:
            yield from _expected(case.expect, ("expect",), 1, names, services)
    else:
        yield from _in_turn(case, len(case.records))
        for number, one in enumerate(case.records):
            if one.expect is not None:
                where = ("records", number, "expect")
                yield from _expected(one.expect, where, len(case.records), names, services)
    for number, answer in enumerate(case.service):
        if answer.service and answer.service not in services:
            yield (
                ("service", number, "service"),
                f"there is no service {answer.service}{meant(answer.service, services)}",
            )


def _in_turn(case: Case, count: int) -> Iterator[Contradiction]:
    """What cannot be of several records together."""
    records = case.records or ()
    if not any(one.expect for one in records):
        yield ("records",), "expect nothing; say what is to become of at least one, with expect"
    if records and records[0].after_seconds:
        yield ("records", 0, "after_seconds"), "the first record comes after no other; leave it out"
    at: dict[int, int] = {}
    for number, one in enumerate(records):
        position = None if one.expect is None else one.expect.position
        if position is None:
            continue
        where = ("records", number, "expect", "position")
        if position > count:
            yield where, f"found {position}, but there are {count} records"
        elif position in at:
            yield where, f"is the position of records[{at[position]}], too"
        at.setdefault(position, number)


def _expected(
    expected: Expected, where: KeyPath, count: int, names: Collection[str], services: Collection[str]
) -> Iterator[Contradiction]:
    """What cannot become of one record, of so many that come in."""
    if not (expected.model_fields_set - {"skipped"} or expected.skipped):
        yield where, "expects nothing; say at least one of route, calls, verdict, topic, dead_letter, skipped"
    if expected.position is not None and count == 1:
        yield (*where, "position"), "a record that comes alone is written first; leave it out"
    if expected.verdict is not None and not expected.verdict.model_fields_set:
        yield (*where, "verdict"), "expects nothing; say at least one of action, risk_level, labels"
    if expected.verdict is not None and expected.dead_letter is not None:
        yield where, "verdict contradicts dead_letter; keep one"
    if expected.skipped and expected.model_fields_set != {"skipped"}:
        yield where, "a record that is skipped has nothing else; keep skipped alone"
    if expected.route is not None and expected.route not in names:
        hint = meant(expected.route, names) or f"; there are {', '.join(sorted(names))}"
        yield (*where, "route"), f"there is no route {expected.route}{hint}"
    for number, call in enumerate(expected.calls or ()):
        if call.service not in services:
            place = (*where, "calls", number, "service")
            yield place, f"there is no service {call.service}{meant(call.service, services)}"
