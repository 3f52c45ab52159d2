"""Tests of what is known already: what is asked once, who gets which answer, and what is never mixed up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from consumer.errors import ContentRefused, LaneClosed
from consumer.event import Event, Image, OssObject
from consumer.moderation.contents import Contents
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.requests import calls, text_call
from consumer.moderation.protocol.services import KNOWN
from consumer.routing import ANY, Route
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.known_world import (
    BACKFILL,
    COPY,
    LIVE,
    PRO,
    Vendor,
    World,
    after,
    outcomes,
    said,
    unknown,
)
from tests.moderation.support import IMAGE, TEXT, Claim, Request
from tests.virtual_time import run


if TYPE_CHECKING:
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call


ZERO_WIDTH = "\u200b"


def sources(judgements: list[Judgement]) -> list[str]:
    return [one.source for one in judgements]


# What is remembered


def test_the_same_text_is_judged_once() -> None:
    """A text that was judged is judged no more; its verdicts name the request it came from, and cost nothing."""
    world = World()
    first, second = world.one_by_one("hello", "hello")
    assert (first.source, second.source) == ("service", "cache")
    assert second == replace(first, source="cache", attempts=0, billed=())
    assert second.request_ids == ("R-0",)
    assert world.vendor.sent.total() == 1
    assert world.metric("cache_hits_total", service=TEXT.name) == 1
    assert world.metric("cache_misses_total", service=TEXT.name) == 1
    assert world.metric("cache_entries") == 1
    assert world.metric("saved_units_total", how="cache", moderation_type="text_llm_standard") == 1
    cost = world.metric("saved_cost_total", how="cache", moderation_type="text_llm_standard", currency="CNY")
    assert cost == pytest.approx(0.002)


def test_an_answer_is_forgotten_after_its_time() -> None:
    """Content is judged anew when its answer is as old as it may be; asking for it does not make it younger."""
    world = World(seconds=100)

    async def main() -> list[Judgement]:
        return await outcomes(*(after(seconds, world.ask("hello")) for seconds in (0, 50, 101.9, 102.1, 150)))

    assert sources(world.run(main)) == ["service", "cache", "cache", "service", "cache"]


def test_without_a_life_nothing_is_known() -> None:
    """With `seconds: 0` each event has a call of its own, also while another one for its text is under way."""
    world = World(seconds=0)
    assert sources(world.run(lambda: outcomes(*(world.ask("hello") for _ in range(3))))) == ["service"] * 3
    assert world.vendor.made.total() == 3


def test_services_share_nothing() -> None:
    """A copy of a service has libraries of its own: what one service says is never said for another."""
    world = World()
    services = (TEXT, COPY, PRO) * 2
    found = world.run(lambda: outcomes(*(after(n, world.ask("hello", one)) for n, one in enumerate(services))))
    assert [one.labels for one in found] == [said(one.name, "hello") for one in services]
    assert [one.services for one in found] == [(one.name,) for one in services]
    assert world.vendor.sent.total() == 3


def test_all_that_decides_an_answer_is_in_the_key() -> None:
    """What a request says besides its content and its event's id is in the key, and so is where it is sent."""
    asking = replace(TEXT, info_type=("llmContent",))
    elsewhere = replace(TEXT, endpoint=Endpoint("https", "other.example"))
    (call,) = calls(Event("e1", "message", text="hello"), [asking])
    sent = Request("http://h/", {"x-acs-action": ""}, call.body, 0.0)
    assert sent.parameters.keys() == {"content", "dataId", "infoType"}
    contents = Contents()
    keys = [contents.of(text_call(one, "hello", "e1")) for one in (TEXT, asking, elsewhere, COPY)]
    assert len(set(keys)) == 4
    assert contents.of(text_call(TEXT, "hello", "e2", offset=7)) == keys[0]
    assert contents.of(text_call(TEXT, "hello\ud800", "e1")) != contents.of(text_call(TEXT, "hello\udc00", "e1"))


