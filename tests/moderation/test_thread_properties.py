"""Whatever comes, in whatever order, and whatever goes wrong: each event is judged once, by what it says itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ContentRefused, LaneClosed, NoAnswer, NotSent
from consumer.settings.models import Threads
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import Claim, answer
from tests.moderation.thread_world import World, event
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event
    from tests.moderation.support import Reply


Judged = Judgement | BaseException


@dataclass(frozen=True)
class Arrival:
    """An event, when it comes, and what happens to it later: nothing, its claim is lost, or it is given up."""

    at: float
    event: Event
    fate: str = "stays"
    fate_at: float = 0.0


@st.composite
def traffic(draw: st.DrawFn, *, longest: int = 12_000, fates: Sequence[str] = ("stays",)) -> list[Arrival]:
    """Posts, comments and replies of a few threads, over a few seconds."""
    arrivals: list[Arrival] = []
    for number in range(draw(st.integers(1, 14))):
        name = draw(st.sampled_from([None, "t", "t", "t", "u"]))
        made = event(
            number,
            draw(st.sampled_from(["comment", "comment", "comment", "post"])),
            characters=min(longest, draw(st.sampled_from([0, 20, 20, 300, 990, 1000, 1001, 4990, 5000, 5001, 12_000]))),
            images=draw(st.sampled_from([0, 0, 0, 1, 10, 11, 30, *([31] if longest > 5000 else [])])),
            thread=name,
            parent=draw(st.sampled_from([None, *(arrival.event.id for arrival in arrivals)])),
        )
        at = draw(st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0, 2.5])) + number / 10_000
        arrivals.append(Arrival(at, made, draw(st.sampled_from(fates)), draw(st.floats(0, 45, allow_nan=False))))
    return sorted(arrivals, key=lambda arrival: arrival.at)


async def live(world: World, arrivals: Sequence[Arrival], claims: Sequence[Claim] = ()) -> list[Judged]:
    """Each event comes at its time, and meets its fate."""

    async def one(offset: int, arrival: Arrival) -> Judgement:
        claim = claims[offset] if claims else Claim(offset)
        await asyncio.sleep(arrival.at)
        async with asyncio.timeout(arrival.fate_at if arrival.fate == "given up" else None):
            if arrival.fate == "lost":
                asyncio.get_running_loop().call_later(arrival.fate_at, setattr, claim, "held", False)
            return await world.one(arrival.event, claim)

    works = (one(offset, arrival) for offset, arrival in enumerate(arrivals))
    return await asyncio.gather(*works, return_exceptions=True)


def is_its_own(arrival: Arrival, judged: Judged) -> bool:
    """Whether the event was judged by its own words and by nothing else."""
    if not isinstance(judged, Judgement):
        return False
    return judged.risk_level is RiskLevel.HIGH and {one.label for one in judged.labels} == {f"is_{arrival.event.id}"}


def is_overlong(event: Event) -> bool:
    """Whether no single call takes it."""
    return len(event.text) > 5000 or len(event.images) > 30


@settings(deadline=None, max_examples=60)
@given(traffic(), st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 0.25]))
def test_each_event_is_judged_once_by_its_own_words(arrivals: list[Arrival], age: float, quiet: float) -> None:
    """Each event is in one call (an overlong one in several of its own), within the limits, in its thread's order."""
    world = World(threads=Threads(max_age_seconds=age, quiet_seconds=quiet))

    async def main() -> list[Judged]:
        async with world.running():
            return await live(world, arrivals)

    judged = run(main())
    assert all(is_its_own(*pair) for pair in zip(arrivals, judged, strict=True))
    assert world.faults == []
    calls = Counter(name for names in world.accepted for name in set(names))
    whole = [arrival.event for arrival in arrivals if not is_overlong(arrival.event)]
    assert all(calls[arrival.event.id] >= 1 for arrival in arrivals)
    assert all(calls[one.id] == 1 for one in whole)
    for thread in ("t", "u"):
        came = [one.id for one in whole if one.thread == thread]
        together = [sorted(names, key=came.index) for names in world.sent() if names[0] in came]
        assert [name for names in together for name in names] == came
    bills = [bill for one in judged if isinstance(one, Judgement) for bill in one.billed]
    for kind in ("text_llm_standard", "image_vl_standard"):
        assert sum(bill.units for bill in bills if bill.moderation_type == kind) == world.rig.metric(
            "billed_units_total", moderation_type=kind
        )


@settings(deadline=None, max_examples=100)
@given(traffic(fates=("stays", "stays", "lost", "given up")), st.integers(0, 10_000))
def test_nothing_that_happens_to_one_event_harms_another(arrivals: list[Arrival], seed: int) -> None:
    """Events are lost or given up at any moment, some are refused, and the network fails: the others are judged."""
    chance = random.Random(seed)
    poison = {arrival.event.id for arrival in arrivals if chance.random() < 0.15}

    def failure(names: list[str]) -> Reply | None:
        if chance.random() < 0.2:
            failures: list[Reply] = [answer(500), NoAnswer("reset"), NotSent("refused"), answer(403)]
            return chance.choice(failures)
        return answer(402) if poison & set(names) else None

    world = World(failure=failure, token_seconds=chance.choice([0.0, 0.3, 3.0]))

    async def main() -> list[Judged]:
        async with world.running():
            return await live(world, arrivals)

    for arrival, judged in zip(arrivals, run(main()), strict=True):
        if arrival.event.id in poison:
            assert isinstance(judged, ContentRefused | LaneClosed | TimeoutError)
        elif arrival.fate == "stays":
            assert is_its_own(arrival, judged)
        else:
            assert is_its_own(arrival, judged) or isinstance(judged, LaneClosed | TimeoutError)
    assert world.faults == []
    calls = Counter(name for names in world.accepted for name in names)
    assert all(calls[arrival.event.id] <= 1 for arrival in arrivals if not is_overlong(arrival.event))


@settings(deadline=None, max_examples=60)
@given(traffic(longest=4990), st.lists(st.floats(0.0, 60.0, allow_nan=False), min_size=1, max_size=3))
def test_nothing_is_submitted_again_after_a_restart(arrivals: list[Arrival], crashes: list[float]) -> None:
    """However often the process is started anew, only what was on the wire when it ended is submitted again."""
    world = World()

    async def main() -> tuple[list[Judged], set[str]]:
        on_wire: set[str] = set()
        for crash in crashes:
            claims = [Claim(offset) for offset in range(len(arrivals))]
            async with world.running():
                works = asyncio.ensure_future(live(world, arrivals, claims))
                await asyncio.wait({works}, timeout=crash)
                pairs = zip(arrivals, claims, strict=True)
                on_wire |= {arrival.event.id for arrival, claim in pairs if claim.begun > len(claim.ended)}
                works.cancel()
                await asyncio.wait({works})
        async with world.running():
            return await live(world, arrivals), on_wire

    judged, on_wire = run(main())
    assert all(is_its_own(*pair) for pair in zip(arrivals, judged, strict=True))
    again = {name for name, count in Counter(name for names in world.accepted for name in names).items() if count > 1}
    assert again <= on_wire


def test_a_stranger_in_the_place_of_an_event_has_its_own_task() -> None:
    """A record that stands where another one stood, in a topic made anew, is not judged by the other's task."""
    world = World()

    async def main() -> list[Judgement]:
        judged = []
        for number in (1, 2):
            claim = Claim(0)
            claim.record = replace(claim.record, timestamp=number)
            async with world.running():
                judged.append(await world.one(event(number), claim))
        return judged

    assert [label.label for one in run(main()) for label in one.labels] == ["is_e1", "is_e2"]
