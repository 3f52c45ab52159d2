"""Tasks are submitted until they are accepted, and asked for until they are found, by the rules that calls have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from consumer.errors import CallError, ContentRefused, LaneClosed, NoAnswer, NotSent, TaskLost
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.responses import Answer
from consumer.moderation.protocol.services import KNOWN
from consumer.settings.models import Retry
from tests.moderation.support import Claim, Reply, Request, Rig, answer, clean, gateway, text_call
from tests.virtual_time import run


if TYPE_CHECKING:
    from consumer.moderation.calling.client import Submitted


POST = KNOWN["post_text_image_detection"]
CALL = Call(POST, query=f"Service={POST.name}&ServiceParameters=%7B%7D", characters=3500, images=6)
FIRST = Endpoint("http", "127.0.0.1:1")
OTHER = Endpoint("https", "other.example")


def accepted(task_id: str = "T-1", code: int = 200, name: str = "ReqId") -> HttpAnswer:
    """A submission that was accepted."""
    return HttpAnswer(200, orjson.dumps({"Code": code, "RequestId": "R-1", "Data": {name: task_id}}))


def submit(rig: Rig, claims: list[Claim] | None = None) -> Submitted:
    return run(rig.client.submit(CALL, claims if claims is not None else [rig.claim]))


def query(rig: Rig, times: int = 1, service: str = POST.name) -> list[Answer | str | None]:
    """What each of several queries for one task comes to."""

    async def main() -> list[Answer | str | None]:
        found: list[Answer | str | None] = []
        for _ in range(times):
            try:
                found.append(await rig.client.query(service, "T-1"))
            except (CallError, TaskLost) as error:
                found.append(type(error).__name__)
        return found

    return run(main())


@pytest.mark.parametrize("reply", [accepted(), accepted(code=280), accepted(name="TaskId"), accepted(name="reqid")])
def test_an_accepted_submission(reply: HttpAnswer) -> None:
    """An answer with code 200 or 280 and a task's id is a submission; text and images are billed with it, once."""
    rig = Rig([reply])
    claims = [Claim(), Claim()]
    done = submit(rig, claims)
    assert (done.task_id, done.request_id, done.attempts, done.reason) == ("T-1", "R-1", 1, None)
    assert [(bill.moderation_type, bill.units) for bill in done.billed] == [
        ("text_llm_standard", 4),
        ("image_vl_standard", 6),
    ]
    assert [(claim.begun, claim.ended) for claim in claims] == [(1, [True]), (1, [True])]
    assert rig.metric("billed_units_total", moderation_type="image_vl_standard") == 6
    assert rig.metric("billed_units_total", moderation_type="text_llm_standard") == 4
    assert rig.metric("bill_unknown_calls_total", service=POST.name) == 0
    assert rig.metric("quota_used_total", quota="multimodal_submit") == 1


def test_a_submission_is_signed_with_its_query() -> None:
    """The parameters are in the URL, and nothing is in the body."""
    rig = Rig([accepted()])
    submit(rig)
    (request,) = rig.service.requests
    assert request.url == f"http://127.0.0.1:1/?{CALL.query}"
    assert (request.operation, request.service) == ("MultimodalAsyncModeration", POST.name)
    assert "content-type" not in request.headers


@pytest.mark.parametrize("code", [200, 280])
def test_an_answer_that_names_no_task_is_perhaps_billed_and_tried_once_more(code: int) -> None:
    """A task without an id can never be had: it is submitted once more, then its events have to be looked at."""
    rig = Rig([answer(code)])
    done = submit(rig)
    assert (done.task_id, done.attempts, done.billed) == (None, 2, ())
    assert done.reason is not None
    assert "names no task" in done.reason
    assert rig.metric("bill_unknown_calls_total", service=POST.name) == 2
    rig = Rig([answer(code), accepted()])
    assert submit(rig).task_id == "T-1"


def test_a_lost_answer_may_be_a_submission() -> None:
    """A submission whose answer was lost is counted as perhaps billed, and sent again."""
    rig = Rig([NoAnswer("reset"), NotSent("refused"), answer(500), accepted()])
    done = submit(rig)
    assert (done.task_id, done.attempts) == ("T-1", 4)
    assert rig.metric("bill_unknown_calls_total", service=POST.name) == 1
    assert rig.claim.ended == [True, False, False, True]


