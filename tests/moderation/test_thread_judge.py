"""Events of a thread are judged together, and each by what stands at its own place; nothing harms the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from consumer.errors import ContentRefused, LaneClosed, NoAnswer, RouteError
from consumer.event import Author, Event, Image, OssObject
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.tasks.task import Place
from consumer.routing import Route
from consumer.settings.models import Threads
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import TEXT, Claim, Rig, answer
from tests.moderation.thread_world import POST, PROFILE, World, event
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.moderation.tasks.task import Task
    from tests.moderation.support import Reply


def judge(world: World, *events: Event, claims: list[Claim] | None = None) -> list[Judgement | BaseException]:
    """What each of these, arriving at once, comes to."""

    async def main() -> list[Judgement | BaseException]:
        owned = claims or [Claim(offset) for offset in range(len(events))]
        async with world.running():
            works = (world.one(one, claim) for one, claim in zip(events, owned, strict=True))
            return await asyncio.gather(*works, return_exceptions=True)

    return run(main())


def one(world: World, event: Event) -> Judgement:
    (judged,) = judge(world, event)
    assert isinstance(judged, Judgement)
    return judged


def labels(judged: Judgement | BaseException) -> list[str]:
    assert isinstance(judged, Judgement)
    return [label.label for label in judged.labels]


POST_AND_COMMENTS = (
    event(0, "post", thread="t"),
    event(1, thread="t", parent="e0"),
    event(2, thread="t", parent="e1"),
    event(3, thread="t", images=2),
)


def test_a_thread_is_one_task() -> None:
    """A post and its comments cost one submission, each has its own labels, and the bill is in one verdict only."""
    world = World()
    claims = [Claim(offset) for offset in range(4)]
    judged = judge(world, *POST_AND_COMMENTS, claims=claims)
    assert world.accepted == [["e0", "e1", "e2", "e3"]]
    assert [labels(one) for one in judged] == [["is_e0"], ["is_e1"], ["is_e2"], ["is_e3"]]
    for one in judged:
        assert isinstance(one, Judgement)
        assert (one.source, one.task_id, one.attempts, one.risk_level) == ("thread", "T-1", 1, RiskLevel.HIGH)
        assert (one.services, one.request_ids, one.reason) == ((POST.name,), ("R-200",), None)
    bills = [
        [(bill.moderation_type, bill.units) for bill in one.billed] for one in judged if isinstance(one, Judgement)
    ]
    assert bills == [[("text_llm_standard", 1), ("image_vl_standard", 2)], [], [], []]
    assert [(claim.begun, claim.ended, claim.parkings, claim.parked) for claim in claims] == [(1, [True], 1, False)] * 4
    assert world.rig.metric("batched_events_total", service=POST.name) == 4
    assert world.rig.metric("saved_units_total", how="thread", moderation_type="text_llm_standard") == 3
    assert world.rig.metric("batch_wait_seconds_sum", service=POST.name) == pytest.approx(1.02)


def test_an_event_without_a_thread_is_judged_alone_at_once() -> None:
    """What belongs to no thread waits for nobody."""
    world = World()
    judged = judge(world, event(1), event(2))
    assert world.accepted == [["e1"], ["e2"]]
    assert [one.source for one in judged if isinstance(one, Judgement)] == ["service", "service"]
    assert world.rig.service.times[:2] == [0, 0]


def test_a_window_of_no_time_sends_each_event_by_itself() -> None:
    """Where no waiting is configured, each event is its own task."""
    world = World(threads=Threads(max_age_seconds=0))
    judge(world, *POST_AND_COMMENTS)
    assert world.sent() == [["e0"], ["e1"], ["e2"], ["e3"]]


def test_profiles_are_never_judged_together() -> None:
    """A profile is judged by its nickname, description and avatar, alone, whatever thread it names."""
    world = World()
    profiles = [
        Event(f"e{number}", "profile", title=f"e{number}", author=Author(nickname=f"e{number}"), thread="t")
        for number in range(2)
    ]

    async def main() -> list[Judgement]:
        async with world.running(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(world.one(one, Claim(at), PROFILE)) for at, one in enumerate(profiles)]
        return [task.result() for task in tasks]

    assert [labels(one) for one in run(main())] == [["is_e0"], ["is_e1"]]
    assert world.accepted == [["e0"], ["e1"]]


def test_an_overlong_event_is_judged_in_pieces() -> None:
    """A post longer than any call is judged by several of its own, and its verdict has what was found in all."""
    world = World()
    judged = one(world, event(7, "post", characters=12_000, images=35, thread="t"))
    assert world.accepted == [["e7"]] * 3
    assert world.faults == []
    assert set(labels(judged)) == {"is_e7"}
    assert (judged.attempts, judged.source) == (3, "service")
    assert sum(bill.units for bill in judged.billed if bill.moderation_type == "image_vl_standard") == 35


def test_a_refused_event_is_found_by_halving() -> None:
    """A call that is refused for one of its events is halved until that one stands alone; the others are judged."""
    world = World(failure=lambda names: answer(400) if "e5" in names else None)
    judged = judge(world, *(event(number, thread="t") for number in range(8)))
    refused = judged[5]
    assert isinstance(refused, ContentRefused)
    assert (refused.reason, refused.attempts) == ("400", 4)
    assert [labels(one) for one in judged if one is not refused] == [[f"is_e{at}"] for at in range(8) if at != 5]
    assert world.accepted == [["e0", "e1", "e2", "e3"], ["e4"], ["e6", "e7"]]
    assert [one.attempts for one in judged if isinstance(one, Judgement)] == [2, 2, 2, 2, 4, 3, 3]


def test_an_unusable_image_never_joins_the_others() -> None:
    """An event with an image that the service cannot take is refused before anything is sent for it."""
    world = World()
    bad = Event("e9", "comment", text="e9", images=(Image("ftp://h/e9.jpg"),), thread="t")
    judged = judge(world, event(1, thread="t"), bad)
    assert isinstance(judged[1], ContentRefused)
    assert world.accepted == [["e1"]]


def test_a_submission_that_comes_to_nothing_is_looked_at_by_people() -> None:
    """Where no task is named, all events of the call are unknown, with the reason."""
    world = World(failure=lambda _: answer(200))
    judged = judge(world, *POST_AND_COMMENTS)
    for one in judged:
        assert isinstance(one, Judgement)
        assert (one.risk_level, one.task_id, one.attempts) == (RiskLevel.UNKNOWN, None, 2)
        assert one.reason is not None
        assert "names no task" in one.reason


def test_a_task_without_a_result_is_looked_at_by_people() -> None:
    """A task that does not end within its deadline makes its events unknown, with the reason and what they cost."""
    world = World(takes_seconds=10**9)
    judged = one(world, event(1, thread="t"))
    assert judged.risk_level is RiskLevel.UNKNOWN
    assert judged.reason == f"{POST.name}: no result of task T-1 within 86400 s"
    assert len(judged.billed) == 1


def test_a_lost_claim_leaves_the_call() -> None:
    """An event whose partition went away while it waited is not submitted, and the others are."""
    world = World()
    claims = [Claim(offset) for offset in range(4)]

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.create_task(world.one(*pair)) for pair in zip(POST_AND_COMMENTS, claims, strict=True)]
            await asyncio.sleep(0.1)
            claims[0].held = False
            return await asyncio.gather(*works, return_exceptions=True)

    judged = run(main())
    assert isinstance(judged[0], LaneClosed)
    assert [labels(one) for one in judged[1:]] == [["is_e1"], ["is_e2"], ["is_e3"]]
    assert world.submissions == [["e1", "e2", "e3"]]
    assert claims[0].begun == 0


@pytest.mark.parametrize("at", [0.1, 0.27, 0.31, 20.0])
def test_a_cancelled_event_harms_no_other(at: float) -> None:
    """An event that is given up leaves its call before the submission, and is ignored after; the others are judged."""
    world = World()

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.create_task(world.one(one, Claim(offset))) for offset, one in enumerate(POST_AND_COMMENTS)]
            await asyncio.sleep(at)
            works[0].cancel()
            return await asyncio.gather(*works, return_exceptions=True)

    judged = run(main())
    assert isinstance(judged[0], asyncio.CancelledError)
    assert [labels(one) for one in judged[1:]] == [["is_e1"], ["is_e2"], ["is_e3"]]
    assert world.submissions == [["e1", "e2", "e3"] if at < 0.25 else ["e0", "e1", "e2", "e3"]]


def test_an_event_that_leaves_while_its_call_waits_for_a_token_is_not_sent() -> None:
    """An event that is given up at the gate leaves the call, which is made anew for the others and sent once."""
    world = World(token_seconds=5)

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.create_task(world.one(one, Claim(offset))) for offset, one in enumerate(POST_AND_COMMENTS)]
            await asyncio.sleep(2)
            works[0].cancel()
            return await asyncio.gather(*works, return_exceptions=True)

    judged = run(main())
    assert [labels(one) for one in judged[1:]] == [["is_e1"], ["is_e2"], ["is_e3"]]
    assert world.submissions == [["e1", "e2", "e3"]]


def test_a_call_for_nobody_does_not_take_the_probe_of_a_hold() -> None:
    """While the account is held, a call whose event was given up does not stand in the way of the others."""
    world = World(failure=lambda _: answer(408) if len(world.submissions) <= 2 else None)

    async def main() -> Judgement:
        async with world.running():
            first, second = (asyncio.create_task(world.one(event(number), Claim(number))) for number in (1, 2))
            await asyncio.sleep(5)
            first.cancel()
            return await second

    assert labels(run(main())) == ["is_e2"]
    assert world.rig.service.times[:3] == [0, 0, pytest.approx(30.05)]


def test_a_submission_for_nobody_is_ended() -> None:
    """When all its events were given up while it waits for its next try, nothing more is sent."""
    world = World(failure=lambda _: NoAnswer("reset"))

    async def main() -> None:
        async with world.running():
            works = [asyncio.create_task(world.one(one, Claim(offset))) for offset, one in enumerate(POST_AND_COMMENTS)]
            await asyncio.sleep(5)
            for work in works:
                work.cancel()
            await asyncio.sleep(1)
            sent = len(world.submissions)
            await asyncio.sleep(100)
            assert len(world.submissions) == sent

    run(main())


def test_what_was_submitted_for_nobody_is_remembered() -> None:
    """When its events are given up while their submission is on the wire, it is recorded all the same: it is paid."""
    world = World()

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.create_task(world.one(one, Claim(offset))) for offset, one in enumerate(POST_AND_COMMENTS)]
            await asyncio.sleep(0.27)
            for work in works:
                work.cancel()
            await asyncio.sleep(1)
        async with world.running():
            again = (world.one(one, Claim(offset)) for offset, one in enumerate(POST_AND_COMMENTS))
            return await asyncio.gather(*again, return_exceptions=True)

    judged = run(main())
    assert [labels(one) for one in judged] == [["is_e0"], ["is_e1"], ["is_e2"], ["is_e3"]]
    assert len(world.submissions) == 1


def test_a_task_is_recorded_though_nobody_waits_for_it_any_more() -> None:
    """When its events are given up while their task is being recorded, the record is made all the same."""

    class SlowStore(MemoryTaskStore):
        async def remember(self, tasks: Sequence[Task]) -> None:
            await asyncio.sleep(5)
            await super().remember(tasks)

    world = World()
    world.store = SlowStore()

    async def main() -> None:
        async with world.running():
            work = asyncio.create_task(world.one(event(1), Claim(1)))
            await asyncio.sleep(1)
            work.cancel()
            await asyncio.sleep(10)

    run(main())
    assert len(world.store) == 1


def test_a_restart_submits_nothing_again() -> None:
    """After a restart an event waits for the task it had; its verdict says the same as it would have said before."""
    world = World(takes_seconds=100)
    fresh = judge(World(takes_seconds=100), *POST_AND_COMMENTS)

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.create_task(world.one(one, Claim(offset))) for offset, one in enumerate(POST_AND_COMMENTS)]
            await asyncio.sleep(50)
            for work in works:
                work.cancel()
        async with world.running():
            again = (world.one(one, Claim(offset)) for offset, one in enumerate(POST_AND_COMMENTS))
            return await asyncio.gather(*again, return_exceptions=True)

    assert run(main()) == fresh
    assert world.submissions == [["e0", "e1", "e2", "e3"]]
    assert world.rig.metric("tasks_resumed_total", service=POST.name) == 4


def test_what_is_committed_is_forgotten() -> None:
    """When its verdict is committed, nothing of an event's task is kept."""
    world = World()

    async def main() -> None:
        async with world.running() as judge:
            await world.one(event(1), Claim(1))
            assert len(world.store) == 1
            await ServiceJudge(world.rig.client, KNOWN, judge).forget([Place("events", 0, 1)])
            assert len(world.store) == 0

    run(main())


