"""What is kept of a call after its answer: nothing but what is remembered."""

from __future__ import annotations

import asyncio
import gc

from consumer.metrics import Metrics
from consumer.moderation.known import Known
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.requests import text_call
from consumer.routing import ANY
from consumer.settings.models import Cache
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time
from tests.moderation.support import TEXT, Claim


class _Clean:
    """Finds every content clean."""

    async def call(self, call: object, claim: object, *, route: object = ANY) -> Judgement:
        await asyncio.sleep(0.01)
        return Judgement(RiskLevel.NONE, ("service",), request_ids=("R",))


def test_a_call_leaves_nothing_behind_that_only_the_collector_frees() -> None:
    """Events and their verdicts are freed as they leave: they would else pile up until the next full collection."""

    async def main() -> int:
        clock, metrics = virtual_time.LoopClock(), Metrics()
        async with Known(_Clean(), Cache(), prices=LIST_PRICES, clock=clock, metrics=metrics) as known:
            for number in range(100):
                call = text_call(TEXT, f"text {number // 2}", str(number))
                await asyncio.gather(known.call(call, Claim()), known.call(call, Claim()))
                if number == 10:
                    gc.collect()
            return gc.collect()

    gc.disable()
    try:
        assert virtual_time.run(main()) < 50
    finally:
        gc.enable()