@pytest.mark.parametrize("code", [400, 401, 402])
def test_a_refused_submission(code: int) -> None:
    """A submission that will never be taken is refused at once."""
    rig = Rig([answer(code)])
    with pytest.raises(ContentRefused) as caught:
        submit(rig)
    assert (caught.value.reason, caught.value.attempts) == (str(code), 1)


def test_too_many_submissions_slow_their_own_quota_down() -> None:
    """A submission over the quota tells the bucket of submissions, and no other."""
    rig = Rig([answer(403), accepted()])
    assert submit(rig).task_id == "T-1"
    assert {name: tokens.refusals for name, tokens in rig.tokens.items() if tokens.refusals} == {"multimodal_submit": 1}


def test_one_lost_claim_sends_nothing_and_leaves_the_others_free() -> None:
    """Where one event may no longer be paid for nothing is sent, and the others are told that nothing was billed."""
    rig = Rig([accepted()])
    claims = [Claim(), Claim(), Claim()]
    claims[1].held = False
    with pytest.raises(LaneClosed):
        submit(rig, claims)
    assert rig.service.requests == []
    assert [claim.ended for claim in claims] == [[False], [], []]


def test_a_task_nobody_can_use_goes_to_people_while_others_are_served() -> None:
    """Where others are served and this submission fails for good, it is given up with a reason."""

    def script(request: Request) -> Reply:
        return accepted() if request.url.endswith("others") else answer(500)

    rig = Rig(script, retry=Retry(attempts=3))

    async def main() -> Submitted:
        async def others() -> None:
            for _ in range(50):
                await rig.client.submit(Call(POST, query="Service=x&ServiceParameters=%7B%7D&others"), [Claim()])
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            busy = group.create_task(others())
            done = await rig.client.submit(CALL, [rig.claim])
            busy.cancel()
        return done

    done = run(main())
    assert done.task_id is None
    assert done.reason is not None
    assert "500" in done.reason


def test_a_result_is_free() -> None:
    """A task's result costs nothing, also when the answer is lost, and has a quota of its own."""
    rig = Rig([NoAnswer("reset"), answer(280), answer(200, level="high")])
    failed, running, found = query(rig, 3)
    assert (failed, running) == ("CallError", None)
    assert isinstance(found, Answer)
    assert (found.code, found.data["RiskLevel"]) == (200, "high")
    assert [request.task_id for request in rig.service.requests] == ["T-1"] * 3
    assert rig.metric("billed_units_total", moderation_type="text_llm_standard") == 0
    assert rig.metric("bill_unknown_calls_total", service=POST.name) == 0
    assert rig.metric("quota_used_total", quota="multimodal_query") == 3
    call = {"operation": "DescribeMultimodalModerationResult", "service": POST.name}
    assert rig.metric("calls_total", **call, code="280") == 1


@pytest.mark.parametrize("code", [401, 409])
def test_an_unknown_task_is_lost_the_third_time(code: int) -> None:
    """A task that the service does not know is asked for three times in a row before it is believed to be lost."""
    assert query(Rig([answer(code)]), 3) == [None, None, "TaskLost"]
    rig = Rig([answer(code), answer(code), answer(280), answer(code), answer(500), answer(code), answer(code)])
    assert query(rig, 7) == [None, None, None, None, "CallError", None, "TaskLost"]


def test_a_result_that_says_nothing_is_asked_for_again() -> None:
    """Asking is free: a result without a known level is taken as such only the third time, and one that comes wins."""
    found = query(Rig([answer(200)]), 3)
    assert found[:2] == [None, None]
    assert isinstance(found[2], Answer)
    again = query(Rig([answer(200, level="odd"), answer(200, level="low")]), 2)
    assert isinstance(again[1], Answer)
    assert again[1].data["RiskLevel"] == "low"


def test_too_many_queries_slow_their_own_quota_down() -> None:
    """A query over the quota tells the bucket of queries."""
    rig = Rig([gateway("Throttling.User")])
    assert query(rig) == ["CallError"]
    assert rig.tokens["multimodal_query"].refusals == 1
    assert rig.tokens["multimodal_submit"].refusals == 0


def test_a_service_that_is_no_longer_configured_is_still_asked() -> None:
    """A task that was submitted before its service was taken out of the configuration has its result."""
    found = query(Rig([answer(200, level="none")]), service="post_copy_that_was")
    assert isinstance(found[0], Answer)