def test_a_fault_of_the_program_reaches_the_events_it_concerns() -> None:
    """An error that nobody expects comes out of the events of its call, and the judge goes on with others."""

    def failure(names: list[str]) -> Reply | None:
        return RuntimeError("a bug") if "e1" in names else None

    world = World(failure=failure)
    judged = judge(world, event(1, thread="t"), event(2, thread="t"), event(3))
    assert [type(one) for one in judged[:2]] == [RuntimeError, RuntimeError]
    assert labels(judged[2]) == ["is_e3"]


def test_a_task_reports_to_the_address_of_its_first_event() -> None:
    """The submission names where the result is to be reported, by the place of the main post's record, and a seed."""
    world = World()
    judge(world, *POST_AND_COMMENTS, claims=[Claim(offset) for offset in range(10, 14)])
    (submission,) = [request for request in world.rig.service.requests if not request.task_id]
    assert submission.parameters["callback"] == "https://callbacks.example/events/0/10"
    assert len(submission.parameters["seed"]) == 64


def test_local_images_are_placed_where_the_service_reads_them() -> None:
    """An image from a file is judged from the bucket it was put into."""
    local = Event("e1", "post", images=(Image(file="e1.jpg"),), thread="t")

    async def place(made: Event) -> Event:
        return replace(made, images=(Image(oss=OssObject("bucket", "e1.jpg", "cn-shanghai")),))

    assert labels(one(World(place=place), local)) == ["is_e1"]
    assert isinstance(judge(World(), local)[0], ContentRefused)


