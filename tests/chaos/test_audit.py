"""Tests of the audit on made-up histories: what holds is said to hold, and each broken promise is found by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chaos.audit import audit, report
from chaos.history import Call, Commit, Exit, Happening, History, Input, Outcome, Recorded, Stall, Terms
from consumer.engine.offset_map import OffsetMap


if TYPE_CHECKING:
    from chaos.finding import Finding
    from chaos.history import Guarantee, Order


TEXT, SUBMIT = "TextModerationPlus", "MultimodalAsyncModeration"


def event(offset: int, **more: Any) -> Input:
    """An event of partition 0 with key k."""
    return Input((0, offset), b"k", b"{}", event_id=f"e{offset}", tag=f"e{offset:07d}x", **more)


def call(offset: int, asked: float, member: str = "m1", **more: Any) -> Call:
    """A billed call for the event at an offset, answered after 50 ms."""
    name = more.pop("request_id", f"r{offset}-{asked:g}")
    values: dict[str, Any] = {"answered": asked + 0.05, "code": "200", "units": {"text_llm_standard": 1}, **more}
    return Call(name, member, asked, operation=values.pop("operation", TEXT), tags=(f"e{offset:07d}x",), **values)


def verdict(offset: int, at: float, *calls: Call, **more: Any) -> Outcome:
    """The verdict on it, out of these calls."""
    units = {"text_llm_standard": len(calls)} if calls else {}
    values: dict[str, Any] = {"where": ("verdicts", 0, int(at * 100)), "action": "pass", "units": units, **more}
    ids = tuple(one.request_id for one in calls)
    return Outcome("verdict", (0, offset), at=at, key=b"k", event_id=f"e{offset}", request_ids=ids, **values)


def letter(offset: int, at: float, value: bytes = b"{broken") -> Outcome:
    return Outcome("dead letter", (0, offset), ("letters", 0, offset), at, b"k", value=value)


def history(**more: Any) -> History:
    """Three events and one malformed record, each with its outcome, committed 0.1 s later; nothing went wrong."""
    calls = tuple(call(offset, 10.0 + offset) for offset in range(3))
    values: dict[str, Any] = {
        "terms": Terms(guarantee="exactly_once", order="key"),
        "inputs": (*map(event, range(3)), Input((0, 3), b"k", b"{broken")),
        "outcomes": (*(verdict(n, 10.1 + n, calls[n]) for n in range(3)), letter(3, 13.1)),
        "calls": calls,
        "commits": tuple(Commit(10.2 + n, 0, n + 1) for n in range(4)),
        "starts": (("m1", 1.0), ("m2", 1.0)),
        "exits": (Exit("m1", 20.0, 0, asked=True, seconds=0.5),),
        **more,
    }
    return History(**values)


GOOD = history()


def broken(one: History) -> dict[str, Finding]:
    """What does not hold, by name."""
    return {each.name: each for each in audit(one) if not each.holds}


def test_a_good_history_holds() -> None:
    """With each record's one outcome, in order and paid once, every line holds, and the text marks none."""
    assert broken(GOOD) == {}
    text = report(audit(GOOD))
    assert "NOT" not in text
    assert "4: 1 of them malformed, 0 without a value" in text
    assert "3 units billed by 3 calls" in text


def without(outcomes: tuple[Outcome, ...], offset: int) -> tuple[Outcome, ...]:
    return tuple(one for one in outcomes if one.place != (0, offset))


