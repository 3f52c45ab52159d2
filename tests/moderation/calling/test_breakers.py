"""A service whose calls fail is held by itself: nothing is given up for an outage, total or not, and others go on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from consumer.errors import CallError, ContentRefused, NoAnswer
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.protocol.codes import BUSINESS, failing
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN
from consumer.verdict import RiskLevel
from tests.moderation.support import IMAGE, TEXT, Claim, Reply, Request, Rig, answer, clean, gateway, text_call
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.verdict import Judgement


IMAGE_CALL = Call(IMAGE, b"Service=baselineCheck_global&ServiceParameters={}", images=1)
POST = KNOWN["post_text_image_detection"]
POST_CALL = Call(POST, query=f"Service={POST.name}&ServiceParameters=%7B%7D")
DOWN_SECONDS = 120.0


async def judged(rig: Rig, count: int, *, at_once: int = 40, each_second: float = 40.0) -> list[Judgement]:
    """Have so many texts judged, coming at this rate, with no more than so many on their way."""
    room = asyncio.Semaphore(at_once)
    done: list[Judgement] = []

    async def one(number: int) -> None:
        done.append(await rig.client.call(text_call(str(number)), Claim()))
        room.release()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await room.acquire()
            group.create_task(one(number))
            await asyncio.sleep(1 / each_second)
    return done


def state(rig: Rig, gate: str = TEXT.name) -> float:
    return rig.metric("breaker_state", service=gate)


def openings(rig: Rig, gate: str = TEXT.name) -> float:
    return rig.metric("breaker_openings_total", service=gate)


def partly(share: float, *, until: float = float("inf"), seed: int = 1) -> Callable[[Request], Reply]:
    """A service that fails on this share of the calls, whatever is in them, until it is well."""
    chance = random.Random(seed)
    failures = (answer(500), answer(581), gateway("ServiceUnavailable", 503), HttpAnswer(502, b"<html>"), NoAnswer("x"))

    def script(request: Request) -> Reply:
        return chance.choice(failures) if request.at < until and chance.random() < share else clean()

    return script


def test_an_outage_holds_the_service_and_costs_nobody_a_verdict() -> None:
    """Calls of a service that fails wait, one is tried after pauses that double, and all are judged in the end."""
    rig = Rig(lambda request: answer(500) if 10 < request.at < 10 + DOWN_SECONDS else clean())
    seen: list[object] = []

    async def main() -> list[Judgement]:
        judging = asyncio.create_task(judged(rig, 600))
        await asyncio.sleep(30)
        (standing,) = rig.client.hold.standing()
        seen.extend((standing.reason, standing.service, standing.code, standing.meaning, standing.remedy))
        seen.extend((rig.client.hold.account_wide, rig.metric("holding", reason="failing"), state(rig)))
        return await judging

    done = run(main())
    expected = failing(BUSINESS[500])
    assert seen == ["failing", TEXT.name, 500, expected.meaning, expected.remedy, False, 1, 2]
    assert [one.risk_level for one in done] == [RiskLevel.NONE] * 600
    probes = [at for at in rig.service.times if 25 < at < 10 + DOWN_SECONDS]
    gaps = [round(b - a) for a, b in itertools.pairwise(probes)]
    assert set(gaps) <= {5, 10, 20, 30}
    assert gaps == sorted(gaps)
    assert (openings(rig), state(rig), rig.metric("holding", reason="failing")) == (1, 0, 0)
    assert rig.client.hold.reasons() == ()


def test_after_an_outage_five_calls_go_out_one_by_one() -> None:
    """The first good probe lets out one call at a time, and after the fifth all others follow at once."""
    rig = Rig(lambda request: answer(500) if request.at < 20 else clean())
    run(judged(rig, 60, at_once=60, each_second=1000))
    good = [at for at in rig.service.times if at >= 20]
    assert len(good) == 60
    steps = [round(b - a, 2) for a, b in itertools.pairwise(good)]
    assert steps == [0.05] * 5 + [0] * 54


@pytest.mark.parametrize("share", [0.15, 0.3, 0.4])
def test_where_fewer_calls_fail_than_not_they_get_through_by_trying_again(share: float) -> None:
    """A service that fails on many of its calls for ever is not held, and nobody's tries are used up."""
    rig = Rig(partly(share))
    done = run(judged(rig, 3000))
    assert {one.risk_level for one in done} == {RiskLevel.NONE}
    assert openings(rig) == 0
    assert max(one.attempts for one in done) > 3


@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_a_partial_outage_uses_up_no_tries(share: float) -> None:
    """While most calls fail and some are answered, nothing is given up, however long it lasts."""
    rig = Rig(partly(share, until=900))
    done = run(judged(rig, 2000))
    assert {one.risk_level for one in done} == {RiskLevel.NONE}
    assert len(done) == 2000
    assert openings(rig) >= 1
    assert state(rig) == 0


