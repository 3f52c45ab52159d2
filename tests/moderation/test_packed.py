"""Short texts are asked about together, each ends with its own verdict, and none is lower in risk than it would be."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumer.batching.packed import SEPARATOR, expected_calls
from consumer.embedding import Moderator
from consumer.errors import ContentRefused, LaneClosed, NoAnswer, NotSent
from consumer.event import Event
from consumer.moderation.packable import packable, why_not
from consumer.moderation.packed import Packed
from consumer.moderation.packed_savings import Balance
from consumer.moderation.protocol.requests import text_call
from consumer.moderation.protocol.services import KNOWN, resolve
from consumer.routing import Route
from consumer.settings.moderation import Service as ServiceSettings
from consumer.settings.saving import Packed as Settings
from consumer.simulator import Simulator, SimulatorSettings
from consumer.simulator import truth as simulated
from consumer.verdict import Billed, Judgement, RiskLevel
from tests.moderation.packed_world import CHAT, Stored, World, measured, truth
from tests.moderation.support import TEXT, Claim, Rig, Tokens, WallClock, answer, clean
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from tests.moderation.support import Reply


GREETINGS = [f"hello {number}" for number in range(16)]


def judge(world: World, texts: Sequence[str], claims: Sequence[Claim] | None = None) -> list[Judgement]:
    """The judgements of texts that come at once; none may fail."""
    judged = ends(world, texts, claims)
    assert all(isinstance(one, Judgement) for one in judged), judged
    return [one for one in judged if isinstance(one, Judgement)]


def ends(world: World, texts: Sequence[str], claims: Sequence[Claim] | None = None) -> list[Judgement | BaseException]:
    """What texts that come at once come to."""

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            return await world.all(texts, claims)

    return run(main())


def stood_before(caller: Caller, chosen: Settings) -> Packed:
    """Packs texts for a caller of one's own; they were measured before, and every one is picked for a sample."""
    rig = Rig([clean()])
    return Packed(
        caller,
        chosen,
        {TEXT.name},
        tokens=rig.tokens,
        clock=WallClock(),
        metrics=rig.metrics,
        evidence=measured(),
        chance=lambda: 0.0 if chosen.mode == "shadow" else 1.0,
    )


def units(judged: Sequence[Judgement | BaseException]) -> int:
    """What all verdicts together say was paid."""
    return sum(bill.units for one in judged if isinstance(one, Judgement) for bill in one.billed)


# A call about several


def test_a_clean_call_clears_all() -> None:
    """Sixteen clean texts cost one call; one verdict has its bill, and each names its request."""
    world = World()
    claims = [Claim(offset) for offset in range(16)]
    judged = judge(world, GREETINGS, claims)
    assert world.calls == [GREETINGS]
    assert {(one.risk_level, one.source, one.attempts, one.request_ids) for one in judged} == {
        (RiskLevel.NONE, "packed", 1, ("R-1",))
    }
    assert [len(one.billed) for one in judged] == [1] + [0] * 15
    assert judged[0].billed[0].cost == Decimal("0.002")
    assert [(claim.begun, claim.ended) for claim in claims] == [(1, [True])] * 16
    assert world.metric("packed_calls_total") == 1
    assert world.metric("packed_texts_total", outcome="cleared") == 16
    assert world.rig.metric("saved_units_total", how="packed", moderation_type="text_llm_standard") == 15


def test_a_risky_text_ends_alone() -> None:
    """The halves that are clean are cleared; the risky text has its own labels, and all requests it was in."""
    world = World()
    texts = [*GREETINGS[:5], "this is bad", *GREETINGS[6:]]
    judged = judge(world, texts)
    assert sorted(map(len, world.calls)) == [1, 1, 2, 2, 4, 4, 8, 8, 16]
    assert [one.risk_level for one in judged].count(RiskLevel.NONE) == 15
    risky = judged[5]
    assert (risky.risk_level, risky.source, risky.attempts) == (RiskLevel.HIGH, "service", 5)
    assert [label.label for label in risky.labels] == ["found_high"]
    assert len(risky.request_ids) == 5
    assert judged[4].source == "service"
    assert [one.attempts for one in judged] == [3] * 4 + [5, 5] + [4] * 2 + [2] * 8
    assert units(judged) == world.billed == 9
    assert world.rig.metric("saved_units_total", how="packed", moderation_type="text_llm_standard") == 14 - 7