FIRST, SECOND, THIRD = GOOD.calls
CASES: dict[str, tuple[str, History, str]] = {
    "no outcome": ("lost", replace(GOOD, outcomes=without(GOOD.outcomes, 1)), "0@1 (e1)"),
    "null as a dead letter": (
        "lost",
        replace(
            GOOD, inputs=(*GOOD.inputs, Input((0, 4), b"k", None)), terms=replace(GOOD.terms, on_null="dead_letter")
        ),
        "0@4 (malformed)",
    ),
    "null that was judged": (
        "outcomes of nothing",
        replace(GOOD, inputs=(*GOOD.inputs, Input((0, 4), b"k", None)), outcomes=(*GOOD.outcomes, letter(4, 14.0))),
        "0@4",
    ),
    "both kinds": ("of two kinds", replace(GOOD, outcomes=(*GOOD.outcomes, letter(1, 14.0, b"{}"))), "0@1"),
    "a good one buried": (
        "of the wrong kind, or changed",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), letter(1, 11.1, b"{}"))),
        "became a dead letter",
    ),
    "a malformed one judged": (
        "of the wrong kind, or changed",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 3), verdict(3, 13.1, action="review"))),
        "became a verdict",
    ),
    "somebody else's verdict": (
        "of the wrong kind, or changed",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), replace(GOOD.outcomes[1], event_id="e2"))),
        "has the verdict of e2",
    ),
    "other bytes": (
        "of the wrong kind, or changed",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 3), letter(3, 13.1, b"{brokem"))),
        "other bytes",
    ),
    "another key": (
        "of the wrong kind, or changed",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), replace(GOOD.outcomes[1], key=b"other"))),
        "another key",
    ),
    "from nowhere": (
        "outcomes of nothing",
        replace(GOOD, outcomes=(*GOOD.outcomes, replace(GOOD.outcomes[0], place=(0, 99)))),
        "0@99",
    ),
    "twice": ("duplicates", replace(GOOD, outcomes=(*GOOD.outcomes, verdict(1, 14.0, SECOND))), "0@1 at 14.00 s"),
    "out of order": (
        "out of order",
        replace(
            GOOD,
            outcomes=(*without(GOOD.outcomes, 1), replace(GOOD.outcomes[1], where=("verdicts", 0, 9999))),
        ),
        "0@2 left before 0@1",
    ),
    "committed first": (
        "committed before written",
        replace(GOOD, commits=(Commit(11.05, 0, 2), *GOOD.commits)),
        "0@1 was committed 50 ms before",
    ),
    "committed by its map first": (
        "committed before written",
        replace(GOOD, commits=(Commit(11.05, 0, 0, OffsetMap(2, [0])), *GOOD.commits)),
        "0@1 was committed 50 ms before",
    ),
    "a commit that goes back": (
        "commits taken back",
        replace(GOOD, commits=(*GOOD.commits, Commit(14.0, 0, 1, OffsetMap(3, [1])))),
        "0@1 was done",
    ),
    "a map that forgets": (
        "commits taken back",
        replace(GOOD, commits=(Commit(12.5, 0, 1, OffsetMap(3, [1])), Commit(12.6, 0, 1))),
        "0@2 was done",
    ),
    "a risk that passed": (
        "passed unjudged",
        replace(GOOD, inputs=(event(0, risky=True), *GOOD.inputs[1:])),
        "is risky, and passed",
    ),
    "passed on another's answer": (
        "passed unjudged",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), verdict(1, 11.1, FIRST))),
        "no call for it was judged",
    ),
    "paid and gone": ("payments", replace(GOOD, calls=(*GOOD.calls, call(1, 11.5))), "r1-11.5"),
    "another sum": (
        "payments",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), verdict(1, 11.1, SECOND, units={"text_llm_standard": 2}))),
        "0@1 says {'text_llm_standard': 2}",
    ),
    "paid, and said to be known": (
        "payments",
        replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), verdict(1, 11.1, SECOND, units={}, known=True))),
        "0@1 says {}, and was billed {'text_llm_standard': 1}",
    ),
    "called after its commit": (
        "billed again after its commit",
        replace(GOOD, calls=(*GOOD.calls, call(1, 30.0, "m2"))),
        "e1: done at 11.20 s, called at 30.00 s",
    ),
    "called again without a fault": (
        "billed again for no reason",
        replace(GOOD, calls=(call(1, 10.5), *GOOD.calls)),
        "e1: answered at 10.55 s to m1",
    ),
    "called again after a planned stop": (
        "billed again after an orderly hand-over",
        replace(
            GOOD,
            terms=Terms(),
            calls=(call(1, 9.0, "m2"), *GOOD.calls),
            happenings=(Happening("stop", "m2", 9.2, 9.4),),
        ),
        "m2 had its answer at 9.05 s",
    ),
    "two owners": (
        "calls of who is not the owner",
        replace(GOOD, calls=(FIRST, replace(SECOND, member="m2"), replace(THIRD, asked=11.5, answered=11.6))),
        "m1 called for e0000002x at 11.50 s, 500 ms after m2",
    ),
    "over the quota": (
        "over the quota",
        replace(GOOD, calls=(*GOOD.calls, call(1, 11.2, refused=True, units={}, code="588"))),
        "m1 at 11.20 s",
    ),
    "a stop that fails": (
        "stops that went wrong",
        replace(GOOD, exits=(Exit("m1", 20.0, 1, asked=True),)),
        "m1 ended with 1",
    ),
    "a stop that takes long": (
        "stops that went wrong",
        replace(GOOD, exits=(Exit("m1", 50.0, 0, asked=True, seconds=25.0),)),
        "after 25.0 s",
    ),
    "an end by itself": (
        "processes that ended by themselves",
        replace(GOOD, exits=(Exit("m1", 20.0, 70, asked=False),)),
        "m1 with 70 at 20.00 s",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_promise_is_found(case: str) -> None:
    """Each way of breaking a promise is found under its own name, with the place."""
    name, one, said = CASES[case]
    found = broken(one)
    assert name in found
    assert any(said in note for note in found[name].notes), found[name].notes


@pytest.mark.parametrize(("guarantee", "held"), [("at_least_once", True), ("exactly_once", False)])
def test_a_duplicate_after_a_crash_is_allowed_at_least_once(guarantee: Guarantee, held: bool) -> None:  # noqa: FBT001
    """A verdict that was written again after a kill is no fault, unless each was promised once."""
    again = call(2, 20.0, "m2")
    one = history(
        terms=Terms(guarantee=guarantee),
        calls=(*GOOD.calls, again),
        outcomes=(*GOOD.outcomes, verdict(2, 20.1, again)),
        commits=(*GOOD.commits[:2], Commit(20.2, 0, 4)),
        happenings=(Happening("kill", "m1", 12.15, 19.0),),
    )
    assert ("duplicates" not in broken(one)) is held


def test_what_waits_for_an_earlier_event_may_be_billed_again() -> None:
    """At a planned stop an answer that the order holds back behind a pending event is lost, and told apart."""
    first, again = call(1, 10.0), call(1, 20.0, "m2")
    one = history(
        terms=Terms(order="partition"),
        inputs=(event(0), event(1)),
        outcomes=(verdict(0, 20.5, call(0, 9.0)), verdict(1, 20.6, again)),
        calls=(call(0, 9.0), first, again),
        commits=(Commit(20.7, 0, 2),),
        happenings=(Happening("stop", "m1", 12.0, 19.0),),
    )
    assert broken(one) == {}
    assert "0, but for 1 that had to wait for an earlier event" in report(audit(one))
    assert list(broken(replace(one, terms=Terms()))) == ["billed again after an orderly hand-over"]


def test_an_earlier_event_that_was_written_twice_is_waited_for_until_the_second_time() -> None:
    """What a killed owner wrote of the earlier event does not say when the next owner's answers could leave."""
    first, again, task = call(1, 14.0, "m2"), call(1, 20.0, "m3"), call(0, 9.0)
    one = history(
        terms=Terms(order="partition"),
        inputs=(event(0), event(1)),
        outcomes=(verdict(0, 11.0, task), verdict(0, 20.5, task), verdict(1, 20.6, again)),
        calls=(task, first, again),
        commits=(Commit(20.7, 0, 2),),
        happenings=(Happening("kill", "m1", 12.0, 19.0), Happening("stop", "m2", 15.0, 19.0)),
    )
    assert "billed again after an orderly hand-over" not in broken(one)


def test_a_process_that_found_no_broker_is_no_stop_that_went_wrong() -> None:
    """One that could not start for want of brokers ends with 69, also where it was asked to stop in that moment."""
    without = Exit("m3", 14.0, 69, asked=True, ran=False, seconds=0.0)
    down = Happening("kill brokers", None, 5.0, 19.0)
    assert "stops that went wrong" not in broken(history(exits=(without,), happenings=(down,)))
    assert "stops that went wrong" in broken(history(exits=(without,)))


def test_an_answer_whose_first_verdict_was_lost_is_used_once_more() -> None:
    """An event that is judged again after a failed transaction, by an answer that is known, was paid once."""
    again = verdict(1, 11.1, SECOND, units={}, known=True)
    cut = Happening("cut", "m1", 11.02, 11.5, "all brokers")
    assert not broken(replace(GOOD, outcomes=(*without(GOOD.outcomes, 1), again), happenings=(cut,)))


def test_a_verdict_that_waited_for_its_turn_may_be_lost_long_after_its_answer() -> None:
    """An answer is used once more, too, where its verdict stood behind an earlier event when partitions moved."""
    late = (verdict(1, 14.0, SECOND, units={}, known=True), verdict(2, 14.1, THIRD))
    moved = Happening("stop", "m2", 13.0, 13.5)
    one = replace(GOOD, outcomes=(GOOD.outcomes[0], *late, letter(3, 14.2)), commits=(Commit(14.3, 0, 4),))
    assert "payments" not in broken(replace(one, happenings=(moved,)))
    assert "payments" in broken(one)


def test_what_a_crash_costs_is_counted() -> None:
    """Calls on the wire and answers that were not committed may be billed again, and are told apart."""
    killed = Happening("kill", "m1", 12.02, 19.0)
    again = (call(1, 20.0, "m2"), call(2, 20.0, "m2"))
    one = history(
        calls=(*GOOD.calls, *again),
        outcomes=(GOOD.outcomes[0], verdict(1, 20.1, again[0]), verdict(2, 20.2, again[1]), letter(3, 20.3)),
        commits=(GOOD.commits[0], Commit(20.4, 0, 4)),
        happenings=(killed,),
    )
    assert broken(one) == {}
    text = report(audit(one))
    assert "kill m1 at 12.02 s: 1 answered and not committed, the oldest 970 ms before, 1 on the wire or called" in text
    assert "kill m1 at 12.02 s: 2 billed again; 1 were on the wire, 1 answered and not committed" in text


def test_more_than_a_crash_can_cost_is_found() -> None:
    """A flood of events that are billed again after a crash is beyond what the settings allow."""
    offsets = range(40)
    first = tuple(call(n, 12.0) for n in offsets)
    again = tuple(call(n, 20.0, "m2") for n in offsets)
    one = history(
        terms=Terms(max_in_flight=4, text_per_second=10),
        inputs=tuple(map(event, offsets)),
        outcomes=tuple(verdict(n, 20.1, again[n]) for n in offsets),
        calls=(*first, *again),
        commits=(Commit(20.2, 0, 40),),
        happenings=(Happening("kill", "m1", 12.02, 19.0),),
    )
    assert list(broken(one)) == ["billed again, and the bound"]


@pytest.mark.parametrize("order", ["key", "partition", "unordered"])
def test_order_is_held_against_what_was_promised(order: Order) -> None:
    """Verdicts of different keys may change places unless the partition's order was promised."""
    calls = (call(0, 10.0), call(1, 10.0))
    swapped = (
        replace(verdict(0, 10.2, calls[0]), key=b"a"),
        replace(verdict(1, 10.1, calls[1]), key=b"b"),
    )
    one = history(
        terms=Terms(order=order),
        inputs=(replace(event(0), key=b"a"), replace(event(1), key=b"b")),
        outcomes=swapped,
        calls=calls,
        commits=(Commit(10.3, 0, 2),),
    )
    assert list(broken(one)) == (["out of order"] if order == "partition" else [])


def test_an_answer_that_was_spoilt_is_paid_again() -> None:
    """A call whose billed answer the service lost may be made again, and its units are in no verdict."""
    spoilt = call(1, 10.5, fault="garbage", code="garbage")
    one = replace(GOOD, calls=(spoilt, *GOOD.calls))
    assert broken(one) == {}
    assert "0 for faults of ours, 1 for answers that the service spoilt" in report(audit(one))


@pytest.mark.parametrize(("at", "held"), [(12.3, False), (40.0, True)])
def test_a_recorded_task_is_never_submitted_again(at: float, held: bool) -> None:  # noqa: FBT001
    """After a kill a task may be submitted again only if its id had not been recorded."""
    first = call(2, 12.0, operation=SUBMIT, task_id="T1")
    again = call(2, 20.0, "m2", operation=SUBMIT, task_id="T2")
    one = history(
        calls=(*GOOD.calls[:2], first, again),
        outcomes=(*GOOD.outcomes[:2], verdict(2, 20.1, again, task_id="T2"), letter(3, 20.3)),
        commits=(*GOOD.commits[:2], Commit(20.4, 0, 4)),
        recorded=(Recorded(at, (0, 2), "T1"),),
        happenings=(Happening("kill", "m1", 12.02, 19.0),),
    )
    assert ("tasks submitted again" not in broken(one)) is held


def test_a_refusal_is_no_fault_of_the_consumer_while_the_machine_stands_still() -> None:
    """Calls that were sent in time arrive together after a stall of the whole machine; the audit says so."""
    refused = call(1, 11.2, refused=True, units={}, code="588")
    one = replace(GOOD, calls=(*GOOD.calls, refused), stalls=(Stall(11.0, 0.4),))
    assert broken(one) == {}
    assert "1 refused, 1 of them after this machine stood still" in report(audit(one))


def test_a_start_without_any_broker_may_end() -> None:
    """A process that can reach no broker at its start ends with 69, and somebody starts it again."""
    down = Happening("kill brokers", None, 18.0, 25.0, "everybody")
    end = Exit("m1", 20.0, 69, asked=False, ran=False)
    assert broken(replace(GOOD, exits=(end,), happenings=(down,))) == {}
    assert list(broken(replace(GOOD, exits=(end,)))) == ["processes that ended by themselves"]
