"""A process that stood still sends nothing until it has proven that nobody took over meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumer.errors import LaneClosed, Withheld
from consumer.metrics import Metrics
from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN, QUOTAS
from consumer.moderation.protocol.signing import Credentials
from consumer.quota import Bucket, StallGuard
from consumer.settings.models import Retry
from consumer.verdict import RiskLevel
from tests.moderation.support import TEXT, Claim, Door, Reply, Request, Rig, answer, clean, text_call
from tests.virtual_time import LoopClock, freeze, run


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any


SUBMISSION = Call(KNOWN["post_text_image_detection"], query="Service=post_text_image_detection", characters=1)
ACCEPTED = HttpAnswer(200, orjson.dumps({"Code": 200, "RequestId": "R-1", "Data": {"ReqId": "T-1"}}))


class FreezingClock(LoopClock):
    """Reading it may be the moment at which the process is stopped: `reads_left` says at which reading."""

    def __init__(self, reads_left: int, stop: Callable[[], None]) -> None:
        self.armed = False
        self._reads_left = reads_left
        self._stop = stop

    def monotonic(self) -> float:
        if self.armed:
            self._reads_left -= 1
            if self._reads_left < 0:
                self.armed = False
                self._stop()
        return super().monotonic()


class Wire:
    """Answers all calls; a connection takes a while, and then the guard is asked, as on a real one."""

    def __init__(self, guard: StallGuard, connect_seconds: float) -> None:
        self.sent: list[float] = []
        self._guard = guard
        self._connect_seconds = connect_seconds

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        if self._connect_seconds:
            await asyncio.sleep(self._connect_seconds)
            if self._guard.shut:
                raise Withheld(url)
        self.sent.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        return clean()


async def frozen_once(
    *, at_seconds: float, reads: int | None, seconds: float, refused_for_seconds: float, connect_seconds: float
) -> tuple[list[float], float, float]:
    """Judge as fast as the quota lets us, with commits; freeze once. When all was sent, the freeze, its first proof.

    The process is stopped between two steps, or, with `reads`, at so many readings of the clock later. After it,
    commits are refused for a while; one that was on its way before it may still be answered.
    """
    stopped_at = proven_at = float("inf")

    def stop() -> None:
        nonlocal stopped_at
        stopped_at = clock.monotonic()
        freeze(seconds)

    clock = FreezingClock(reads or 0, stop)
    guard = StallGuard(clock, proof_seconds=5)
    wire = Wire(guard, connect_seconds)
    client = ModerationClient(
        wire,
        endpoint=Endpoint("http", "127.0.0.1:1"),
        credentials=FixedCredentials(Credentials("testid", "testsecret")),
        tokens={quota: Bucket(20, jitter_seconds=0.03, clock=clock) for quota in QUOTAS},
        prices=LIST_PRICES,
        retry=Retry(),
        hold_probe_seconds=30.0,
        clock=clock,
        metrics=Metrics(),
        guard=guard,
    )

    async def commit() -> None:
        nonlocal proven_at
        while True:
            sent_at = guard.now()
            await asyncio.sleep(0.05)
            if sent_at <= stopped_at or sent_at >= stopped_at + seconds + refused_for_seconds:
                guard.proven(sent_at)
                if sent_at > stopped_at:
                    proven_at = min(proven_at, clock.monotonic())
            await asyncio.sleep(0.05)

    async def judge() -> None:
        while True:
            await client.call(text_call(), Claim())

    tasks = [asyncio.create_task(work()) for work in (guard.run, commit, *[judge] * 4)]
    await asyncio.sleep(at_seconds)
    if reads is None:
        stop()
    else:
        clock.armed = True
    await asyncio.sleep(seconds + refused_for_seconds + 2)
    for task in tasks:
        task.cancel()
    return wire.sent, stopped_at, proven_at


@settings(deadline=None, max_examples=100)
@given(
    at_seconds=st.floats(1, 3),
    reads=st.none() | st.integers(0, 60),
    seconds=st.floats(2.01, 40),
    refused_for_seconds=st.floats(0, 10),
    connect_seconds=st.sampled_from([0, 0.07]),
)
def test_nothing_is_sent_between_a_freeze_and_a_proof(
    at_seconds: float, reads: int | None, seconds: float, refused_for_seconds: float, connect_seconds: float
) -> None:
    """Wherever a process is stopped, it sends nothing on waking until a write sent since then has succeeded."""
    with capture_logs():
        sent, stopped_at, proven_at = run(
            frozen_once(
                at_seconds=at_seconds,
                reads=reads,
                seconds=seconds,
                refused_for_seconds=refused_for_seconds,
                connect_seconds=connect_seconds,
            )
        )
    assert [at for at in sent if stopped_at < at < proven_at] == []
    assert len([at for at in sent if at <= stopped_at]) > 10
    assert len([at for at in sent if at >= proven_at]) > 10


@pytest.mark.parametrize(
    ("work", "reply"),
    [
        pytest.param(lambda rig: rig.client.call(text_call(), rig.claim), clean(), id="call"),
        pytest.param(lambda rig: rig.client.submit(SUBMISSION, [rig.claim]), ACCEPTED, id="submission"),
        pytest.param(lambda rig: rig.client.query("post_text_image_detection", "T-1"), answer(280), id="query"),
    ],
)
def test_whatever_is_to_be_sent_waits(work: Callable[[Rig], Coroutine[Any, Any, object]], reply: HttpAnswer) -> None:
    """Calls, submissions and queries for results wait while the guard is shut, without a token, and then go on."""
    door = Door()
    rig = Rig([reply], guard=door)

    async def main() -> None:
        working = asyncio.create_task(work(rig))
        await asyncio.sleep(3600)
        assert all(tokens.taken == 0 for tokens in rig.tokens.values())
        door.open()
        await working

    run(main())
    assert rig.service.times == [3600]


def test_a_token_taken_before_the_freeze_is_not_used_after_it() -> None:
    """Whoever got a token while the guard was shut waits for it to open, and then for another token."""
    door = Door(shut=False)
    rig = Rig([clean()], guard=door)
    rig.tokens["text"].wait_seconds = 1

    async def main() -> None:
        working = asyncio.create_task(rig.client.call(text_call(), rig.claim))
        await asyncio.sleep(0.5)
        door.close()
        await asyncio.sleep(9.5)
        assert (rig.tokens["text"].taken, rig.claim.begun) == (1, 0)
        door.open()
        await working

    run(main())
    assert rig.service.times == [11]
    assert (rig.tokens["text"].taken, rig.claim.begun, rig.claim.ended) == (2, 1, [True])


def test_a_probe_waits_too() -> None:
    """During a hold the probe is not sent while the guard is shut, and is sent when it opens."""
    door = Door(shut=False)

    def script(request: Request) -> Reply:
        return clean() if request.at > 10 else answer(408)

    rig = Rig(script, guard=door)

    async def main() -> RiskLevel:
        working = asyncio.create_task(rig.client.call(text_call(), rig.claim))
        await asyncio.sleep(10)
        assert rig.client.hold.reasons() == ("permission",)
        door.close()
        await asyncio.sleep(90)
        door.open()
        return (await working).risk_level

    assert run(main()) is RiskLevel.NONE
    assert rig.service.times == [0, 100]


def test_a_probe_that_was_withheld_is_still_the_probe() -> None:
    """A probe that the transport did not write is sent when the guard opens, not at the next probe's time."""
    rig = Rig([answer(408), Withheld(""), clean()])
    judged = run(rig.client.call(text_call(), rig.claim))
    assert (judged.risk_level, judged.attempts) == (RiskLevel.NONE, 2)
    assert rig.service.times == [0, 30.05, 30.1]