def test_a_risky_text_that_is_named_is_asked_about_alone() -> None:
    """Where the answer names the words that it found, three calls do: about all, the risky text, and the others."""
    world = World(names_words=True)
    texts = [*GREETINGS[:5], "this is bad", *GREETINGS[6:]]
    judged = judge(world, texts)
    assert sorted(map(len, world.calls)) == [1, 15, 16]
    assert [one.risk_level for one in judged] == [truth(text) for text in texts]
    assert units(judged) == world.billed == 3


def test_what_is_not_named_is_not_cleared() -> None:
    """A word that the answer does not name is found all the same: every text is cleared by a clean call, or alone."""
    world = World(names_words=True)
    texts = [*GREETINGS[:14], "bad", "so BAD it is"]
    world._finds = lambda asked: max(RiskLevel.MEDIUM if "BAD" in text else truth(text) for text in asked)
    judged = judge(world, texts)
    assert [one.risk_level for one in judged[14:]] == [RiskLevel.HIGH, RiskLevel.MEDIUM]


@pytest.mark.parametrize(
    "spoilt",
    [
        answer(200, level="low"),
        answer(200, level="medium"),
        answer(400),
        answer(200),
        replace(
            clean(),
            body=orjson.dumps({"Code": 200, "Data": {"RiskLevel": "none", "Result": [{"Label": "nonLabel_lib"}]}}),
        ),
    ],
    ids=["low", "medium", "refused", "no level", "a hit in the allow list"],
)
def test_only_a_clean_answer_clears(spoilt: Reply) -> None:
    """Where a call about several says anything else, or is refused, each text is asked about alone in the end."""
    world = World(failure=lambda texts: spoilt if len(texts) > 1 else None)
    judged = judge(world, GREETINGS[:4])
    assert [(one.risk_level, one.source) for one in judged] == [(RiskLevel.NONE, "service")] * 4
    assert sorted(call[0] for call in world.calls if len(call) == 1) == GREETINGS[:4]
    assert units(judged) == world.billed


def test_a_text_that_is_refused_is_refused_alone() -> None:
    """What the service never takes becomes a dead letter with all its tries; the others are cleared."""
    world = World(failure=lambda texts: answer(400) if any("poison" in text for text in texts) else None)
    judged = ends(world, ["poison", *GREETINGS[:3]])
    refused = judged[0]
    assert isinstance(refused, ContentRefused)
    assert (refused.reason, refused.attempts) == ("400", 3)
    assert [one.risk_level for one in judged[1:] if isinstance(one, Judgement)] == [RiskLevel.NONE] * 3
    assert units(judged) == world.billed


def test_a_fault_of_the_program_is_told_to_whom_it_concerns() -> None:
    """An error that nobody expects is that of the events of its call, and the next call is made as usual."""
    world = World(failure=lambda texts: RuntimeError("a bug") if "hello 0" in texts else None)

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            return [*await world.all(GREETINGS[:3]), *await world.all(GREETINGS[5:7])]

    judged = run(main())
    assert [str(one) for one in judged[:3]] == ["a bug"] * 3
    assert [one.source for one in judged[3:] if isinstance(one, Judgement)] == ["packed"] * 2


# What is packed


def test_what_is_not_packed() -> None:
    """Long texts, pieces of longer ones, and texts of other services are calls of their own."""
    world = World()
    long = "a word " * 75
    calls = [
        text_call(TEXT, "hello", "id", offset=10),
        text_call(TEXT, long, "id"),
        text_call(KNOWN["aigc_moderation_byllm"], "hello", "id"),
    ]

    async def main() -> list[Judgement]:
        async with world.running() as packed:
            return await asyncio.gather(*(packed.call(call, Claim(), route=CHAT) for call in calls for _ in range(2)))

    assert {one.source for one in run(main())} == {"service"}
    assert [len(texts) for texts in world.calls] == [1] * 6


def test_routes_do_not_mix() -> None:
    """Texts of different routes have different budgets and weights: they share no call."""
    world = World()

    async def main() -> None:
        async with world.running():
            routes = [CHAT, Route("other", (TEXT.name,))]
            await asyncio.gather(*(world.one(text, route=routes[at % 2]) for at, text in enumerate(GREETINGS[:8])))

    run(main())
    assert world.calls == [GREETINGS[:8:2], GREETINGS[1:8:2]]


def test_a_call_holds_what_the_service_takes() -> None:
    """Texts that would not fit into one call by their characters go with the next."""
    world = World()
    texts = [f"{number} {'x' * 480}" for number in range(6)]
    judge(world, texts)
    assert [len(call) for call in world.calls] == [4, 2]