def test_other_services_go_on() -> None:
    """While one service is held since its calls fail, calls of another are neither held nor slowed down."""

    def script(request: Request) -> Reply:
        return answer(500) if request.service == TEXT.name else clean()

    rig = Rig(script)

    async def main() -> float:
        failing_ones = asyncio.create_task(judged(rig, 100))
        await asyncio.sleep(60)
        assert state(rig) == 2
        began = asyncio.get_running_loop().time()
        for _ in range(20):
            assert (await rig.client.call(IMAGE_CALL, Claim())).risk_level is RiskLevel.NONE
        failing_ones.cancel()
        return asyncio.get_running_loop().time() - began

    assert run(main()) == pytest.approx(20 * 0.05)


@pytest.mark.parametrize(
    "replies",
    [
        [answer(588), gateway("Throttling.User", 429), clean()],
        [answer(400), answer(401), answer(402)],
        [answer(404), answer(405), answer(406), answer(407)],
    ],
)
def test_what_is_no_failure_of_the_service_opens_nothing(replies: list[Reply]) -> None:
    """Being too fast, contents that are refused, and images that cannot be had hold no service."""
    count = 0

    def script(request: Request) -> Reply:
        nonlocal count
        count += 1
        return replies[count % len(replies)]

    rig = Rig(script)

    async def one() -> None:
        with contextlib.suppress(ContentRefused):
            await rig.client.call(IMAGE_CALL, Claim())

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(60)))

    run(main())
    assert len(rig.service.requests) >= 60
    assert openings(rig, IMAGE.name) == 0
    assert rig.client.hold.reasons() == ()


def test_throttling_in_an_outage_neither_ends_nor_lengthens_it() -> None:
    """A probe that is too fast says nothing of the service: the next one has the same pause."""

    def script(request: Request) -> Reply:
        if request.at < 4:
            return answer(500)
        return answer(588) if request.at < 22 else clean()

    rig = Rig(script)
    run(judged(rig, 30, each_second=1000))
    opened_at = max(at for at in rig.service.times if at < 4) + 0.05
    probes = [at - opened_at for at in rig.service.times if at > 4][:5]
    assert probes[:4] == pytest.approx([5, 10, 15, 20], abs=0.6)


def test_late_failures_of_calls_from_before_change_nothing() -> None:
    """Requests that were on the wire when the service was held may fail later, and do not put the probes off."""

    async def script(request: Request) -> Reply:
        if request.at > 4:
            return clean()
        await asyncio.sleep(max(0, int(request.parameters["content"]) - 19) / 10)
        return answer(500)

    rig = Rig(script)
    run(judged(rig, 100, at_once=100, each_second=1000))
    assert min(at for at in rig.service.times if at > 4) == pytest.approx(5.07, abs=0.02)


def test_a_service_that_fails_may_be_denied_as_well() -> None:
    """Where the account is denied in an outage both holds stand, each with its reason, and both have to end."""

    def script(request: Request) -> Reply:
        if request.at < 4:
            return answer(500)
        return answer(408) if request.at < 60 else clean()

    rig = Rig(script)

    async def main() -> list[Judgement]:
        judging = asyncio.create_task(judged(rig, 30, each_second=1000))
        await asyncio.sleep(30)
        assert sorted(rig.client.hold.reasons()) == ["failing", "permission"]
        return await judging

    assert {one.risk_level for one in run(main())} == {RiskLevel.NONE}
    assert rig.client.hold.reasons() == ()


def test_results_that_cannot_be_asked_for_hold_no_submission() -> None:
    """Where queries fail and submissions do not, only queries wait, under a name of their own."""

    def script(request: Request) -> Reply:
        if request.operation == "MultimodalAsyncModeration":
            return HttpAnswer(200, b'{"Code":200,"Data":{"ReqId":"T-1"}}')
        return answer(500)

    rig = Rig(script)

    async def query() -> None:
        with pytest.raises(CallError):
            await rig.client.query(POST.name, "T-1")

    async def main() -> None:
        await asyncio.gather(*(query() for _ in range(20)))
        waiting = asyncio.create_task(query())
        assert [one.service for one in rig.client.hold.standing()] == [f"{POST.name} results"]
        began = asyncio.get_running_loop().time()
        assert (await rig.client.submit(POST_CALL, [Claim()])).task_id == "T-1"
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.05)
        await waiting

    run(main())


def test_a_pause_that_the_service_asks_for_is_kept_in_an_outage() -> None:
    """A call that is told when to come again does not come sooner, though its turn at the gate does."""

    def script(request: Request) -> Reply:
        if request.at > 4:
            return clean()
        if request.parameters["content"] == "29":
            return gateway("ServiceUnavailable", 503, retry_after="60")
        return answer(500)

    rig = Rig(script)
    run(judged(rig, 30, each_second=1000))
    patient = [request.at for request in rig.service.requests if request.parameters["content"] == "29"]
    assert patient[1] - patient[0] > 60