# Routes that mix media


MIXED = Route("mixed", (POST.name, TEXT.name))


def judge_by_route(world: World, made: Event, route: Route) -> Judgement:
    async def main() -> Judgement:
        async with world.running() as threads:
            return await ServiceJudge(world.rig.client, KNOWN, threads).judge(made, route, Claim(1))

    return run(main())


def test_a_short_answer_lets_nothing_pass_that_comes_again() -> None:
    """A comment that comes again, to an answer in which others are missing, is as unknown as it would have been."""
    label = {"Label": "violent", "RiskLevel": "high"}
    data = {"RiskLevel": "high", "MainData": {"Results": [label]}, "CommentDatas": [{"Results": []}]}
    world = World(result=data)

    async def main() -> list[Judgement]:
        async with world.running():
            claims = [Claim(number) for number in range(4)]
            events = [event(number, "comment" if number else "post", thread="t") for number in range(4)]
            works = [asyncio.create_task(world.one(one, claim)) for one, claim in zip(events, claims, strict=True)]
            while not claims[1].parked:
                await asyncio.sleep(0.1)
            works[1].cancel()
            await asyncio.wait({works[1]})
            again = await world.one(events[1], claims[1])
            return [again, await works[0]]

    again, post = run(main())
    assert (again.risk_level, post.risk_level) == (RiskLevel.UNKNOWN, RiskLevel.HIGH)
    assert len(world.submissions) == 1