def test_only_what_was_judged_is_remembered() -> None:
    """No usable answer, a refusal and an error are not kept: the next event with the text has a call of its own."""
    failures: dict[int, Judgement | Exception] = {1: unknown(), 2: ContentRefused("no"), 3: RuntimeError("a bug")}
    world = World(Vendor(fails=lambda _, number: failures.get(number)))
    found = world.run(lambda: outcomes(*(after(10 * n, world.ask("hello")) for n in range(5))))
    assert found[0].reason == "no usable answer"
    assert [type(one) for one in found[1:3]] == [ContentRefused, RuntimeError]
    assert sources(found[3:]) == ["service", "cache"]


def test_positions_are_those_of_the_event_s_own_text() -> None:
    """A piece of a long text that is known from elsewhere has its words where they stand in this event's text."""
    world = World()
    found = world.run(
        lambda: outcomes(
            world.ask("hello", offset=100), world.ask("hello", offset=7), after(9, world.ask("hello", offset=2000))
        )
    )
    assert sources(found) == ["service", "joined", "cache"]
    assert [one.labels for one in found] == [said(TEXT.name, "hello", at=at) for at in (100, 7, 2000)]


# Images


@pytest.mark.parametrize(
    "image",
    [
        Image("https://h/a.jpg"),
        Image(oss=OssObject("bucket", "a.jpg", "cn-shanghai")),
    ],
)
def test_images_are_known_by_their_place_if_that_is_trusted(image: Image) -> None:
    """The picture behind a place may change: only with `image_urls` is the same place the same picture."""
    event = Event("e1", "image", images=(image,))
    for trusted, expected in ((False, 2), (True, 1)):
        world = World(image_urls=trusted)

        async def main(world: World = world) -> None:
            for _ in range(2):
                (call,) = calls(event, [IMAGE])
                await world.known.call(call, Claim(), route=LIVE)

        world.run(main)
        assert world.vendor.sent.total() == expected


def test_an_uploaded_image_takes_no_room() -> None:
    """Each upload has a place of its own that nobody will ask for again, so that nothing is remembered of it."""
    (call,) = calls(Event("e1", "image", images=(Image(oss=OssObject("uploads", "uuid.jpg", "")),)), [IMAGE])
    assert Contents(image_urls=True).of(call) is None


# One call for all


def test_events_with_one_text_wait_for_one_call() -> None:
    """Identical calls at the same time are one: the bill is the first event's, the others name its request."""
    world = World()
    first, *others = world.run(lambda: outcomes(*(after(n * 0.4, world.ask("hello")) for n in range(5))))
    assert first.source == "service"
    assert others == [replace(first, source="joined", attempts=0, billed=())] * 4
    assert world.vendor.sent.total() == 1
    assert world.metric("cache_joined_total", service=TEXT.name) == 4
    assert world.metric("saved_units_total", how="joined", moderation_type="text_llm_standard") == 4


def test_a_call_outlives_the_event_that_caused_it() -> None:
    """A call that another event waits for is not thrown away with its first event, on the wire or before it."""
    for given_up_at in (0.5, 1.5):
        world = World()
        claims = [Claim(0), Claim(1)]

        async def main(world: World = world, at: float = given_up_at, claims: list[Claim] = claims) -> list[object]:
            return await outcomes(
                asyncio.wait_for(world.ask("hello", claim=claims[0]), at),
                after(0.2, world.ask("hello", claim=claims[1])),
            )

        lost, judged = world.run(main)
        assert isinstance(lost, TimeoutError)
        # Who is first now says what it cost.
        assert (judged.source, len(judged.billed), judged.labels) == ("service", 1, said(TEXT.name, "hello"))
        assert world.vendor.made.total() == 1
        assert all(claim.begun == len(claim.ended) for claim in claims)


