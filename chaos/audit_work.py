"""Who worked, and when: one owner of a partition at a time, within the quota, and stops that end well."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from chaos.finding import Finding, clock, found


if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.books import Books, Life
    from chaos.history import Call, Exit


__all__ = ["work"]


_SILENCE_SECONDS = 1.0
"""How long nobody calls for a partition before its new owner does: a window of the quota."""
_STOP_SECONDS = 20.0
_STALL_SECONDS = 2.0
_START_SECONDS = 15.0
_UNAVAILABLE = 69
_TEXT = "TextModerationPlus"


def work(books: Books) -> Iterator[Finding]:
    """What was promised of the processes."""
    for check in (_pause, _hands, _quota, _stops, _ends):
        yield check(books)


def _pause(books: Books) -> Finding:
    """How long nothing was written at all; how long it may be depends on what went wrong."""
    times = sorted(one.at for one in books.history.outcomes)
    longest, since = max(((after - before, before) for before, after in pairwise(times)), default=(0.0, 0.0))
    return Finding("longest pause", f"{longest:.1f} s, from {clock(books.history, since)} on" if longest else "none")


def _hands(books: Books) -> Finding:
    """A partition changes hands only in silence: who has lost it calls no more, and who has got it waits."""
    rows: dict[int, list[tuple[float, Life, Call]]] = defaultdict(list)
    for call in sorted(books.history.calls, key=lambda one: one.asked):
        for partition in {books.by_tag[tag].place[0] for tag in call.tags if tag in books.by_tag}:
            rows[partition].append((call.asked, books.life(call), call))
    wrong, changes = [], 0
    for partition, row in sorted(rows.items()):
        for (before, theirs, _), (after, others, call) in pairwise(row):
            if theirs == others:
                continue
            changes += 1
            if after - before < _SILENCE_SECONDS:
                wrong.append(
                    f"partition {partition}: {others[0]} called for {call.tags[0]} at {clock(books.history, after)}, "
                    f"{(after - before) * 1000:.0f} ms after {theirs[0]}"
                )
    return found("calls of who is not the owner", wrong, f"0 at {changes} changes of owner")


def _quota(books: Books) -> Finding:
    """No call is refused; but where this machine stood still, calls that were sent in time arrive together."""
    refused = [call for call in books.history.calls if call.refused]
    stalled = [call for call in refused if _stalled(books, call.asked)]
    times = [call.asked for call in sorted(books.history.calls, key=lambda one: one.asked) if call.operation == _TEXT]
    busiest, start = 0, 0
    for at, time in enumerate(times):
        while times[start] <= time - 1:
            start += 1
        busiest = max(busiest, at - start + 1)
    beside = f", {len(stalled)} of them after this machine stood still" if stalled else ""
    limit = books.history.terms.text_per_second
    said = f"{len(refused)} refused{beside}; the busiest second had {busiest} of {limit} texts"
    return found(
        "over the quota",
        (
            f"{one.operation} of {one.member} at {clock(books.history, one.asked)}"
            for one in refused
            if one not in stalled
        ),
        said,
    )


def _stalled(books: Books, at: float) -> bool:
    return any(at - _STALL_SECONDS <= one.at and one.at - one.seconds <= at for one in books.history.stalls)


def _stops(books: Books) -> Finding:
    """A planned stop ends well, and soon; a process that has only just begun may not listen to signals yet."""
    asked = [one for one in books.history.exits if one.asked and one.code != -9 and not _without_brokers(books, one)]

    def wrong() -> Iterator[str]:
        for one in asked:
            if one.code not in ({0} if one.ran else {0, -15}) or one.seconds > _STOP_SECONDS:
                yield f"{one.member} ended with {one.code} after {one.seconds:.1f} s, at {clock(books.history, one.at)}"

    slowest = max((one.seconds for one in asked), default=0.0)
    return found("stops that went wrong", wrong(), f"0; the slowest took {slowest:.1f} s")


def _ends(books: Books) -> Finding:
    """A process may end by itself only where it can reach no broker from its start."""
    ends = [one for one in books.history.exits if not one.asked]
    return found(
        "processes that ended by themselves",
        (
            f"{one.member} with {one.code} at {clock(books.history, one.at)}"
            for one in ends
            if not _without_brokers(books, one)
        ),
        f"{len(ends)} that could reach no broker at their start" if ends else "0",
    )


def _without_brokers(books: Books, one: Exit) -> bool:
    """Whether a process ended because it could reach no broker from its start, whatever it was asked to do then."""
    return (
        not one.ran
        and one.code == _UNAVAILABLE
        and any(
            each.kind == "kill brokers" or (each.member == one.member and each.detail == "to all brokers")
            for each in books.disturbances(one.at - _START_SECONDS, one.at)
        )
    )