def test_where_risk_is_common_nothing_is_packed() -> None:
    """Among texts of which every second is risky each is asked about alone, and has its own verdict at once."""
    world = World(evidence=measured(rate=0.5))
    judge(world, [*GREETINGS[:4], "bad"])
    assert [len(texts) for texts in world.calls] == [1] * 5


def test_the_size_follows_the_risk() -> None:
    """When every eighth text turns out to be risky, calls become smaller."""
    world = World()

    async def main() -> None:
        async with world.running():
            for _ in range(200):
                await world.all([*GREETINGS[:7], "bad"])

    run(main())
    assert len(world.calls[0]) == 8
    assert max(map(len, world.calls[-20:])) <= 4


def test_alarms_make_calls_smaller() -> None:
    """A service that takes many harmless texts together for risky ones is soon asked about fewer at a time."""
    world = World(finds=lambda texts: RiskLevel.LOW if len(texts) > 5 else RiskLevel.NONE)

    async def main() -> None:
        async with world.running():
            for _ in range(200):
                await world.all(GREETINGS)

    run(main())
    assert len(world.calls[0]) == 16
    assert max(map(len, world.calls[-30:])) < 16


def test_which_services_are_packed() -> None:
    """Those that judge each text by itself and are billed by the call; copies are as their originals."""
    own = {
        "chat_01": ServiceSettings(like="ugc_moderation_byllm"),
        "strict": ServiceSettings(like="ugc_moderation_byllm_pro"),
        "stricter": ServiceSettings(like="strict"),
        "talkative": ServiceSettings(like="ugc_moderation_byllm", info_type=["llmContent"]),
    }
    services = resolve(own)
    assert packable(services, own, []) == {
        "ugc_moderation_byllm",
        "aigc_moderation_byllm",
        "ugc_moderation_byllm_global",
        "ugc_moderation_byllm_ec",
        "chat_01",
    }
    assert packable(services, own, ["chat_01", "strict"]) == {"chat_01"}
    reasons = {name: why_not(services[name], own) for name in services}
    assert "context" in str(reasons["ugc_moderation_byllm_pro"])
    assert reasons["stricter"] == reasons["comment_detection_pro"] == reasons["ugc_moderation_byllm_pro"]
    assert "length" in str(reasons["ugc_moderation_byllm_cb"])
    assert "no texts" in str(reasons["baselineCheck"])


# Waiting


def test_at_low_load_no_text_waits() -> None:
    """Where texts come more rarely than the window is long, none waits for company that will not come."""
    world = World(max_age_seconds=1.0)

    async def main() -> float:
        async with world.running():
            started = asyncio.get_running_loop().time()
            for _ in range(20):
                await world.one("hello")
                await asyncio.sleep(1.2)
            return asyncio.get_running_loop().time() - started

    assert run(main()) == pytest.approx(20 * (0.05 + 1.2))
    assert world.metric("packed_wait_seconds_sum") == 0


def test_what_comes_at_once_goes_at_once() -> None:
    """Texts that come together are one call without a wait, also where nothing else is to be expected."""
    world = World()
    judge(world, GREETINGS[:3])
    assert world.rig.service.times == [0]


def test_at_high_load_texts_wait_for_company() -> None:
    """Where texts come often, calls are filled, and none waits longer than is allowed."""
    world = World(max_age_seconds=0.5)

    async def main() -> None:
        async with world.running(), asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(world.one(f"hello {number}"))
                await asyncio.sleep(0.02)

    run(main())
    assert len(world.calls) < 200 / 12
    assert world.metric("packed_wait_seconds_count") == 200
    assert world.metric("packed_wait_seconds_bucket", le="0.5") == 200


def test_without_a_token_more_may_join() -> None:
    """While no token is free a text waits for others, as it would have to wait anyway; when one is free, it goes."""

    class Busy(Tokens):
        def free(self) -> bool:
            return asyncio.get_running_loop().time() > 2.2

    world = World(max_age_seconds=1.0)
    world.rig.tokens["text"] = Busy()

    async def main() -> None:
        async with world.running(), asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(world.one(f"hello {number}"))
                await asyncio.sleep(1.5 if number == 0 else 0)

    run(main())
    assert world.calls == [["hello 0"], ["hello 1", "hello 2"]]
    assert world.rig.service.times == [1.0, pytest.approx(2.2, abs=0.02)]


# Claims and cancelling