def test_a_route_may_have_tasks_and_calls() -> None:
    """An event is judged by its task first, then by the other services, as far as they can; all is one judgement."""
    world = World()
    judged = judge_by_route(world, event(1, characters=20, images=2, thread="t"), MIXED)
    assert judged.services == (POST.name, TEXT.name)
    assert (judged.task_id, judged.attempts) == ("T-1", 2)
    assert [bill.moderation_type for bill in judged.billed] == [
        "text_llm_standard",
        "image_vl_standard",
        "text_llm_standard",
    ]
    assert [request.operation for request in world.rig.service.requests if not request.task_id] == [
        "MultimodalAsyncModeration",
        "TextModerationPlus",
    ]


def test_what_the_other_services_cannot_judge_is_left_to_the_task() -> None:
    """An image in a route with a text service is judged by the task alone, and not said to go unjudged."""
    world = World()
    judged = judge_by_route(world, event(1, images=1), MIXED)
    assert judged.services == (POST.name,)


def test_a_part_that_is_refused_beside_a_task_goes_to_people() -> None:
    """Where the task judges and another service refuses its part, what was found stays, and the event never passes."""
    world = World(failure=lambda names: answer(400) if names == ["text"] else None)
    judged = judge_by_route(world, event(1, thread="t"), MIXED)
    assert judged.risk_level is RiskLevel.HIGH
    assert judged.reason is not None
    assert f"{TEXT.name}: refused a part of this event with 400" in judged.reason


def test_a_task_that_is_refused_does_not_hide_what_others_find() -> None:
    """Where the task is refused and the text service judges, the event is not lost, and goes to people."""
    world = World(failure=lambda names: answer(400) if names != ["text"] else None)
    judged = judge_by_route(world, event(1, thread="t"), MIXED)
    assert judged.risk_level is RiskLevel.UNKNOWN
    assert judged.services == (POST.name, TEXT.name)


def test_a_service_of_tasks_needs_somebody_to_wait_for_them() -> None:
    """Without a judge of threads, a route with a multimodal service makes dead letters with the reason."""
    rig = Rig([])
    with pytest.raises(RouteError, match="judges by tasks"):
        run(ServiceJudge(rig.client, KNOWN).judge(event(1), MIXED, rig.claim))


def test_a_judge_that_is_closed_leaves_nobody_waiting() -> None:
    """When the judge is closed, events that still wait for their submission are told; a closed judge takes no more."""
    world = World()

    async def main() -> None:
        async with world.running():
            work = asyncio.create_task(world.one(event(1, thread="t"), Claim(1)))
            await asyncio.sleep(0.1)
        with pytest.raises(LaneClosed):
            await work
        with pytest.raises(LaneClosed):
            await world.one(event(2), Claim(2))

    run(main())
    assert world.submissions == []
