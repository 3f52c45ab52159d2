"""Tests of deadlines: who is late leaves at once and unpaid, and what was sent is never given up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import Event, Moderator
from consumer.errors import ContentRefused, LaneClosed
from consumer.metrics import Metrics
from consumer.moderation.deadline import Timely
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.services import KNOWN
from consumer.quota import Bucket
from consumer.record import Partition, Record
from consumer.routing import Route, Router
from consumer.simulator import Simulator, SimulatorSettings
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time
from tests.engine.memory import Cluster, ScriptedJudge, engine
from tests.moderation.support import TEXT, Claim, Rig, answer
from tests.moderation.thread_world import POST, World, event


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from consumer.engine.ports import Claim as AnyClaim
    from consumer.engine.ports import Judge


CHAT = Route("chat", ("dear",), deadline_seconds=3, on_deadline="cheap")
STRICT = Route("strict", ("dear",), deadline_seconds=3)
CHEAP = Route("cheap", ("plain",))
EVENT = Event("1", "message", text="the words of a user")


def aged(seconds: float = 0.0, offset: int = 0) -> Claim:
    """A claim whose record was written so long before the start of virtual time."""
    claim = Claim(offset)
    written = round((virtual_time.EPOCH - seconds) * 1000)
    claim.record = Record(Partition("events", 0), offset, written, None, b"{}")
    return claim


class Steps:
    """A judge that does as it is told, and notes by which routes it was asked, and when its work was ended."""

    def __init__(self, steps: Callable[[AnyClaim], Awaitable[None]]) -> None:
        self.steps = steps
        self.routes: list[str] = []
        self.ended_at: list[float] = []

    async def judge(self, event: Event, route: Route, claim: AnyClaim) -> Judgement:
        self.routes.append(route.name)
        try:
            await self.steps(claim)
        except asyncio.CancelledError:
            self.ended_at.append(now())
            raise
        return Judgement(RiskLevel.NONE, route.services)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


def timely(judge: Judge, metrics: Metrics | None = None, **more: Any) -> Timely:
    return Timely(judge, (CHAT, STRICT, CHEAP), clock=virtual_time.LoopClock(), metrics=metrics or Metrics(), **more)


def judged(
    steps: Callable[[AnyClaim], Awaitable[None]], claim: Claim | None = None, route: Route = STRICT
) -> tuple[Judgement, float, Steps]:
    """What an event comes to, when, and by whom."""

    async def main() -> tuple[Judgement, float]:
        return await timely(inner).judge(EVENT, route, claim or aged()), now()

    inner = Steps(steps)
    return *virtual_time.run(main()), inner


def waits(*seconds: float) -> Callable[[AnyClaim], Awaitable[None]]:
    """Wait, send, wait for the answer, and wait on; only what is given."""

    async def steps(claim: AnyClaim) -> None:
        for number, one in enumerate(seconds):
            if number == 1:
                claim.begin()
            await asyncio.sleep(one)
            if number == 1:
                claim.end(billed=True)

    return steps


def test_an_event_in_time_is_judged_by_its_route() -> None:
    """An event that is sent before its deadline is judged as if there were none."""
    claim = aged(1)
    judgement, at, inner = judged(waits(1.9, 0.2), claim)
    assert (judgement, at, inner.routes) == (Judgement(RiskLevel.NONE, ("dear",)), 2.1, ["strict"])
    assert (claim.begun, claim.ended) == (1, [True])


def test_a_late_event_goes_to_review_unpaid_and_says_why() -> None:
    """At its deadline an event that still waits is unknown, without attempts and bill, and names its route and age."""
    claim = aged(1)
    judgement, at, inner = judged(waits(100, 0.2), claim)
    assert (at, inner.ended_at, claim.begun) == (2.0, [2.0], 0)
    assert judgement == Judgement(
        RiskLevel.UNKNOWN, (), attempts=0, reason="route strict: 3.0 s old before it was sent; its deadline is 3 s"
    )


def test_an_event_that_comes_late_is_not_tried_at_all() -> None:
    """An event that is past its deadline when it is read waits for nothing."""
    judgement, at, inner = judged(waits(0, 0), aged(3600))
    assert (at, inner.routes, judgement.attempts) == (0.0, [], 0)
    assert judgement.reason == "route strict: 3600.0 s old before it was sent; its deadline is 3 s"


def test_a_late_event_goes_by_the_route_that_is_named() -> None:
    """Past its deadline an event is judged by the other route, however long that takes, and its judgement says so."""
    judgement, at, inner = judged(waits(100, 0.2), aged(1), CHAT)
    assert (inner.routes, inner.ended_at, at) == (["chat", "cheap"], [2.0], 102.2)
    assert judgement == Judgement(RiskLevel.NONE, ("plain",), route="cheap")


@pytest.mark.parametrize("written", [virtual_time.EPOCH + 3600, -0.001])
def test_an_event_from_the_future_or_without_a_time_is_as_old_as_its_wait(written: float) -> None:
    """Its whole deadline begins when its work does."""
    claim = aged()
    claim.record = replace(claim.record, timestamp=round(written * 1000))
    assert judged(waits(100), claim)[1] == 3.0


def test_a_request_on_the_wire_is_not_given_up() -> None:
    """An answer that comes after the deadline counts, if its request was sent before."""
    judgement, at, inner = judged(waits(2.9, 50))
    assert (judgement.risk_level, at, inner.ended_at) == (RiskLevel.NONE, 52.9, [])


def test_what_was_paid_for_is_not_given_up() -> None:
    """After an answer that was paid for, and was of no use, the event may wait for its next try as long as it takes."""
    judgement, at, _ = judged(waits(1, 1, 50))
    assert (judgement.risk_level, at) == (RiskLevel.NONE, 52.0)


@pytest.mark.parametrize(("fails_after", "leaves_at"), [(0.5, 3.0), (9.0, 10.0)])
def test_after_a_failure_that_costs_nothing_the_deadline_counts_again(fails_after: float, leaves_at: float) -> None:
    """An event whose request failed unpaid leaves at its deadline, or at once if that has passed meanwhile."""

    async def steps(claim: AnyClaim) -> None:
        await asyncio.sleep(1)
        claim.begin()
        await asyncio.sleep(fails_after)
        claim.end(billed=False)
        await asyncio.sleep(100)

    judgement, at, _ = judged(steps)
    assert (judgement.risk_level, at) == (RiskLevel.UNKNOWN, leaves_at)


def test_a_task_that_was_submitted_is_waited_for() -> None:
    """A wait that is recorded elsewhere, and parked, has no deadline."""

    async def steps(claim: AnyClaim) -> None:
        claim.park()
        await asyncio.sleep(100)
        claim.unpark()
        await asyncio.sleep(1)

    claim = aged()
    judgement, at, _ = judged(steps, claim)
    assert (judgement.risk_level, at, claim.parkings, claim.parked) == (RiskLevel.NONE, 101.0, 1, False)


def test_nothing_is_sent_after_a_stall_beyond_the_deadline() -> None:
    """A process that stood still until after the deadline sends nothing, though no timer has had its turn yet."""

    async def steps(claim: AnyClaim) -> None:
        assert claim.held
        virtual_time.freeze(5)
        assert not claim.held
        claim.begin()

    claim = aged()
    judgement, at, _ = judged(steps, claim)
    assert (judgement.risk_level, at, claim.begun) == (RiskLevel.UNKNOWN, 5.0, 0)


@pytest.mark.parametrize("seconds", [1, 4])
def test_a_lost_partition_is_no_lateness(seconds: float) -> None:
    """An event whose partition was revoked is left to its next owner, before the deadline and after it."""
    lost = aged()

    async def steps(claim: AnyClaim) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)
        lost.held = False
        claim.begin()

    with pytest.raises(LaneClosed):
        judged(steps, lost)


@pytest.mark.parametrize("error", [TimeoutError("not ours"), ContentRefused("never")])
def test_errors_of_the_judge_are_its_own(error: Exception) -> None:
    """What the judge raises is raised, a time-out of its own too."""

    async def steps(_: AnyClaim) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        judged(steps)


@settings(deadline=None, max_examples=60)
@given(cancelled_at=st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 90.0]), sent_at=st.sampled_from([1.0, 3.0, 100.0]))
def test_a_cancelled_wait_ends_as_cancelled_at_any_moment(cancelled_at: float, sent_at: float) -> None:
    """Whoever gives an event up never gets a judgement instead, not at the moment of the deadline either."""

    async def main() -> bool:
        work = asyncio.create_task(timely(Steps(waits(sent_at, 1))).judge(EVENT, CHAT, aged()))
        await asyncio.sleep(cancelled_at)
        if work.done():
            return True
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return work.cancelled()

    assert virtual_time.run(main())


STEP = st.tuples(
    st.sampled_from(["wait", "paid", "failed", "park"]), st.sampled_from([0.0, 0.5, 1.0, 1.7, 3.0, 4.0, 10.0])
)


@settings(deadline=None, max_examples=200)
@given(steps=st.lists(STEP, max_size=6), age=st.sampled_from([0.03, 1.03, 2.93, 3.0, 50.0]))
def test_what_is_kept_and_what_leaves_is_as_promised(steps: list[tuple[str, float]], age: float) -> None:
    """Whatever an event goes through, it leaves at the first moment past its deadline with nothing sent or paid."""
    left = 3 - age
    leaves_at = None if left > 0 else 0.0
    at, kept = 0.0, False
    for what, seconds in steps if left > 0 else ():
        if what != "wait" and not kept and at >= left:
            leaves_at = at
        if what in ("paid", "failed") and leaves_at is None:
            at += seconds
            kept = kept or what == "paid"
            if not kept and at > left:
                leaves_at = at
        elif leaves_at is None:
            kept = kept or what == "park"
            if not kept and at + seconds > left:
                leaves_at = max(at, left)
            at += seconds
        if leaves_at is not None:
            break

    async def go(claim: AnyClaim) -> None:
        for what, seconds in steps:
            if what in ("paid", "failed"):
                claim.begin()
                await asyncio.sleep(seconds)
                claim.end(billed=what == "paid")
                await asyncio.sleep(0)
            elif what == "park":
                claim.park()
                await asyncio.sleep(seconds)
                claim.unpark()
            else:
                await asyncio.sleep(seconds)

    async def main() -> tuple[Judgement, float]:
        return await timely(Steps(go)).judge(EVENT, STRICT, claim), now()

    claim = aged(age)
    judgement, ended_at = virtual_time.run(main())
    assert (judgement.risk_level is RiskLevel.UNKNOWN) == (leaves_at is not None)
    assert ended_at == pytest.approx(at if leaves_at is None else leaves_at)
    if leaves_at is not None:
        assert True not in claim.ended
        assert claim.begun == len(claim.ended)


def test_late_events_are_counted() -> None:
    """How many events were late is counted by their route and by where they went."""
    metrics = Metrics()

    async def main() -> None:
        judge = timely(Steps(waits(0, 0)), metrics)
        for route, age in ((CHAT, 9), (CHAT, 9), (STRICT, 9), (CHAT, 0)):
            await judge.judge(EVENT, route, aged(age))

    virtual_time.run(main())
    assert metrics.totals("late_events") == {("chat", "cheap"): 2, ("strict", "review"): 1}


@pytest.mark.parametrize("name", ["nowhere", "strict"])
def test_a_deadline_leads_to_a_route_without_one(name: str) -> None:
    """A route that is named for late events has to exist, and has no deadline of its own."""
    routes = (replace(CHAT, on_deadline=name), STRICT)
    with pytest.raises(ValueError, match=name):
        Timely(Steps(waits()), routes, clock=virtual_time.LoopClock(), metrics=Metrics())


# With the parts it stands before


def test_late_events_take_no_tokens() -> None:
    """Events that leave the queue of a bucket cost it nothing: the next caller has the very next token."""

    async def main() -> tuple[list[float], float]:
        bucket = Bucket(1, jitter_seconds=0.0, clock=virtual_time.LoopClock())

        async def ask(_: AnyClaim) -> None:
            await bucket.acquire("strict", 1)

        ends: list[float] = []

        async def one() -> None:
            await judge.judge(EVENT, STRICT, aged(0.5))
            ends.append(now())

        judge = timely(Steps(ask))
        events = [asyncio.create_task(one()) for _ in range(10)]
        await asyncio.sleep(2.6)
        await bucket.acquire()
        at = now()
        await asyncio.wait(events)
        return ends, at

    assert virtual_time.run(main()) == ([0.0, 1.0, 2.0, *[2.5] * 7], 3.0)


def test_a_call_that_fails_is_given_up_between_two_tries() -> None:
    """The real client's tries after refusals for the quota end at the deadline, and nothing is billed."""
    rig = Rig([answer(588)])
    metrics = rig.metrics
    route = Route("strict", (TEXT.name,), deadline_seconds=3)

    async def main() -> tuple[Judgement, float]:
        judge = Timely(ServiceJudge(rig.client, KNOWN), (route,), clock=virtual_time.LoopClock(), metrics=metrics)
        return await judge.judge(EVENT, route, aged()), now()

    judgement, at = virtual_time.run(main())
    assert (judgement.risk_level, judgement.billed, at) == (RiskLevel.UNKNOWN, (), 3.0)
    assert len(rig.service.requests) >= 2
    assert metrics.totals("late_events") == {("strict", "review"): 1}