def test_a_call_that_nobody_waits_for_is_ended() -> None:
    """When the last event leaves, the call ends with it; one that comes later has a call of its own."""
    world = World()

    async def main() -> list[object]:
        return await outcomes(
            asyncio.wait_for(world.ask("hello"), 0.5),
            asyncio.wait_for(world.ask("hello"), 0.7),
            after(0.8, world.ask("hello")),
        )

    *lost, judged = world.run(main)
    assert all(isinstance(one, TimeoutError) for one in lost)
    assert judged.source == "service"
    assert (world.vendor.made.total(), world.vendor.sent.total()) == (2, 1)


def test_an_event_whose_partition_is_lost_leaves_the_others_their_call() -> None:
    """Directly before a request each event's claim is asked: who has lost it leaves, the others have it sent."""
    world = World()
    claims = [Claim(n) for n in range(3)]

    async def main() -> list[object]:
        asyncio.get_running_loop().call_later(0.5, setattr, claims[0], "held", False)
        return await outcomes(*(world.ask("hello", claim=claim) for claim in claims))

    lost, first, second = world.run(main)
    assert isinstance(lost, LaneClosed)
    assert sources([first, second]) == ["service", "joined"]
    assert [claim.ended for claim in claims] == [[], [True], [True]]


def test_each_event_has_a_stake_in_the_request_that_is_on_the_wire() -> None:
    """A drain of any of their partitions waits for the answer; who has lost its claim cannot join what was sent."""
    world = World()
    early, late, lost = Claim(0), Claim(1), Claim(2)
    lost.held = False

    async def main() -> list[object]:
        works = (world.ask("hello", claim=early), after(1.5, world.ask("hello", claim=late)))
        beside = asyncio.create_task(outcomes(*works, after(1.5, world.ask("hello", claim=lost))))
        await asyncio.sleep(1.7)
        assert [claim.begun - len(claim.ended) for claim in (early, late, lost)] == [1, 1, 0]
        return await beside

    found = world.run(main)
    assert sources(found[:2]) == ["service", "joined"]
    assert isinstance(found[2], LaneClosed)
    assert (early.ended, late.ended) == ([True], [True])


def test_when_all_have_lost_their_claims_nothing_is_sent() -> None:
    """A call whose events have all gone is not made, and does not stand in the way of an event that comes then."""
    world = World()
    claims = [Claim(0), Claim(1)]

    async def main() -> list[object]:
        for claim in claims:
            asyncio.get_running_loop().call_later(0.5, setattr, claim, "held", False)
        return await outcomes(*(world.ask("hello", claim=one) for one in claims), after(1.0, world.ask("hello")))

    *lost, judged = world.run(main)
    assert all(isinstance(one, LaneClosed) for one in lost)
    assert judged.source == "service"
    assert world.vendor.sent.total() == 1


@pytest.mark.parametrize("failure", [unknown(), RuntimeError("a bug")])
def test_an_answer_of_no_use_is_the_first_event_s_alone(failure: Judgement | Exception) -> None:
    """Where the first call comes to nothing another waiting event calls, and its answer is for all who still wait."""
    world = World(Vendor(fails=lambda _, number: failure if number == 1 else None))
    first, *others = world.run(lambda: outcomes(*(world.ask("hello") for _ in range(4))))
    assert isinstance(first, RuntimeError) or first.reason == "no usable answer"
    assert sources(others) == ["service", "joined", "joined"]
    assert world.vendor.made.total() == 2


def test_content_that_the_service_fails_on_does_not_keep_events_waiting_in_turn() -> None:
    """What comes of the second call of no use is for all who waited for both: a hundred do not try one by one."""
    world = World(Vendor(fails=lambda _, __: unknown()))

    async def main() -> tuple[list[Judgement], float]:
        found = await outcomes(*(world.ask("hello") for _ in range(100)))
        return found, asyncio.get_running_loop().time()

    found, ended_at = world.run(main)
    assert {one.risk_level for one in found} == {RiskLevel.UNKNOWN}
    assert {one.reason for one in found} == {"no usable answer"}
    assert (ended_at, world.vendor.made.total()) == (4.0, 2)
    assert sum(bill.units for one in found for bill in one.billed) == world.vendor.units == 2
    assert sources(found) == ["service", "service", *["joined"] * 98]
    assert world.metric("saved_units_total", how="joined", moderation_type="text_llm_standard") == 0