def test_an_event_whose_lane_closes_leaves_before_it_is_sent() -> None:
    """Its text is not sent, the others' are, and its own claim is never begun."""
    world = World(token_seconds=1.0)
    claims = [Claim(offset) for offset in range(3)]

    async def main() -> list[Judgement | BaseException]:
        asyncio.get_running_loop().call_later(0.5, setattr, claims[1], "held", False)
        async with world.running():
            return await world.all(GREETINGS[:3], claims)

    judged = run(main())
    assert isinstance(judged[1], LaneClosed)
    assert world.calls == [["hello 0", "hello 2"]]
    assert [claim.begun for claim in claims] == [2, 0, 2]
    assert [claim.ended for claim in claims] == [[False, True], [], [False, True]]
    assert units(judged) == 1


def test_an_event_that_is_given_up_leaves_before_it_is_sent() -> None:
    """Given up while its call waits for the quota, its text is not sent with the others'."""
    world = World(token_seconds=1.0)
    claims = [Claim(offset) for offset in range(3)]

    async def main() -> None:
        async with world.running():
            pairs = zip(GREETINGS[:3], claims, strict=True)
            works = [asyncio.ensure_future(world.one(text, claim)) for text, claim in pairs]
            await asyncio.sleep(0.5)
            works[1].cancel()
            await asyncio.gather(*works, return_exceptions=True)

    run(main())
    assert world.calls == [["hello 0", "hello 2"]]
    assert claims[1].begun == 0


def test_an_event_that_is_lost_on_the_way_harms_nobody() -> None:
    """Lost while its call is tried again, it leaves the call; what was paid for so far is in another's verdict."""
    claims = [Claim(offset) for offset in range(2)]
    failures: list[Reply | None] = [answer(200), None]
    world = World(failure=lambda _: failures.pop(0))

    async def main() -> list[Judgement | BaseException]:
        asyncio.get_running_loop().call_later(0.1, setattr, claims[0], "held", False)
        async with world.running():
            return await world.all(GREETINGS[:2], claims)

    judged = run(main())
    assert isinstance(judged[0], LaneClosed)
    assert isinstance(judged[1], Judgement)
    assert (judged[1].risk_level, judged[1].attempts, units(judged)) == (RiskLevel.NONE, 2, 2)


def test_a_call_goes_on_while_anybody_waits() -> None:
    """An event that is given up leaves its call on the wire to the others, which have its answer and its bill."""
    world = World()

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.ensure_future(world.one(text)) for text in GREETINGS[:3]]
            await asyncio.sleep(0.02)
            works[0].cancel()
            return await asyncio.gather(*works, return_exceptions=True)

    judged = run(main())
    assert isinstance(judged[0], asyncio.CancelledError)
    assert [one.risk_level for one in judged[1:] if isinstance(one, Judgement)] == [RiskLevel.NONE] * 2
    assert units(judged) == 1


def test_a_call_that_nobody_waits_for_is_given_up() -> None:
    """When all its events are given up the request is abandoned, and counted as one that may have been billed."""
    world = World()
    claims = [Claim(offset) for offset in range(3)]

    async def main() -> None:
        async with world.running():
            works = [
                asyncio.ensure_future(world.one(text, claim)) for text, claim in zip(GREETINGS[:3], claims, strict=True)
            ]
            await asyncio.sleep(0.02)
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert world.metric("bill_unknown_calls_total") == 1

    run(main())
    assert [claim.ended for claim in claims] == [[True]] * 3


def test_the_halves_of_an_event_that_left_are_not_sent() -> None:
    """When the events of one half are given up, only the other half is asked about again."""
    world = World(failure=lambda texts: answer(200, level="high") if len(texts) == 4 else None)

    async def main() -> None:
        async with world.running():
            works = [asyncio.ensure_future(world.one(text)) for text in GREETINGS[:4]]
            await asyncio.sleep(0.02)
            works[0].cancel()
            works[1].cancel()
            await asyncio.gather(*works, return_exceptions=True)

    run(main())
    assert world.calls == [GREETINGS[:4], GREETINGS[2:4]]


def test_stopping_tells_all_who_wait() -> None:
    """When the process ends, whoever waits learns that another one judges its event; nothing is left behind."""
    world = World(token_seconds=60.0)

    async def main() -> list[Judgement | BaseException]:
        async with world.running():
            works = [asyncio.ensure_future(world.one(text)) for text in GREETINGS[:3]]
            await asyncio.sleep(0.1)
        late = asyncio.ensure_future(world.one("late"))
        return await asyncio.gather(*works, late, return_exceptions=True)

    assert all(isinstance(one, LaneClosed) for one in run(main()))


