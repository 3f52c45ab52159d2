"""A call is tried until it is judged, refused, or has to be looked at; nothing is lost, and nothing passes unjudged."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from consumer.errors import ContentRefused, LaneClosed, NoAnswer, NotSent
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.signing import Credentials, Signer
from consumer.settings.models import Retry
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import (
    IMAGE,
    TEXT,
    Claim,
    Reply,
    Request,
    Rig,
    WallClock,
    answer,
    clean,
    gateway,
    text_call,
)
from tests.virtual_time import run


IMAGE_CALL = Call(IMAGE, b"Service=baselineCheck_global&ServiceParameters={}", images=1)


def one(rig: Rig, call: Call | None = None) -> Judgement:
    """Have one call judged."""
    return run(rig.client.call(call or text_call(), rig.claim))


async def beside_others(rig: Rig, count: int = 100) -> Judgement:
    """Have one call judged while the service goes on answering others, one each second."""

    async def others() -> None:
        for _ in range(count):
            await rig.client.call(text_call("other"), Claim())
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        busy = group.create_task(others())
        judged = await rig.client.call(text_call("bad"), rig.claim)
        busy.cancel()
    return judged


def test_a_clean_answer() -> None:
    """An answer becomes a judgement with its request id and its bill, and is counted."""
    rig = Rig([clean()])
    judged = one(rig)
    assert (judged.risk_level, judged.services, judged.attempts) == (RiskLevel.NONE, ("ugc_moderation_byllm",), 1)
    assert (judged.request_ids, judged.reason, judged.labels) == (("R-200",), None, ())
    assert [bill.units for bill in judged.billed] == [1]
    call = {"operation": "TextModerationPlus", "service": "ugc_moderation_byllm"}
    assert rig.metric("calls_total", **call, code="200") == 1
    assert rig.metric("call_seconds_sum", **call) == pytest.approx(0.05)
    assert rig.metric("billed_units_total", moderation_type="text_llm_standard") == 1
    assert rig.metric("billed_cost_total", moderation_type="text_llm_standard", currency="CNY") == 0.002
    assert rig.metric("billed_plan_units_total", moderation_type="text_llm_standard") == 2.67
    assert rig.metric("quota_wait_seconds_count", quota="text") == 1
    assert rig.metric("quota_used_total", quota="text") == 1
    assert rig.metric("bill_unknown_calls_total", service="ugc_moderation_byllm") == 0
    assert (rig.claim.begun, rig.claim.ended) == (1, [True])


def test_a_request_is_signed_for_its_host() -> None:
    """What is sent is signed over the endpoint's host and the operation, as the vectors have it."""
    rig = Rig([clean()])
    one(rig)
    (request,) = rig.service.requests
    headers = request.headers
    assert (request.url, headers["host"]) == ("http://127.0.0.1:1/", "127.0.0.1:1")
    assert (headers["x-acs-action"], headers["x-acs-date"]) == ("TextModerationPlus", "2026-01-02T03:04:05Z")
    signed = Signer("127.0.0.1:1", Credentials("testid", "testsecret")).sign(
        "TextModerationPlus",
        date=headers["x-acs-date"],
        nonce=headers["x-acs-signature-nonce"],
        body=text_call().body,
    )
    assert signed == headers


def test_a_service_with_an_endpoint_of_its_own_is_called_there() -> None:
    """A call goes to its service's endpoint, signed for that host, with its query as it was signed."""
    rig = Rig([clean()])
    elsewhere = replace(TEXT, endpoint=Endpoint("https", "elsewhere.example"))
    one(rig, replace(text_call(), service=elsewhere, query="a=%2A"))
    (request,) = rig.service.requests
    assert (request.url, request.headers["host"]) == ("https://elsewhere.example/?a=%2A", "elsewhere.example")


@pytest.mark.parametrize("failure", [answer(500), answer(581, status=500), gateway("InternalError", 500)])
def test_a_failure_is_tried_again_and_signed_anew(failure: Reply) -> None:
    """After a failure the call is sent again with another nonce; waiting doubles each time."""
    rig = Rig([failure, failure, failure, clean()])
    judged = one(rig)
    assert (judged.risk_level, judged.attempts) == (RiskLevel.NONE, 4)
    assert len({request.headers["x-acs-signature-nonce"] for request in rig.service.requests}) == 4
    assert rig.service.times == [0, 0.25, 0.7, 1.55]
    assert len(judged.billed) == 1