def test_a_denied_submission_does_not_stop_queries() -> None:
    """An account that may not submit (408) still gets the results it has paid for, and they do not end the hold."""

    def script(request: Request) -> Reply:
        return answer(200, level="none") if request.task_id else answer(408)

    rig = Rig(script)

    async def main() -> Answer | None:
        submitting = asyncio.create_task(rig.client.submit(CALL, [rig.claim]))
        await asyncio.sleep(1)
        found = await rig.client.query(POST.name, "T-1")
        assert rig.client.hold.stands(POST.name)
        submitting.cancel()
        return found

    assert run(main()) is not None


def test_a_denied_account_can_send_its_events_to_people() -> None:
    """Where it is configured so, 408 holds nothing: calls and submissions are unknown at once, with the reason."""
    rig = Rig([answer(408)], on_denied="review")
    done = submit(rig)
    assert (done.task_id, done.attempts) == (None, 1)
    assert rig.client.hold.reasons() == ()
    judged = run(rig.client.call(text_call(), rig.claim))
    assert judged.reason is not None
    assert "408" in judged.reason


# The fallback endpoint


def by_host(*, first: Reply, other: Reply) -> Rig:
    def script(request: Request) -> Reply:
        return first if request.headers["host"] == FIRST.host else other

    return Rig(script, fallback=OTHER)


def hosts(rig: Rig) -> list[str]:
    return [request.headers["host"] for request in rig.service.requests]


def test_an_endpoint_that_cannot_be_reached_is_replaced_by_the_fallback() -> None:
    """When no connection can be made the next try goes to the fallback, signed for it, and so for a minute."""
    rig = by_host(first=NotSent("refused"), other=clean())

    async def main() -> None:
        for pause in (0, 30, 40):
            await asyncio.sleep(pause)
            await rig.client.call(text_call(), rig.claim)

    run(main())
    assert hosts(rig) == [FIRST.host, OTHER.host, OTHER.host, FIRST.host, OTHER.host]
    assert {request.url for request in rig.service.requests[1:3]} == {"https://other.example/"}


def test_a_fallback_that_cannot_be_reached_either_sends_back_to_the_first() -> None:
    """While neither can be reached they are tried in turn, and the call waits; it is judged when one is back."""

    def script(request: Request) -> Reply:
        return clean() if request.at > 5 and request.headers["host"] == FIRST.host else NotSent("refused")

    rig = Rig(script, fallback=OTHER)
    run(rig.client.call(text_call(), rig.claim))
    assert hosts(rig)[:5] == [FIRST.host, OTHER.host, FIRST.host, OTHER.host, FIRST.host]
    assert hosts(rig)[-1] == FIRST.host


@pytest.mark.parametrize("failure", [NoAnswer("reset"), answer(500)])
def test_other_failures_do_not_change_the_endpoint(failure: Reply) -> None:
    """Only a connection that cannot be made moves calls elsewhere: what was read may have been billed there."""
    rig = Rig([failure, clean()], fallback=OTHER)
    run(rig.client.call(text_call(), rig.claim))
    assert hosts(rig) == [FIRST.host] * 2


def test_a_task_is_asked_for_where_it_was_submitted() -> None:
    """A task that went to the fallback is asked for there, also when the first endpoint is back."""

    def script(request: Request) -> Reply:
        if request.headers["host"] == OTHER.host:
            return answer(200, level="none") if request.task_id else accepted()
        return NotSent("refused") if request.at < 60 else answer(409)

    rig = Rig(script, fallback=OTHER)

    async def main() -> Answer | None:
        submitted = await rig.client.submit(CALL, [rig.claim])
        await asyncio.sleep(100)
        assert submitted.task_id is not None
        return await rig.client.query(POST.name, submitted.task_id)

    assert run(main()) is not None


def test_a_task_of_before_a_restart_is_looked_for_at_both_endpoints() -> None:
    """A task that the first endpoint does not know is asked for at the fallback before it is believed to be lost."""
    rig = by_host(first=answer(409), other=answer(200, level="none"))
    found = query(rig, 2)
    assert found[0] is None
    assert isinstance(found[1], Answer)
    rig = by_host(first=answer(409), other=answer(409))
    assert query(rig, 6) == [None] * 5 + ["TaskLost"]
    assert hosts(rig) == [FIRST.host, OTHER.host] * 3