def test_a_caller_that_is_closed_is_told_to_all() -> None:
    """Where what is called ends by itself, all events of the call learn of it, and none waits for ever."""

    class Closed:
        async def call(self, call: Call, claim: Stake, *, route: Route = CHAT) -> Judgement:
            raise LaneClosed("the client was closed")

    async def main() -> list[Judgement | BaseException]:
        async with stood_before(Closed(), Settings(mode="on")) as packed:
            works = (packed.call(text_call(TEXT, text, "id"), Claim()) for text in GREETINGS[:3])
            return await asyncio.gather(*works, return_exceptions=True)

    assert [str(one) for one in run(main())] == ["the client was closed"] * 3


def test_packed_texts_need_an_owner() -> None:
    """Used without its context it says so, and not that a partition was lost."""

    async def main() -> None:
        packed = stood_before(Rig([clean()]).client, Settings(mode="on"))
        await packed.call(text_call(TEXT, "hello", "id"), Claim())

    with pytest.raises(RuntimeError, match="async with"):
        run(main())


# Whatever happens


@dataclass(frozen=True)
class Arrival:
    """A text, when it comes, and what happens to its event later: nothing, its claim is lost, or it is given up."""

    at: float
    text: str
    fate: str = "stays"
    fate_at: float = 0.0


WORDS = st.sampled_from(["gg", "hello you", "so what", "lol", "hm", "dubious deal", "very bad", "poison"])


@st.composite
def chat(draw: st.DrawFn, *, fates: Sequence[str]) -> list[Arrival]:
    """Some seconds of chat."""
    arrivals = [
        Arrival(
            at=draw(st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0, 2.5])),
            text=draw(WORDS),
            fate=draw(st.sampled_from(fates)),
            fate_at=draw(st.floats(0, 3, allow_nan=False)),
        )
        for _ in range(draw(st.integers(1, 24)))
    ]
    return sorted(arrivals, key=lambda arrival: arrival.at)


async def live(world: World, arrivals: Sequence[Arrival]) -> list[Judgement | BaseException]:
    """Each text comes at its time, and meets its fate."""

    async def one(offset: int, arrival: Arrival) -> Judgement:
        claim = Claim(offset)
        await asyncio.sleep(arrival.at)
        async with asyncio.timeout(arrival.fate_at if arrival.fate == "given up" else None):
            if arrival.fate == "lost":
                asyncio.get_running_loop().call_later(arrival.fate_at, setattr, claim, "held", False)
            judged = await world.one(arrival.text, claim)
        assert claim.begun == len(claim.ended)
        return judged

    async with world.running():
        works = (one(offset, arrival) for offset, arrival in enumerate(arrivals))
        return await asyncio.gather(*works, return_exceptions=True)


@settings(deadline=None, max_examples=150)
@given(chat(fates=["stays"]), st.integers(2, 16), st.sampled_from([0.0, 0.2, 1.0]), st.integers(0, 10_000))
def test_each_text_has_the_verdict_it_would_have_alone(
    arrivals: list[Arrival], most: int, age: float, seed: int
) -> None:
    """Whatever comes when, and though the service fails now and then: the same risk, and the bill to the last unit."""
    chance = random.Random(seed)

    def failure(texts: Sequence[str]) -> Reply | None:
        if chance.random() < 0.1:
            failures: list[Reply] = [answer(500), NotSent("refused"), answer(588), answer(200)]
            return chance.choice(failures)
        return answer(400) if "poison" in texts else None

    world = World(failure=failure, names_words=seed % 2 == 0, max_texts=most, max_age_seconds=age)
    judged = run(live(world, arrivals))
    for arrival, one in zip(arrivals, judged, strict=True):
        if arrival.text == "poison":
            assert isinstance(one, ContentRefused)
        else:
            assert isinstance(one, Judgement)
            assert one.risk_level in {truth(arrival.text), RiskLevel.UNKNOWN}
            assert (one.source == "packed") <= (one.risk_level is RiskLevel.NONE)
    if "poison" not in {arrival.text for arrival in arrivals}:
        assert units(judged) == world.billed