def threads(
    world: World, route: Route, use: Callable[[Timely], Coroutine[Any, Any, list[Judgement]]]
) -> list[Judgement]:
    """What events of a route of threads come to."""

    async def main() -> list[Judgement]:
        async with world.running() as judge:
            services = ServiceJudge(world.rig.client, KNOWN, judge)
            clock, metrics = virtual_time.LoopClock(), world.rig.metrics
            return await use(Timely(services, (route,), clock=clock, metrics=metrics, submitted=services.submitted))

    return virtual_time.run(main())


def test_a_late_event_leaves_its_thread_and_the_others_stay() -> None:
    """Of events that gather for one call the late one leaves in time, and the call goes on without it."""
    route = Route("threads", (POST.name,), deadline_seconds=3)

    async def use(judge: Timely) -> list[Judgement]:
        ages = (2.9, 0, 1)
        return await asyncio.gather(
            *(judge.judge(event(n, thread="t"), route, aged(age, n)) for n, age in enumerate(ages))
        )

    world = World()
    late, *others = threads(world, route, use)
    assert (late.risk_level, late.attempts, late.billed) == (RiskLevel.UNKNOWN, 0, ())
    assert world.accepted == [["e1", "e2"]]
    assert [[label.label for label in one.labels] for one in others] == [["is_e1"], ["is_e2"]]