def test_waiting_is_spread_by_chance_and_bounded() -> None:
    """No wait is longer than the longest, however long an outage is."""
    rig = Rig([*[NoAnswer("reset")] * 30, clean()], retry=Retry(base_seconds=1, max_seconds=8))
    assert one(rig).attempts == 31
    gaps = [b - a - 0.05 for a, b in zip(rig.service.times, rig.service.times[1:], strict=False)]
    assert gaps[:3] == pytest.approx([1, 2, 4], abs=0.01)
    assert max(gaps) == pytest.approx(8, abs=0.01)


def test_an_outage_uses_up_no_tries() -> None:
    """While the service answers nobody, a call waits for it, however many tries that takes."""
    rig = Rig([*[answer(500)] * 200, clean()])
    assert one(rig).risk_level is RiskLevel.NONE


@pytest.mark.parametrize(
    "failure",
    [
        answer(500),
        answer(777),
        gateway("Teapot.Empty"),
        HttpAnswer(502, b"<html>"),
        NoAnswer("reset"),
        NotSent("refused"),
    ],
)
def test_a_content_that_the_service_fails_on_goes_to_people(failure: Reply) -> None:
    """Where others are served and this content is not, it is unknown after the tries, with a reason; never clean."""

    def script(request: Request) -> Reply:
        return failure if request.parameters["content"] == "bad" else clean()

    rig = Rig(script, retry=Retry(attempts=4))
    judged = run(beside_others(rig))
    assert judged.risk_level is RiskLevel.UNKNOWN
    assert judged.reason is not None
    assert judged.reason.startswith("ugc_moderation_byllm: no usable answer in ")
    assert judged.attempts >= 4
    assert judged.billed == ()


def test_an_answer_without_a_known_level_is_paid_twice_at_most() -> None:
    """An answer that says nothing of the risk is asked for once more, then a person has to look; both are billed."""
    rig = Rig([answer(200, level="odd")])
    judged = one(rig)
    assert judged.risk_level is RiskLevel.UNKNOWN
    assert judged.reason is not None
    assert (judged.attempts, len(judged.billed)) == (2, 2)
    assert rig.metric("billed_units_total", moderation_type="text_llm_standard") == 2


def test_a_single_try_is_a_single_payment() -> None:
    """Where one try is configured, an answer that says nothing of the risk is not paid for twice."""
    rig = Rig([answer(200)], retry=Retry(attempts=1))
    assert (one(rig).risk_level, len(rig.service.requests)) == (RiskLevel.UNKNOWN, 1)


def test_an_answer_without_a_known_level_is_judged_the_second_time() -> None:
    """When the second answer is usable it is taken, and what the first one cost is in the bill."""
    rig = Rig([answer(200), answer(200, level="high")])
    judged = one(rig)
    assert (judged.risk_level, judged.reason, len(judged.billed)) == (RiskLevel.HIGH, None, 2)


@pytest.mark.parametrize("code", [400, 401, 402, 406, 407])
def test_a_refused_content_is_not_tried_again(code: int) -> None:
    """A content that the service will never take is refused at once, with the code and the request id."""
    rig = Rig([answer(code)])
    with pytest.raises(ContentRefused) as caught:
        one(rig)
    assert (caught.value.reason, caught.value.request_id, caught.value.attempts) == (str(code), f"R-{code}", 1)
    assert rig.claim.ended == [False]


@pytest.mark.parametrize("code", [404, 405])
def test_an_image_that_cannot_be_had_is_tried_three_times(code: int) -> None:
    """An image that the service cannot download is refused after three tries, and judged if it comes in time."""
    rig = Rig([answer(code)])
    with pytest.raises(ContentRefused) as caught:
        one(rig, IMAGE_CALL)
    assert (caught.value.reason, caught.value.attempts) == (str(code), 3)
    rig = Rig([answer(code), answer(code), clean()])
    assert one(rig, IMAGE_CALL).attempts == 3


@pytest.mark.parametrize("code", [403, 588, "Throttling.User"])
def test_too_fast_is_never_counted(code: int | str) -> None:
    """However often the limit is hit, the call goes on, and the quota is told each time."""

    def script(request: Request) -> Reply:
        limited = request.parameters["content"] == "bad" and len(rig.service.requests) < 60
        return answer(code) if limited else clean()

    rig = Rig(script, retry=Retry(attempts=2))
    judged = run(beside_others(rig))
    assert judged.risk_level is RiskLevel.NONE
    assert rig.tokens["text"].refusals == judged.attempts - 1 > 2
    assert rig.metric("throttled_total", quota="text") == judged.attempts - 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_acs_retry_after": "7000"}, 7),
        ({"retry_after": "9"}, 9),
        ({"retry_after": "999999999"}, 300),
        ({"retry_after": "soon"}, 0.2),
    ],
)
def test_the_services_own_pause_is_heard(headers: dict[str, str], seconds: float) -> None:
    """The gateway's header counts milliseconds, HTTP's counts seconds; neither stops the consumer for hours."""
    rig = Rig([gateway("Throttling.User", 429, **headers), clean()])
    one(rig)
    assert rig.service.times[1] == pytest.approx(0.05 + seconds)