@settings(deadline=None, max_examples=150)
@given(chat(fates=["stays", "stays", "lost", "given up"]), st.integers(0, 10_000))
def test_nothing_that_happens_to_one_event_harms_another(arrivals: list[Arrival], seed: int) -> None:
    """Events are lost or given up at any moment, and the network fails: the others have their verdicts."""
    chance = random.Random(seed)

    def failure(texts: Sequence[str]) -> Reply | None:
        if chance.random() < 0.2:
            failures: list[Reply] = [answer(500), NoAnswer("reset"), NotSent("refused")]
            return chance.choice(failures)
        return answer(400) if "poison" in texts else None

    world = World(failure=failure, token_seconds=chance.choice([0.0, 0.3, 1.0]))
    for arrival, one in zip(arrivals, run(live(world, arrivals)), strict=True):
        if isinstance(one, Judgement):
            assert one.risk_level in {truth(arrival.text), RiskLevel.UNKNOWN}
        elif arrival.fate == "stays":
            assert isinstance(one, ContentRefused)
            assert arrival.text == "poison"
        else:
            assert isinstance(one, LaneClosed | TimeoutError | ContentRefused)


def test_the_cost_is_what_the_formula_says() -> None:
    """Texts of which 2 % are risky cost what is expected of groups of sixteen, within a twentieth."""
    dice = random.Random(6)
    texts = ["bad" if dice.random() < 0.02 else f"hello {number}" for number in range(6400)]
    world = World()

    async def main() -> int:
        async with world.running():
            return sum([units(await world.all(texts[at : at + 16])) for at in range(0, len(texts), 16)])

    assert run(main()) == world.billed
    risk = texts.count("bad") / len(texts)
    assert world.billed / len(texts) == pytest.approx(expected_calls(16, risk) / 16, rel=0.05)


# The shadow


def fed(world: World, rounds: int, texts: Sequence[str] = (*GREETINGS[:15], "bad")) -> list[int]:
    """Feeds a process with texts, many at a time; what was paid in each round."""
    paid: list[int] = []

    async def main() -> None:
        async with world.running():
            for _ in range(rounds):
                before = world.billed
                await world.all(texts)
                await asyncio.sleep(5)
                paid.append(world.billed - before)

    run(main())
    return paid


def always() -> float:
    """Picks every text."""
    return 0.0


def test_nothing_is_packed_before_it_was_measured() -> None:
    """Each text has its own call and verdict; a sample is asked about in groups, too, until that is enough."""
    world = World(evidence=Stored(), chance=always, sample=1.0, least_samples=100, least_agreement=0.7, max_texts=8)
    with capture_logs() as logs:
        paid = fed(world, 12)
    assert paid[0] > 16
    assert [log["event"] for log in logs] == ["texts are packed"]
    assert logs[0]["risky"] >= 9
    assert world.metric("packed_on") == 1
    assert world.metric("packed_agreement") >= 0.7
    assert world.metric("packed_samples_total", outcome="missed") == 0
    assert world.metric("packed_samples_total", outcome="found") >= 9
    single = world.metric("packed_sample_calls_total", how="single")
    assert 0.2 * single < world.metric("packed_sample_calls_total", how="packed") < single


def test_the_shadow_only_shows() -> None:
    """With `shadow` nothing is packed however well it agrees, and the verdicts are those of single calls."""
    world = World(mode="shadow", chance=always, sample=1.0)

    async def main() -> tuple[list[Judgement | BaseException], dict[str, object]]:
        async with world.running() as packed:
            judged = await world.all([*GREETINGS[:15], "bad"])
            await asyncio.sleep(5)
            return judged, packed.status()[TEXT.name]

    judged, status = run(main())
    assert {one.source for one in judged if isinstance(one, Judgement)} == {"service"}
    assert units(judged) == 16 < world.billed
    assert sorted(texts[0] for texts in world.calls if len(texts) == 1) == ["bad", *sorted(GREETINGS[:15])]
    assert status["packs"] is False
    assert (status["texts"], status["risky"], status["missed"]) == (10_016, 1001, 0)
    assert status["agreement_needed"] == 0.99
    assert world.metric("packed_on") == 0


def test_the_sample_is_a_share() -> None:
    """As many texts are judged both ways as were asked for, and a fifth of that once texts are packed."""
    for evidence, share in ((Stored(), 0.2), (measured(), 0.04)):
        world = World(evidence=evidence, chance=random.Random(1).random, sample=0.2)
        fed(world, 200, GREETINGS)
        compared = sum(world.metric("packed_samples_total", outcome=one) for one in ("clean", "alarm"))
        assert compared == pytest.approx(3200 * share, rel=0.25)


def test_a_judge_that_misses_among_others_is_never_packed() -> None:
    """Where the service overlooks a risky text among others, texts are judged singly, and the misses are counted."""
    world = World(
        evidence=Stored(),
        finds=lambda texts: truth(texts[0]),
        chance=always,
        sample=1.0,
        least_samples=100,
        least_agreement=0.7,
    )
    fed(world, 30)
    assert world.metric("packed_on") == 0
    assert world.metric("packed_samples_total", outcome="missed") > 10
    assert world.metric("packed_calls_total") == 0


