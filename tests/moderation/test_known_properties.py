"""Whoever is lost or given up when, and whatever fails: each event gets an answer to its own content, paid for once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ContentRefused, LaneClosed
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.known_world import BACKFILL, COPY, LIVE, Vendor, World, outcomes, said, unknown
from tests.moderation.support import TEXT, Claim


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service
    from consumer.routing import Route


SECONDS = 8.0


@dataclass(frozen=True)
class Arrival:
    """An event, when it comes, and what happens to it later: nothing, its claim is lost, or it is given up."""

    at: float
    text: str
    service: Service
    route: Route
    offset: int
    fate: str = "stays"
    fate_after: float = 0.0


MOMENTS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0, 1.5, 2.0, 2.3, 3.0, 4.7, 9.0, 12.0])


@st.composite
def traffic(draw: st.DrawFn, fates: Sequence[str] = ("stays", "stays", "lost", "given up")) -> list[Arrival]:
    """Events with few texts for two services by two routes, within some seconds."""
    count = draw(st.integers(1, 16))
    return [
        Arrival(
            draw(MOMENTS),
            draw(st.sampled_from(["a", "a", "b", "clean"])),
            draw(st.sampled_from([TEXT, TEXT, COPY])),
            draw(st.sampled_from([LIVE, LIVE, BACKFILL])),
            draw(st.sampled_from([0, 0, 50])),
            draw(st.sampled_from(fates)),
            draw(MOMENTS),
        )
        for _ in range(count)
    ]


async def one(world: World, arrival: Arrival, claim: Claim) -> Judgement:
    """An event comes at its time, and meets its fate."""
    await asyncio.sleep(arrival.at)
    if arrival.fate == "lost":
        asyncio.get_running_loop().call_later(arrival.fate_after, setattr, claim, "held", False)
    async with asyncio.timeout(arrival.fate_after if arrival.fate == "given up" else None):
        asked = world.ask(arrival.text, arrival.service, claim=claim, route=arrival.route, offset=arrival.offset)
        return await asked


@settings(deadline=None, max_examples=250)
@given(traffic(), st.integers(0, 10_000), st.sampled_from([0.0, 0.3]), st.integers(1, 3))
def test_each_event_gets_the_answer_to_its_own_content(
    arrivals: list[Arrival], seed: int, fails: float, tries: int
) -> None:
    """Events leave, calls fail and texts are refused at any moment: the others are judged, by what they say."""
    chance = random.Random(seed)
    poison = {what for what in ("a", "b", "clean") if chance.random() < fails}

    def failure(call: Call, _: int) -> Judgement | Exception | None:
        if call.content in poison:
            return ContentRefused("never", code="402")
        failures: list[Judgement | Exception] = [unknown(), RuntimeError("a bug")]
        return chance.choice(failures) if chance.random() < fails else None

    vendor = Vendor(
        turn_seconds=lambda route: chance.choice([0.0, 0.5, 1.0]) * (5 if route is BACKFILL else 1),
        wire_seconds=chance.choice([0.5, 1.0]),
        tries=tries,
        fails=failure,
    )
    world = World(vendor, seconds=SECONDS)
    claims = [Claim(n) for n in range(len(arrivals))]

    async def main() -> list[object]:
        return await outcomes(*(one(world, *pair) for pair in zip(arrivals, claims, strict=True)))

    found = world.run(main)
    for arrival, got in zip(arrivals, found, strict=True):
        what = (arrival.service.name, arrival.text)
        if isinstance(got, Judgement):
            assert {vendor.asked[one] for one in got.request_ids} == {what}
            if got.risk_level is not RiskLevel.UNKNOWN:
                assert got.labels == said(*what, at=arrival.offset)
                assert got.risk_level is (RiskLevel.NONE if arrival.text == "clean" else RiskLevel.HIGH)
            else:
                assert fails
            assert (got.source == "service") == bool(got.billed) == bool(got.attempts)
        elif isinstance(got, ContentRefused):
            assert arrival.text in poison
        elif isinstance(got, RuntimeError):
            assert fails
        else:
            assert (arrival.fate, type(got)) in {("lost", LaneClosed), ("given up", TimeoutError)}, got
    assert vendor.most_on_wire <= 1
    assert vendor.on_wire.total() == 0
    assert all(claim.begun == len(claim.ended) for claim in claims)
    if all(arrival.fate == "stays" for arrival in arrivals):
        assert sum(bill.units for got in found if isinstance(got, Judgement) for bill in got.billed) == vendor.units


@settings(deadline=None, max_examples=100)
@given(traffic(fates=("stays",)))
def test_content_is_judged_once_within_its_life(arrivals: list[Arrival]) -> None:
    """Whenever events with one text for one service come, it is asked no more often than its life allows."""
    world = World(seconds=SECONDS)
    judged = Counter[tuple[str, str]]()

    async def main() -> list[object]:
        return await outcomes(*(one(world, arrival, Claim(n)) for n, arrival in enumerate(arrivals)))

    for got in world.run(main):
        assert isinstance(got, Judgement)
        judged[got.source, got.services[0]] += 1
    for service, text in world.vendor.sent:
        came = sorted(each.at for each in arrivals if (each.service.name, each.text) == (service, text))
        lives, until = 0, -1.0
        for at in came:
            if at >= until:
                # A turn, a second on the wire, and from then on it is known.
                lives, until = lives + 1, at + 2.0 + SECONDS
        assert world.vendor.sent[service, text] == lives
    for service in {TEXT.name, COPY.name}:
        counted = [world.metric(f"cache_{name}_total", service=service) for name in ("hits", "joined", "misses")]
        assert counted == [judged[source, service] for source in ("cache", "joined", "service")]