def test_a_request_that_was_withheld_is_no_try() -> None:
    """What the transport did not write costs no try, no wait and no bill, and does not make the client fall back."""
    rig = Rig([Withheld(""), Withheld(""), clean()], fallback=Endpoint("http", "127.0.0.1:2"))
    judged = run(rig.client.call(text_call(), rig.claim))
    assert (judged.risk_level, judged.attempts) == (RiskLevel.NONE, 1)
    assert rig.service.times == [0, 0.05, 0.1]
    assert {request.url for request in rig.service.requests} == {"http://127.0.0.1:1/"}
    assert (rig.claim.begun, rig.claim.ended) == (3, [False, False, True])
    assert rig.metric("calls_total", operation="TextModerationPlus", service=TEXT.name, code="transport") == 0
    assert rig.metric("calls_total", operation="TextModerationPlus", service=TEXT.name, code="200") == 1
    assert rig.metric("bill_unknown_calls_total", service=TEXT.name) == 0


def test_an_event_whose_lane_went_meanwhile_is_not_sent() -> None:
    """An event that waited at the guard while its partition was taken away is given up when the guard opens."""
    door = Door()
    rig = Rig([clean()], guard=door)

    async def main() -> None:
        working = asyncio.create_task(rig.client.call(text_call(), rig.claim))
        await asyncio.sleep(10)
        rig.claim.held = False
        door.open()
        await working

    with pytest.raises(LaneClosed):
        run(main())
    assert rig.service.requests == []


def test_giving_up_at_the_guard_leaves_nothing_behind() -> None:
    """An event that is cancelled while it waits at the guard took no token and began nothing."""
    door = Door()
    rig = Rig([clean()], guard=door)

    async def main() -> None:
        working = asyncio.create_task(rig.client.call(text_call(), rig.claim))
        await asyncio.sleep(10)
        working.cancel()
        await asyncio.wait({working})
        assert working.cancelled()

    run(main())
    assert (rig.tokens["text"].taken, rig.claim.begun, rig.service.requests) == (0, 0, [])