def test_a_drift_switches_it_off() -> None:
    """When packed calls begin to miss risk, the sample shows it; from then on each text is judged alone again."""
    drifted = False

    def finds(texts: Sequence[str]) -> RiskLevel:
        return RiskLevel.NONE if drifted and len(texts) > 1 else max(map(truth, texts))

    world = World(finds=finds, chance=random.Random(3).random, sample=0.5)

    async def main() -> tuple[int, int]:
        nonlocal drifted
        passed = rounds = 0
        async with world.running():
            await world.all([*GREETINGS[:15], "bad"])
            drifted = True
            while world.metric("packed_on") and rounds < 1000:
                judged = await world.all([*GREETINGS[:15], "bad"])
                passed += any(isinstance(one, Judgement) and one.risk_level == 0 for one in judged[15:])
                rounds += 1
                await asyncio.sleep(1)
            await asyncio.sleep(5)
            begun = len(world.calls)
            judged = await world.all([*GREETINGS[:15], "bad"])
            assert judged[15] is not None
            assert [len(texts) for texts in world.calls[begun : begun + 16]] == [1] * 16
        return passed, rounds

    with capture_logs() as logs:
        _, rounds = run(main())
    assert rounds < 200
    changes = [log for log in logs if "packed" in log["event"]]
    assert [log["log_level"] for log in changes] == ["info", "warning"]
    assert changes[1]["missed"] > 0


def test_what_was_measured_outlives_the_process() -> None:
    """The next process packs at once, and goes on from the same counts."""
    evidence = Stored()
    chosen: dict[str, Any] = {"sample": 1.0, "least_samples": 100, "least_agreement": 0.7, "max_texts": 8}
    first = World(evidence=evidence, chance=always, **chosen)
    fed(first, 12)
    assert evidence.writes < 12
    second = World(evidence=evidence, **chosen)
    judged = judge(second, GREETINGS[:4])
    assert {one.source for one in judged} == {"packed"}
    assert second.packed.status()[TEXT.name]["texts"] >= 100


def test_what_another_process_measured_is_taken_over() -> None:
    """Whoever judges goes on from the newest record, also where it has measured something itself before."""
    world = World(evidence=Stored(), chance=always, sample=1.0)

    async def main() -> None:
        async with world.running() as packed:
            await world.all(GREETINGS)
            await asyncio.sleep(5)
            world.evidence.record = measured().record
            await world.all(GREETINGS)
            await asyncio.sleep(5)
            assert packed.status()[TEXT.name]["texts"] == 10_016

    run(main())


@pytest.mark.parametrize(
    "record", [b"no JSON", b"{}", b'{"version": 2, "services": {}}', b'{"version": 1, "services": {"x": {}}}', b"[]"]
)
def test_a_record_that_cannot_be_read_is_measured_anew(record: bytes) -> None:
    """What is no record of ours is said in the log, and nothing is packed on its word."""
    world = World(evidence=Stored(record))
    with capture_logs() as logs:
        judged = judge(world, GREETINGS[:4])
    assert {one.source for one in judged} == {"service"}
    assert [log["event"] for log in logs] == ["what was measured of packed texts cannot be read: it is measured anew"]


@pytest.mark.parametrize("failure", [answer(400), answer(200), NoAnswer("reset"), RuntimeError("a bug")])
def test_a_comparison_that_fails_concerns_nobody(failure: Reply) -> None:
    """Where a call that only compares comes to nothing, events have their verdicts, and nothing is counted."""
    world = World(mode="shadow", chance=always, sample=1.0, failure=lambda texts: failure if len(texts) > 1 else None)
    with capture_logs() as logs:
        fed(world, 2, GREETINGS)
    assert world.metric("packed_samples_total", outcome="clean") == 0
    assert [texts for texts in world.calls if len(texts) == 16]
    complaints = [log["event"] for log in logs if log["log_level"] == "error"]
    assert complaints == (["a sample of packed texts could not be compared"] * 2 if "bug" in str(failure) else [])


def test_the_sample_holds_what_a_call_holds() -> None:
    """Long texts of the sample are compared in calls that the service takes, and none is left out."""
    world = World(mode="shadow", chance=always, sample=1.0)
    fed(world, 1, [f"{number} {'x' * 480}" for number in range(8)])
    assert [len(texts) for texts in world.calls if len(texts) > 1] == [4]
    assert world.metric("packed_samples_total", outcome="clean") == 4


