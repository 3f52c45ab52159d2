"""A vendor by script, and what is known of it, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.metrics import Metrics
from consumer.moderation.known import Known
from consumer.moderation.protocol.billing import LIST_PRICES, bill
from consumer.moderation.protocol.requests import text_call
from consumer.moderation.protocol.services import KNOWN
from consumer.routing import ANY, Route
from consumer.settings.models import Cache
from consumer.verdict import Judgement, Label, RiskLevel, RiskPosition
from tests.moderation.support import TEXT, Claim
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service


__all__ = ["BACKFILL", "COPY", "LIVE", "PRO", "Outcome", "Vendor", "World", "after", "outcomes", "said", "unknown"]


PRO = KNOWN["ugc_moderation_byllm_pro"]
COPY = replace(TEXT, name="ugc_moderation_byllm_01")
LIVE, BACKFILL = Route("live", (TEXT.name,), weight=10), Route("backfill", (TEXT.name,))

Outcome = Judgement | BaseException


class Vendor:
    """A caller that waits for its turn, is on the wire for a while, and answers by a script.

    Its answer to a text is a label that names service and text; a text with `clean` in it has no risk. `fails` gives
    another outcome for a call and its number among those for the same text.
    """

    def __init__(
        self,
        *,
        turn_seconds: Callable[[Route], float] = lambda _: 1.0,
        wire_seconds: float = 1.0,
        tries: int = 1,
        fails: Callable[[Call, int], Judgement | Exception | None] = lambda _, __: None,
    ) -> None:
        self.made: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.on_wire: Counter[tuple[str, str]] = Counter()
        self.most_on_wire = 0
        self.asked: dict[str, tuple[str, str]] = {}
        self.units = 0
        self._turn_seconds = turn_seconds
        self._wire_seconds = wire_seconds
        self._tries = tries
        self._fails = fails

    async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
        what = (call.service.name, call.content)
        self.made[what] += 1
        number = self.made[what]
        for left in reversed(range(self._tries)):
            await asyncio.sleep(self._turn_seconds(route))
            claim.begin()
            self.sent[what] += 1
            self.on_wire[what] += 1
            self.most_on_wire = max(self.most_on_wire, self.on_wire[what])
            try:
                await asyncio.sleep(self._wire_seconds)
            finally:
                self.on_wire[what] -= 1
                claim.end(billed=not left)
        failure = self._fails(call, number)
        if isinstance(failure, Exception):
            raise failure
        request_id = f"R-{len(self.asked)}"
        self.asked[request_id] = what
        self.units += 1
        answer = failure or Judgement(
            RiskLevel.NONE if "clean" in call.content else RiskLevel.HIGH,
            (call.service.name,),
            labels=said(*what, at=call.offset),
        )
        return replace(answer, request_ids=(request_id,), attempts=self._tries, billed=bill(call, LIST_PRICES))


def said(service: str, text: str, *, at: int = 0) -> tuple[Label, ...]:
    """What the vendor says of a text that begins at this place of its event's."""
    return (Label(f"is_{text}", "is", service, "text", positions=(RiskPosition(text, at, at + len(text)),)),)


def unknown() -> Judgement:
    """What is said where no usable answer could be had."""
    return Judgement(RiskLevel.UNKNOWN, (TEXT.name,), reason="no usable answer")


class World:
    """What is known of one vendor."""

    def __init__(self, vendor: Vendor | None = None, **cache: Any) -> None:
        self.vendor = vendor or Vendor()
        self.metrics = Metrics()
        self.known = Known(self.vendor, Cache(**cache), prices=LIST_PRICES, clock=LoopClock(), metrics=self.metrics)
        self._numbers = itertools.count()

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function in virtual time, beside what is known."""

        async def inside() -> Any:
            async with self.known:
                return await main()

        return run(inside())

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now, 0 where it has none yet."""
        return self.metrics.registry.get_sample_value(f"moderation_{name}", labels) or 0.0

    async def ask(
        self, text: str, service: Service = TEXT, *, claim: Claim | None = None, route: Route = LIVE, offset: int = 0
    ) -> Judgement:
        """Have a text judged, as part of a new event."""
        call = text_call(service, text, f"event-{next(self._numbers)}", offset=offset)
        return await self.known.call(call, claim or Claim(), route=route)

    def one_by_one(self, *texts: str, service: Service = TEXT) -> list[Judgement]:
        """What is said of texts each of which comes when the one before has been judged."""

        async def main() -> list[Judgement]:
            return [await self.ask(text, service) for text in texts]

        return list(self.run(main))


async def after(seconds: float, work: Awaitable[Any]) -> Any:
    """Begin some work later."""
    await asyncio.sleep(seconds)
    return await work


async def outcomes(*works: Awaitable[Any]) -> list[Any]:
    """What comes of all of these, begun at the same time; errors are among it."""
    return await asyncio.gather(*works, return_exceptions=True)
