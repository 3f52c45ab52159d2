"""One event of several calls becomes one judgement, and one error."""

from __future__ import annotations

import asyncio

import pytest

from consumer.errors import ContentRefused, LaneClosed, RouteError
from consumer.event import Event, Image
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.services import KNOWN
from consumer.policy import Policy
from consumer.routing import Route
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import IMAGE, TEXT, Reply, Request, Rig, answer, clean, gateway
from tests.virtual_time import run


ROUTE = Route("posts", (TEXT.name, IMAGE.name))
POST = Event("1", "post", text="hello", images=(Image("https://h/1.jpg"), Image("https://h/2.jpg")))


def judge(rig: Rig, event: Event = POST, route: Route = ROUTE) -> Judgement:
    return run(ServiceJudge(rig.client, KNOWN).judge(event, route, rig.claim))


def by_media(text: Reply, image: Reply) -> Rig:
    return Rig(lambda request: text if request.service == TEXT.name else image)


def test_the_highest_risk_of_all_parts_wins() -> None:
    """Text and images are judged at the same time, the riskiest decides, and every part is billed."""
    rig = by_media(clean(), answer(200, level="high"))
    judged = judge(rig)
    assert judged.risk_level is RiskLevel.HIGH
    assert judged.services == (TEXT.name, IMAGE.name)
    assert (judged.attempts, len(judged.billed), judged.request_ids) == (3, 3, ("R-200",))
    assert rig.service.times == [0, 0, 0]


def test_a_single_call_is_its_own_judgement() -> None:
    """An event of one call is judged by it alone."""
    judged = judge(Rig([clean()]), Event("1", "message", text="hello"), Route("texts", (TEXT.name,)))
    assert (judged.risk_level, judged.services) == (RiskLevel.NONE, (TEXT.name,))


def test_an_event_with_a_refused_part_never_passes() -> None:
    """What was found is kept and a refused part makes the event unknown, with the reason: somebody looks at it."""
    judged = judge(by_media(clean(), answer(406)))
    assert judged.risk_level is RiskLevel.UNKNOWN
    assert judged.reason is not None
    assert "baselineCheck_global: refused a part of this event with 406" in judged.reason
    assert len(judged.billed) == 1
    assert Policy().action(judged) == "review"


def test_a_refused_part_does_not_hide_a_risky_one() -> None:
    """A risky text is blocked also when its image cannot be had."""
    judged = judge(by_media(answer(200, level="high"), answer(404)))
    assert judged.risk_level is RiskLevel.HIGH
    assert judged.attempts == 1 + 3 + 3
    assert Policy().action(judged) == "block"


def test_an_event_that_is_refused_in_all_parts_is_a_dead_letter() -> None:
    """Where nothing of an event can be judged it is refused, with all its tries."""
    with pytest.raises(ContentRefused) as caught:
        judge(by_media(answer(400), answer(407)))
    assert (caught.value.reason, caught.value.request_id, caught.value.attempts) == ("400", "R-400", 3)


def test_a_lost_claim_is_one_error() -> None:
    """When the partition goes away between the parts, the caller sees that, and no group of errors."""

    async def script(request: Request) -> Reply:
        if request.service == TEXT.name:
            rig.claim.held = False
            return answer(500)
        await asyncio.sleep(60)
        return clean()

    rig = Rig(script)
    with pytest.raises(LaneClosed):
        judge(rig)


def test_a_cancelled_event_abandons_all_its_calls() -> None:
    """When the event is given up, each of its calls on the wire is."""
    rig = Rig([clean()])

    async def main() -> None:
        task = asyncio.create_task(ServiceJudge(rig.client, KNOWN).judge(POST, ROUTE, rig.claim))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert rig.claim.ended == [True, True, True]


def test_a_fault_of_the_program_is_one_error_too() -> None:
    """An error that nobody expects comes out as itself."""
    with pytest.raises(RuntimeError, match="a bug"):
        judge(by_media(clean(), RuntimeError("a bug")))


def test_a_route_with_an_unknown_service() -> None:
    """A service that the table does not have makes the event a dead letter, and sends nothing."""
    rig = Rig([gateway("InvalidAction.NotFound")])
    with pytest.raises(RouteError, match="nobody knows"):
        judge(rig, route=Route("odd", ("ugc_moderation",)))
    assert rig.service.requests == []