def test_where_nothing_would_be_packed_nothing_is_compared() -> None:
    """While the risk is so high that a call would hold one text, no text is judged both ways."""
    world = World(mode="shadow", evidence=measured(rate=0.9), chance=always, sample=1.0)
    fed(world, 2)
    assert len(world.calls) == 32


def test_an_answer_that_comes_after_the_end_is_not_compared() -> None:
    """An event that is still judged when the process stops has its verdict; nothing new is sent for the sample."""
    world = World(mode="shadow", chance=always, sample=1.0, max_texts=2)

    async def main() -> list[Judgement]:
        async with world.running():
            works = [asyncio.ensure_future(world.one(text)) for text in GREETINGS[:2]]
            await asyncio.sleep(0.01)
        return await asyncio.gather(*works)

    assert [one.risk_level for one in run(main())] == [RiskLevel.NONE] * 2
    assert len(world.calls) == 2


def test_a_text_of_which_nothing_is_known_is_not_compared() -> None:
    """A text without a usable answer is in no sample, and says nothing of the risk."""
    world = World(mode="shadow", chance=always, sample=1.0, failure=lambda _: answer(200))
    before = measured().record
    judged = judge(world, GREETINGS)
    assert {one.risk_level for one in judged} == {RiskLevel.UNKNOWN}
    assert max(map(len, world.calls)) == 1
    assert world.evidence.record == before


def test_more_than_can_be_compared_is_not_sampled() -> None:
    """While calls that compare do not come back, no more than four of them wait, and texts are judged as usual."""
    begun = 0

    class Slow:
        async def call(self, call: Call, claim: Stake, *, route: Route = CHAT) -> Judgement:
            nonlocal begun
            if SEPARATOR in call.content:
                begun += 1
            await asyncio.sleep(3600 if SEPARATOR in call.content else 0.05)
            return Judgement(RiskLevel.NONE, (TEXT.name,))

    async def main() -> list[Judgement]:
        async with stood_before(Slow(), Settings(mode="shadow", sample=1.0, max_texts=2)) as packed:
            return [await packed.call(text_call(TEXT, text, "id"), Claim()) for text in GREETINGS * 4]

    assert len(run(main())) == 64
    assert begun == 4


# Put together


def test_what_is_saved_is_never_negative() -> None:
    """What some calls cost more than they saved is taken off what the next ones save."""
    balance = Balance()
    unit = Billed("text_llm_standard", 1, Decimal("0.002"), "CNY")
    assert balance.saved(0, [unit, unit, unit]) == []
    assert balance.saved(4, [unit]) == []
    assert balance.saved(8, [unit, unit]) == [Billed("text_llm_standard", 6, Decimal("0.012"), "CNY")]
    assert balance.saved(0, []) == []
    assert balance.saved(2, [unit]) == [Billed("text_llm_standard", 1, Decimal("0.002"), "CNY")]


@given(st.lists(st.sampled_from([word.text for word in simulated.WORDS] + GREETINGS), min_size=1, max_size=16))
def test_the_simulator_finds_in_joined_texts_what_it_finds_in_each(texts: list[str]) -> None:
    """So that a run against it shows what packing would do to a perfect judge: the riskiest part decides."""
    whole = simulated.text(SEPARATOR.join(texts))
    assert whole.risk_level == simulated.highest(simulated.text(text).risk_level for text in texts)


def test_a_moderator_samples_where_it_is_configured() -> None:
    """With `packed.mode: shadow` in its settings a moderator judges both ways, and its bill has both."""

    async def main() -> tuple[int, int, float]:
        async with Simulator(SimulatorSettings(text_per_second=None)) as simulator:
            chosen = {
                "moderation": {
                    "endpoint": simulator.url,
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
                "routes": [{"name": "chat", "services": [TEXT.name]}],
                "quota": {"text_per_second": 1000},
                "packed": {"mode": "shadow", "sample": 1.0, "max_texts": 4},
            }
            async with Moderator.from_settings(chosen, {}) as moderator:
                given = [Event(f"e{number}", "message", text=text) for number, text in enumerate(GREETINGS)]
                judged = await asyncio.gather(*map(moderator.moderate, given))
                async with asyncio.timeout(20):
                    while not (found := moderator.metrics.totals("packed_samples")):
                        await asyncio.sleep(0.02)
            return sum(len(one.billed) for one in judged), simulator.ledger.billed_units, sum(found.values())

    single, paid, compared = asyncio.run(main())
    assert single == 16 < paid
    assert compared >= 4
