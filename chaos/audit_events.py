"""What became of the events: none lost, each of one kind, in order, and none passed unjudged."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from chaos.books import PLANNED
from chaos.finding import Finding, clock, found, name


if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.books import Books
    from chaos.history import Input, Outcome


__all__ = ["events"]


def events(books: Books) -> Iterator[Finding]:
    """What was promised of every event."""
    yield from _inputs(books)
    for check in (_lost, _two_kinds, _wrong_kind, _from_nowhere, _duplicates, _order, _too_early, _taken_back, _passed):
        yield check(books)


def _inputs(books: Books) -> Iterator[Finding]:
    inputs = books.history.inputs
    nulls = sum(one.value is None for one in inputs)
    malformed = sum(one.value is not None and one.event_id is None for one in inputs)
    yield Finding("records read", f"{len(inputs)}: {malformed} of them malformed, {nulls} without a value")
    kinds = Counter(one.kind for one in books.history.outcomes)
    yield Finding("outcomes written", f"{kinds['verdict']} verdicts, {kinds['dead letter']} dead letters")


def _needs_outcome(books: Books, one: Input) -> bool:
    return one.value is not None or books.history.terms.on_null == "dead_letter"


def _lost(books: Books) -> Finding:
    return found(
        "lost",
        (
            f"{name(one.place)} ({one.event_id or 'malformed'}) has no outcome"
            for one in books.history.inputs
            if _needs_outcome(books, one) and one.place not in books.outcomes
        ),
    )


def _two_kinds(books: Books) -> Finding:
    return found(
        "of two kinds",
        (
            f"{name(place)} has a verdict and a dead letter"
            for place, outcomes in books.outcomes.items()
            if len({one.kind for one in outcomes}) > 1
        ),
    )


def _wrong_kind(books: Books) -> Finding:
    """Malformed records are dead letters with their bytes, the others verdicts; keys and headers stay."""

    def wrong() -> Iterator[str]:
        for one in books.history.inputs:
            for outcome in books.outcomes.get(one.place, ()):
                if outcome.kind != ("dead letter" if one.event_id is None else "verdict"):
                    yield f"{name(one.place)} ({one.event_id or 'malformed'}) became a {outcome.kind}"
                elif outcome.kind == "verdict" and outcome.event_id != one.event_id:
                    yield f"{name(one.place)} ({one.event_id}) has the verdict of {outcome.event_id}"
                elif outcome.kind == "dead letter" and outcome.value != (one.value or b""):
                    yield f"{name(one.place)} is a dead letter with other bytes"
                elif outcome.key != one.key or outcome.headers != one.headers:
                    yield f"{name(one.place)} has an outcome with another key or other headers"

    return found("of the wrong kind, or changed", wrong())


def _from_nowhere(books: Books) -> Finding:
    return found(
        "outcomes of nothing",
        (
            f"{one.where}: a {one.kind} of {name(place)}"
            for place, outcomes in books.outcomes.items()
            for one in outcomes
            if place not in books.by_place or not _needs_outcome(books, books.by_place[place])
        ),
    )


def _duplicates(books: Books) -> Finding:
    history = books.history
    again = [(first, then) for outcomes in books.outcomes.values() for first, then in pairwise(outcomes)]
    if history.terms.guarantee == "exactly_once":
        return found("duplicates", (f"{name(then.place)} at {clock(history, then.at)}" for _, then in again))
    without = [
        f"{name(then.place)} at {clock(history, first.at)} and {clock(history, then.at)}, without any fault between"
        for first, then in again
        if all(one.kind in PLANNED for one in books.disturbances(first.at, then.at))
    ]
    said = f"{len(again)}, allowed where a fault came between a verdict and its commit"
    return found("duplicates", without, said if again else "0")


def _order(books: Books) -> Finding:
    """Verdicts of a key, or of a partition, in the order of their events; of repeated ones the first counts."""
    order = books.history.terms.order
    if order == "unordered":
        return Finding("out of order", "not promised")
    rows: dict[tuple[object, ...], list[Outcome]] = defaultdict(list)
    firsts = [outcomes[0] for outcomes in books.outcomes.values() if outcomes[0].kind == "verdict"]
    for one in sorted(firsts, key=lambda one: one.where):
        if order == "partition":
            rows[*one.where[:2], one.place[0]].append(one)
        elif one.key is not None:
            rows[one.place[0], one.key].append(one)

    def wrong() -> Iterator[str]:
        for row, outcomes in rows.items():
            if len({one.where[:2] for one in outcomes}) > 1:
                yield f"key {row[1]!r} has verdicts in several partitions, where nobody can tell their order"
            for before, after in pairwise(outcomes):
                if before.place > after.place:
                    yield f"{name(before.place)} left before {name(after.place)}, key {after.key!r}"

    return found("out of order", wrong())


def _too_early(books: Books) -> Finding:
    """A crash between the commit and the outcome would lose the event, even if none did."""

    def wrong() -> Iterator[str]:
        for place, outcomes in books.outcomes.items():
            committed = books.committed_at.get(place)
            written = min(one.at for one in outcomes)
            # Brokers stamp in milliseconds.
            if committed is not None and committed < written - 0.002:
                early = (written - committed) * 1000
                yield f"{name(place)} was committed {early:.0f} ms before its outcome was written"

    return found("committed before written", wrong())


def _taken_back(books: Books) -> Finding:
    return found(
        "commits taken back",
        (
            f"{name(place)} was done, and was not by the commit at {clock(books.history, commit.at)}"
            for commit, place in books.taken_back
        ),
    )


def _passed(books: Books) -> Finding:
    """Nothing passes but what the service has judged, and found clean."""

    def wrong() -> Iterator[str]:
        for place, outcomes in books.outcomes.items():
            one = books.by_place.get(place)
            for outcome in outcomes:
                if outcome.action != "pass" or one is None:
                    continue
                called = [books.by_request[name] for name in outcome.request_ids if name in books.by_request]
                if one.risky:
                    yield f"{name(place)} ({one.event_id}) is risky, and passed"
                elif not any(one.tag in call.tags and call.billed for call in called):
                    yield f"{name(place)} ({one.event_id}) passed, and no call for it was judged"

    return found("passed unjudged", wrong())