@pytest.mark.parametrize("characters", [0, 9000])
def test_a_task_from_before_a_restart_is_waited_for_however_old_its_event_is(characters: int) -> None:
    """An event that was submitted and is read again after its deadline has its task's result, and is not paid again."""
    route = Route("threads", (POST.name,), deadline_seconds=3)
    world = World()

    async def killed(judge: Timely) -> list[Judgement]:
        work = asyncio.create_task(judge.judge(event(1, "post", characters=characters), route, aged()))
        await asyncio.sleep(20)
        work.cancel()
        return []

    threads(world, route, killed)
    submissions = len(world.accepted)

    async def again(judge: Timely) -> list[Judgement]:
        await asyncio.sleep(20)
        return [await judge.judge(event(1, "post", characters=characters), route, aged())]

    (judgement,) = threads(world, route, again)
    assert {label.label for label in judgement.labels} == {"is_e1"}
    assert len(world.accepted) == submissions > 0


def test_the_verdict_and_its_metric_name_the_route_that_judged() -> None:
    """What is written and counted for an event that went another way names that way."""
    cluster, metrics = Cluster(), Metrics()
    cluster.fill(3)
    routes = (Route("all", ("service",), deadline_seconds=60, on_deadline="cheap"), Route("cheap", ("plain",)))
    inner = ScriptedJudge()

    async def main() -> None:
        judge = Timely(inner, routes, clock=virtual_time.LoopClock(), metrics=metrics)
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(1, stop.set)
        await engine(cluster, judge, router=Router(routes), metrics=metrics).run(stop)

    virtual_time.run(main())
    written = [orjson.loads(out.value) for out in cluster.written]
    assert [(one["route"], one["services"], one["action"]) for one in written] == [("cheap", ["plain"], "pass")] * 3
    assert metrics.totals("verdicts") == {("cheap", "none", "pass"): 3}


def test_an_embedded_moderator_keeps_deadlines() -> None:
    """With one token a second and a deadline of 0.3 s, of three events at once one is judged and two are for people."""

    async def main() -> None:
        async with Simulator(SimulatorSettings()) as simulator:
            own = {
                "moderation": {
                    "endpoint": simulator.url,
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
                "quota": {"text_per_second": 1},
                "routes": [{"name": "chat", "services": ["ugc_moderation_byllm"], "deadline_seconds": 0.3}],
            }
            async with Moderator.from_settings(own, {}) as moderator:
                events = [Event(str(n), "message", text=f"What a lovely garden {n}") for n in range(3)]
                found = await asyncio.gather(*(moderator.moderate(one) for one in events))
            assert sorted((one.action, one.route, len(one.billed)) for one in found) == [
                ("pass", "chat", 1),
                ("review", "chat", 0),
                ("review", "chat", 0),
            ]
            assert simulator.ledger.billed_calls == 1

    asyncio.run(main())
