"""While the account is refused the consumer holds, loses nothing, and goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from consumer.errors import NoAnswer
from consumer.moderation.protocol.codes import BUSINESS, UNKNOWN
from consumer.moderation.protocol.requests import Call
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import IMAGE, TEXT, Claim, Reply, Request, Rig, answer, clean, gateway, text_call
from tests.virtual_time import run


IMAGE_CALL = Call(IMAGE, b"Service=baselineCheck_global&ServiceParameters={}", images=1)


async def many(rig: Rig, count: int = 20) -> list[Judgement]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(rig.client.call(text_call(str(index)), Claim())) for index in range(count)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize(
    ("refusal", "reason", "held"),
    [
        (answer(408), "permission", TEXT.name),
        (gateway("Forbidden.RAM", 403), "permission", None),
        (gateway("NoPermission", 403), "permission", None),
        (gateway("SignatureDoesNotMatch"), "signature", None),
        (gateway("InvalidAccessKeyId.Inactive"), "credentials", None),
        (gateway("InvalidAction.NotFound", 404), "configuration", None),
        (gateway("InvalidTimeStamp.Expired"), "clock", None),
    ],
)
def test_a_refused_account_is_held_and_probed(refusal: Reply, reason: str, held: str | None) -> None:
    """Everybody waits, one call tries every 30 s, and when it is served all are judged; none is lost."""

    def script(request: Request) -> Reply:
        return clean() if request.at > 100 else refusal

    rig = Rig(script)
    seen: list[tuple[tuple[str, ...], bool, float]] = []

    async def main() -> list[Judgement]:
        judging = asyncio.create_task(many(rig))
        await asyncio.sleep(50)
        (standing,) = rig.client.hold.standing()
        assert standing.remedy
        assert standing.service == held
        gauge = rig.metric("holding", reason=reason)
        seen.append((rig.client.hold.reasons(), rig.client.hold.account_wide, gauge))
        return await judging

    judged = run(main())
    assert seen == [((reason,), held is None, 1)]
    assert [one.risk_level for one in judged] == [RiskLevel.NONE] * 20
    first = sum(at == 0 for at in rig.service.times)
    assert first == 20
    assert rig.service.times[first : first + 4] == pytest.approx([30.05, 60.05, 90.05, 120.05], abs=0.5)
    assert rig.service.times[first + 4] == pytest.approx(rig.service.times[first + 3] + 0.05)
    assert rig.client.hold.reasons() == ()
    assert rig.metric("holding", reason=reason) == 0


def test_a_hold_of_one_service_leaves_the_others_alone() -> None:
    """A service that is not activated holds its own events; other services go on."""

    def script(request: Request) -> Reply:
        return answer(408) if request.service == TEXT.name else clean()

    rig = Rig(script)

    async def main() -> Judgement:
        held = asyncio.create_task(rig.client.call(text_call(), Claim()))
        await asyncio.sleep(10)
        assert rig.client.hold.stands(TEXT.name)
        judged = await rig.client.call(IMAGE_CALL, Claim())
        assert not rig.client.hold.account_wide
        held.cancel()
        return judged

    assert run(main()).risk_level is RiskLevel.NONE


def test_an_account_hold_becomes_a_hold_of_the_service() -> None:
    """When the gateway lets a probe through and the service refuses it, only the service is held any longer."""

    def script(request: Request) -> Reply:
        if request.at < 10:
            return gateway("Forbidden.RAM", 403)
        return answer(408) if request.at < 50 else clean()

    rig = Rig(script)

    async def main() -> None:
        judging = asyncio.create_task(many(rig, 3))
        await asyncio.sleep(40)
        assert (rig.client.hold.account_wide, rig.client.hold.reasons()) == (False, ("permission",))
        assert rig.metric("holding", reason="permission") == 1
        await judging

    run(main())
    assert rig.client.hold.reasons() == ()


def test_a_probe_that_fails_otherwise_does_not_hurry_the_next() -> None:
    """When the network fails during a hold, the next try still waits its 30 s."""

    def script(request: Request) -> Reply:
        if request.at < 1:
            return gateway("Forbidden.RAM", 403)
        return NoAnswer("reset") if request.at < 100 else clean()

    rig = Rig(script)
    run(many(rig, 10))
    assert [at for at in rig.service.times if 1 < at < 119] == pytest.approx([30.05, 60.05, 90.05], abs=0.5)


def test_a_cancelled_probe_leaves_its_turn_to_the_next() -> None:
    """When the event that waits for its probe goes away, the next one takes its turn."""

    def script(request: Request) -> Reply:
        return clean() if request.at > 1 else answer(408)

    rig = Rig(script)

    async def main() -> Judgement:
        first = asyncio.create_task(rig.client.call(text_call("first"), Claim()))
        await asyncio.sleep(5)
        second = asyncio.create_task(rig.client.call(text_call("second"), Claim()))
        await asyncio.sleep(5)
        first.cancel()
        return await second

    assert run(main()).risk_level is RiskLevel.NONE
    assert rig.service.times == [0, pytest.approx(30.05)]


def test_answers_from_before_a_hold_do_not_end_it() -> None:
    """A call that was sent before the account was refused proves nothing when it is answered later."""

    async def script(request: Request) -> Reply:
        if request.parameters.get("content") == "slow":
            await asyncio.sleep(5)
            return clean()
        return answer(408)

    rig = Rig(script)

    async def main() -> None:
        slow = asyncio.create_task(rig.client.call(text_call("slow"), Claim()))
        held = asyncio.create_task(rig.client.call(text_call(), Claim()))
        assert (await slow).risk_level is RiskLevel.NONE
        assert rig.client.hold.stands(TEXT.name)
        held.cancel()

    run(main())


def test_a_turn_at_an_open_gate_is_no_probe() -> None:
    """Where nothing is held nobody waits, and nobody is a probe."""
    rig = Rig([clean()])

    async def main() -> bool:
        async with rig.client.hold.turn(TEXT.name) as probing:
            return probing

    assert run(main()) is False


def test_only_codes_that_hold_can_be_placed() -> None:
    """A code without a reason holds nothing."""
    rig = Rig([clean()])
    for row in (UNKNOWN, BUSINESS[500]):
        with pytest.raises(ValueError, match="holds nothing"):
            rig.client.hold.place(row, TEXT.name)
