"""What was paid: every billed unit in a verdict or explained, and nothing billed again that was known to be paid."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from chaos.books import UNPLANNED
from chaos.finding import Finding, clock, found, name


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaos.books import Books
    from chaos.history import Call, Happening, Input, Place


__all__ = ["payments"]


_COMMIT_SLACK_SECONDS = 1.0
# For so long nothing is called for while a partition is taken over.
_TAKEOVER_SECONDS = 1.0
_SUBMIT = "MultimodalAsyncModeration"


@dataclass(frozen=True, slots=True)
class _Again:
    """An event that was billed again, and why."""

    one: Input
    first: Call
    second: Call
    cause: Happening | None


def _billed_again(books: Books) -> list[_Again]:
    return [
        _Again(books.by_tag[tag], first, second, books.cause(first, second))
        for tag, calls in books.billed.items()
        if tag in books.by_tag
        for first, second in pairwise(calls)
    ]


def payments(books: Books) -> Iterator[Finding]:
    """What was promised of money."""
    history = books.history
    again = _billed_again(books)
    yield _books_agree(books, {one.first.request_id for one in again})
    spoilt = [one for one in again if one.first.spoilt]
    others = [one for one in again if not one.first.spoilt]
    said = f"{len(others)} for faults of ours, {len(spoilt)} for answers that the service spoilt"
    yield Finding("events billed again", said, notes=tuple(_reasons(books, others)))
    yield found(
        "billed again after its commit",
        (
            f"{one.one.event_id}: done at {clock(history, done)}, called at {clock(history, one.second.asked)}"
            for one in again
            if (done := books.committed_at.get(one.one.place)) is not None and done < one.second.asked - 0.005
        ),
    )
    yield found(
        "billed again for no reason",
        (
            f"{one.one.event_id}: answered at {clock(history, one.first.answered or 0)} to {one.first.member}, "
            f"called again at {clock(history, one.second.asked)} by {one.second.member}"
            for one in others
            if one.cause is None
        ),
    )
    handed_over = [one for one in others if _in_order(books, one)]
    spans: dict[Place, list[tuple[float, float]]] = defaultdict(list)
    for one in others:
        spans[one.one.place].append((one.first.asked, one.second.asked))
    behind = books.behind(spans)
    asked = _asked(books)
    yield found(
        "billed again after an orderly hand-over",
        (
            f"{one.one.event_id}: {one.first.member} had its answer at {clock(history, one.first.answered or 0)}, "
            f"{one.second.member} called at {clock(history, one.second.asked)}"
            for one in handed_over
            if not behind(
                one.one, one.first.answered or 0.0, _resumed(asked[one.one.place[0]], one) - _TAKEOVER_SECONDS
            )
        ),
        f"0, but for {len(handed_over)} that had to wait for an earlier event" if handed_over else "0",
    )
    yield _bound(books, others)
    yield _tasks(books)


def _asked(books: Books) -> Mapping[int, Sequence[float]]:
    """When anything was called for, by partition."""
    found: dict[int, list[float]] = defaultdict(list)
    for call in books.history.calls:
        for partition in {books.by_tag[tag].place[0] for tag in call.tags if tag in books.by_tag}:
            found[partition].append(call.asked)
    return {partition: sorted(times) for partition, times in found.items()}


def _resumed(asked: Sequence[float], one: _Again) -> float:
    """When its partition's next owner began: the first call after a pause as long as a takeover's."""
    answered = one.first.answered or one.first.asked
    for before, after in pairwise(asked):
        if after > answered and after - max(before, answered) >= _TAKEOVER_SECONDS:
            return min(after, one.second.asked)
    return one.second.asked


def _books_agree(books: Books, repeated: set[str]) -> Finding:
    """Every billed unit is in a verdict, or is explained by a fault."""
    history = books.history
    in_verdicts = {request_id for one in history.outcomes for request_id in one.request_ids}
    billed = [call for call in history.calls if call.billed]
    lost = [call for call in billed if call.request_id not in in_verdicts]
    wrong = [
        f"{call.request_id} for {', '.join(call.tags)} at {clock(history, call.asked)} is in no verdict"
        for call in lost
        if not call.spoilt
        and call.request_id not in repeated
        and not any(books.disturbances(call.asked, call.answered or call.asked))
    ]
    wrong += _other_units(books)
    units = sum(sum(call.units.values()) for call in billed)
    said = f"{units} units billed by {len(billed)} calls; {len(lost)} of these are in no verdict, each with its fault"
    return found("payments", wrong, said)


def _other_units(books: Books) -> Iterator[str]:
    """Verdicts that name other units than the service billed for their calls; tasks of several events as a whole."""
    tasks: dict[str, dict[Place, Counter[str]]] = defaultdict(dict)
    for place, outcomes in books.outcomes.items():
        for one in outcomes:
            if one.task_id is not None:
                tasks[one.task_id][place] = Counter(one.units)
                continue
            theirs = [books.by_request[each] for each in one.request_ids if each in books.by_request]
            least = _sum(
                call for call in theirs if not call.spoilt and not (one.known and _first_was_lost(books, call, one.at))
            )
            # Of answers that were of no use a verdict may know what they cost, and need not name them.
            most = _sum(books.billed[books.by_place[place].tag]) if place in books.by_place else least
            if not least <= Counter(one.units) <= most:
                yield f"{name(place)} says {dict(one.units)}, and was billed {dict(least)}"
    submitted = {call.task_id: call for call in books.history.calls if call.operation == _SUBMIT and call.task_id}
    for task_id, parts in tasks.items():
        call = submitted.get(task_id)
        whole = sum(parts.values(), Counter[str]())
        if call is not None and len(parts) == len(call.tags) and whole != Counter(call.units):
            yield f"the events of task {task_id} say {dict(whole)}, and it was billed {dict(call.units)}"


def _first_was_lost(books: Books, call: Call, written_at: float) -> bool:
    """Whether a verdict that named this call's bill may have been lost, so that the answer was used once more.

    Where an order is kept a verdict may wait for an earlier event, for as long as that takes.
    """
    return any(books.disturbances(call.asked, max(written_at, call.answered or call.asked)))


def _sum(calls: Iterable[Call]) -> Counter[str]:
    return sum((Counter(call.units) for call in calls), Counter[str]())


def _reasons(books: Books, again: list[_Again]) -> Iterator[str]:
    """How many events each fault had billed again, and where they were then."""
    by_cause: dict[Happening, list[_Again]] = defaultdict(list)
    for one in again:
        if one.cause is not None:
            by_cause[one.cause].append(one)
    for cause, theirs in sorted(by_cause.items(), key=lambda item: item[0].at):
        wire = [one for one in theirs if one.first.answered is None or one.first.answered >= cause.at]
        ages = [cause.at - one.first.answered for one in theirs if one not in wire and one.first.answered is not None]
        oldest = f", the oldest {max(ages) * 1000:.0f} ms before" if ages else ""
        fault = f"{cause.kind} {cause.member or cause.detail} at {clock(books.history, cause.at)}"
        yield f"{fault}: {len(ages)} answered and not committed{oldest}, {len(wire)} on the wire or called later"


def _in_order(books: Books, one: _Again) -> bool:
    """Whether the first answer had come when who had it gave the partition up with all being well."""
    return (
        one.cause is not None
        and one.first.answered is not None
        and not books.harm(one.first.member, one.first.asked, one.second.asked)
    )


def _bound(books: Books, again: list[_Again]) -> Finding:
    """For each kill and freeze: no more than what was on the wire, and answered but not committed, at that moment."""
    terms = books.history.terms
    limit = terms.max_in_flight + terms.text_per_second * (terms.commit_interval_seconds + _COMMIT_SLACK_SECONDS)
    over, notes = [], []
    for fault in books.history.happenings:
        if fault.kind not in UNPLANNED or fault.member is None:
            continue
        theirs = sum(one.cause == fault and one.first.member == fault.member for one in again)
        wire = sum(len(call.tags) for call in books.on_the_wire(fault.member, fault.at))
        waiting = books.uncommitted(fault.member, fault.at)
        text = (
            f"{fault.kind} {fault.member} at {clock(books.history, fault.at)}: {theirs} billed again; "
            f"{wire} were on the wire, {len(waiting)} answered and not committed"
        )
        notes.append(text)
        if theirs > wire + len(waiting) or theirs > limit:
            over.append(text)
    said = f"at most {limit:.0f} a crash by the settings"
    return Finding("billed again, and the bound", said, not over, tuple(notes))


def _tasks(books: Books) -> Finding:
    """A task whose id was recorded is never submitted again."""
    history = books.history
    recorded = {(one.place, one.task_id): one.at for one in history.recorded}
    wrong = []
    twice = 0
    for tag, calls in books.billed.items():
        if tag not in books.by_tag:
            continue
        submits = [call for call in calls if call.operation == _SUBMIT]
        for first, second in pairwise(submits):
            twice += 1
            one = books.by_tag[tag]
            at = recorded.get((one.place, first.task_id or ""))
            if at is not None and at < second.asked - 0.005:
                wrong.append(
                    f"{one.event_id}: task {first.task_id} was recorded at {clock(history, at)}, and "
                    f"submitted again at {clock(history, second.asked)}"
                )
    submitted = sum(call.billed and call.operation == _SUBMIT for call in history.calls)
    return found("tasks submitted again", wrong, f"{twice} of {submitted}, none whose id was recorded")