def test_calls_without_an_answer_may_be_billed() -> None:
    """A request without an answer is counted as perhaps billed, one that was never sent is not."""
    rig = Rig([NotSent("refused"), NoAnswer("reset"), HttpAnswer(200, b"garbage"), clean()])
    one(rig)
    assert rig.metric("bill_unknown_calls_total", service="ugc_moderation_byllm") == 2
    call = {"operation": "TextModerationPlus", "service": "ugc_moderation_byllm"}
    assert rig.metric("calls_total", **call, code="transport") == 2
    assert rig.metric("calls_total", **call, code="unreadable") == 1
    assert rig.metric("retries_total", service="ugc_moderation_byllm", reason="transport") == 2
    assert rig.claim.ended == [False, True, True, True]


def test_a_cancelled_call_may_be_billed() -> None:
    """A call that is given up while on the wire is counted as perhaps billed, and its claim is told."""
    rig = Rig([clean()])

    async def main() -> None:
        task = asyncio.create_task(rig.client.call(text_call(), rig.claim))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert rig.metric("bill_unknown_calls_total", service="ugc_moderation_byllm") == 1
    assert rig.claim.ended == [True]


def test_a_lost_claim_sends_nothing() -> None:
    """Once the partition has gone nothing is sent, and a retry is not sent either."""
    rig = Rig([clean()])
    rig.claim.held = False
    with pytest.raises(LaneClosed):
        one(rig)
    assert rig.service.requests == []

    def script(_: Request) -> Reply:
        rig.claim.held = False
        return answer(500)

    rig = Rig(script)
    with pytest.raises(LaneClosed):
        one(rig)
    assert len(rig.service.requests) == 1


@pytest.mark.parametrize("wrong_by", [-86_400.0, 3_600.0])
def test_a_wrong_clock_is_corrected_by_the_services(wrong_by: float) -> None:
    """A machine whose clock is wrong signs by the service's time, from its first refusal on."""

    def script(request: Request) -> Reply:
        good = request.headers["x-acs-date"].startswith("2026-01-02T03:04:")
        date = "Fri, 02 Jan 2026 03:04:05 GMT"
        return clean() if good else gateway("InvalidTimeStamp.Expired", date=date)

    rig = Rig(script, clock=WallClock(wrong_by))
    assert one(rig).attempts == 2
    assert rig.client.hold.reasons() == ()


def test_a_small_difference_of_clocks_is_left_alone() -> None:
    """A few seconds are the network's, and a date that cannot be read is ignored."""
    replies = [answer(500, date=date) for date in ("Fri, 02 Jan 2026 03:04:15 GMT", "yesterday", "")]
    rig = Rig([*replies, clean()])
    one(rig)
    assert {request.headers["x-acs-date"][:16] for request in rig.service.requests} == {"2026-01-02T03:04"}


class Rotating:
    """Credentials that are replaced when they are looked at anew."""

    def __init__(self, *replacements: Credentials) -> None:
        self.current = Credentials("old", "secret")
        self._replacements = list(replacements)
        self.reloads = 0

    async def reload(self) -> None:
        self.reloads += 1
        if self._replacements:
            self.current = self._replacements.pop(0)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId.NotFound", "InvalidSecurityToken.Expired"])
def test_replaced_credentials_are_taken_up(code: str) -> None:
    """When the AccessKey is refused it is read anew, once for all calls, and what has been replaced is used."""

    def script(request: Request) -> Reply:
        return clean() if "Credential=new," in request.headers["authorization"] else gateway(code, 404)

    source = Rotating(Credentials("new", "secret"))
    rig = Rig(script, credentials=source)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(rig.client.call(text_call(), rig.claim))

    run(main())
    assert source.reloads == 1
    assert rig.client.hold.reasons() == ()


def test_a_client_needs_every_limit() -> None:
    """A client without tokens for one of the account's limits cannot be made."""
    rig = Rig([clean()])
    del rig.tokens["image_llm"]
    with pytest.raises(ValueError, match="image_llm"):
        type(rig.client)(
            rig.service,
            endpoint=Endpoint("http", "127.0.0.1:1"),
            credentials=Rotating(),
            tokens=rig.tokens,
            prices={},
            retry=Retry(),
            hold_probe_seconds=1,
            clock=WallClock(),
            metrics=rig.metrics,
        )