def test_a_refusal_is_for_all_with_the_same_text() -> None:
    """The service refuses the content, whoever posts it: nobody asks again, and who sent nothing says so."""
    refused = ContentRefused("too long", code="402", request_id="R-1", attempts=1)
    world = World(Vendor(fails=lambda _, __: refused))
    found = world.run(lambda: outcomes(*(world.ask("hello") for _ in range(3))))
    assert [(one.reason, one.request_id, one.attempts) for one in found] == [
        ("402", "R-1", 1),
        ("402", "R-1", 0),
        ("402", "R-1", 0),
    ]
    assert len({id(one) for one in found}) == 3
    assert world.vendor.made.total() == 1


def test_live_events_do_not_queue_behind_a_backfill() -> None:
    """Before anything is sent each route has its own place in the queue; with the first that is sent all go."""
    turns = {"live": 1.0, "backfill": 60.0}
    world = World(Vendor(turn_seconds=lambda route: turns[route.name]))

    async def main() -> tuple[list[Judgement], float]:
        found = await outcomes(
            world.ask("hello", route=BACKFILL),
            after(3, world.ask("hello", route=LIVE)),
            after(3.5, world.ask("hello", route=BACKFILL)),
            after(4.5, world.ask("hello", route=BACKFILL)),
        )
        return found, asyncio.get_running_loop().time()

    found, ended_at = world.run(main)
    assert ended_at == 5.0
    assert sources(found) == ["joined", "service", "joined", "joined"]
    assert world.vendor.sent.total() == 1


def test_nobody_waits_for_what_has_been_stopped() -> None:
    """At the end the events that still wait hear that their partition is no longer worked on, and nothing is left."""
    world = World()

    async def main() -> list[object]:
        async with world.known:
            waiting = [asyncio.create_task(world.ask(text)) for text in ("a", "a", "b")]
            await asyncio.sleep(1.5)
        return await outcomes(*waiting, world.ask("c"))

    assert all(isinstance(one, LaneClosed) for one in run(main()))
    assert world.vendor.on_wire.total() == 0
    with pytest.raises(RuntimeError, match="not open"):
        run(World().ask("hello"))


def test_an_event_that_says_the_same_twice_pays_once() -> None:
    """Two calls of one event for one content are one; its verdict is known already only if all of its parts are."""
    world = World()
    judge = ServiceJudge(world.known, KNOWN)
    route = Route("twice", (TEXT.name, TEXT.name))

    async def main() -> list[Judgement]:
        event = Event("1", "message", text="hello")
        return [await judge.judge(event, route, Claim()) for _ in range(2)]

    first, second = world.run(main)
    assert (first.source, first.request_ids, first.attempts, len(first.billed)) == ("service", ("R-0",), 1, 1)
    assert (second.source, second.request_ids, second.attempts, second.billed) == ("cache", ("R-0",), 0, ())


# Texts that count as the same


def test_texts_differ_unless_it_is_chosen_otherwise() -> None:
    """Without `normalize` every character makes a difference."""
    world = World()
    world.one_by_one("wow!!!!", "wow!!!!!", "wow!!!! ", f"wow{ZERO_WIDTH}!!!!", "ｗow!!!!")
    assert world.vendor.sent.total() == 5


def test_repeated_marks_make_no_difference_where_that_is_chosen() -> None:
    """A louder text is judged with the quieter one; its positions, which are those of the other text, are left out."""
    world = World(normalize=["repeats"])

    async def main() -> list[Judgement]:
        found = await outcomes(world.ask("wow!!!!!!!!"), world.ask("wow!!!!!"))
        return [*found, await world.ask("wow!!!"), await world.ask("wow!!!!!!!!", offset=3)]

    first, joined, quiet, again = world.run(main)
    assert sources([first, joined, quiet, again]) == ["service", "joined", "cache", "cache"]
    own = said(TEXT.name, "wow!!!!!!!!")
    assert joined.labels == quiet.labels == (replace(own[0], positions=()),)
    assert again.labels == said(TEXT.name, "wow!!!!!!!!", at=3)
    assert list(world.vendor.sent) == [(TEXT.name, "wow!!!!!!!!")]


def test_a_refusal_is_not_said_of_another_text() -> None:
    """A text that is refused may be too long where another one with the same normal form is not."""
    refused = ContentRefused("too long", code="402")
    world = World(Vendor(fails=lambda call, _: refused if len(call.content) > 9 else None), normalize=["repeats"])
    found = world.run(lambda: outcomes(world.ask("wow!!!!!!!!"), world.ask("wow!!!!!!!!"), world.ask("wow!!!!!")))
    assert [type(one) for one in found] == [ContentRefused, ContentRefused, Judgement]


def test_pro_services_judge_every_form() -> None:
    """Services with `_pro` in their names, copies of them included, see each text as it was written."""
    world = World(normalize=["unicode", "invisible", "repeats"])
    copy = replace(PRO, name="ugc_moderation_byllm_pro_01")
    for service in (PRO, copy):
        world.one_by_one("wow!!!!", "wow!!!!!", "ｗow!!!!", service=service)
        world = World(world.vendor, normalize=["unicode", "invisible", "repeats"])
    assert world.vendor.sent.total() == 6


def test_an_open_text_answers_for_its_disguises() -> None:
    """What a text was found to be is said of its other forms: of wide letters, and of letters with nothing between."""
    world = World(normalize=["unicode", "invisible"])
    found = world.one_by_one("clean word", "ｃlean word", f"cle{ZERO_WIDTH}an word")
    assert sources(found) == ["service", "cache", "cache"]


def test_a_word_that_was_hidden_does_not_make_the_open_word_clean() -> None:
    """A clean answer to a text in disguise is for that very text: the open one, and other disguises, are judged."""
    world = World(normalize=["unicode", "invisible"])
    hidden, other = f"clean w{ZERO_WIDTH}ord", "clean ｗord"
    found = world.one_by_one(hidden, hidden, other, "clean word", f"clean wo{ZERO_WIDTH}rd")
    assert sources(found) == ["service", "cache", "service", "service", "cache"]


def test_risk_in_disguise_is_known_in_other_disguises_only() -> None:
    """A wave of one risky text in many disguises is judged once; a harmless text is not made risky by one of them."""
    world = World(normalize=["invisible"])
    wave = [f"{'hello'[:n]}{ZERO_WIDTH}{'hello'[n:]}" for n in range(5)]
    found = world.one_by_one(*wave, "hello")
    assert sources(found) == ["service", *["cache"] * 4, "service"]
    assert {one.risk_level for one in found[:5]} == {RiskLevel.HIGH}


def test_a_call_that_was_ended_elsewhere_is_made_again_once() -> None:
    """Where what makes the calls gives one up, its events try again; where it always does, they are told."""

    class Ending(Vendor):
        async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
            if len(self.made) < 2 and not self.made[call.service.name, call.content]:
                self.made[call.service.name, call.content] += 1
                raise asyncio.CancelledError
            if call.content == "never":
                raise LaneClosed("stopped")
            return await super().call(call, claim, route=route)

    world = World(Ending())
    judged, told = world.run(lambda: outcomes(world.ask("hello"), world.ask("never")))
    assert judged.source == "service"
    assert isinstance(told, LaneClosed)
