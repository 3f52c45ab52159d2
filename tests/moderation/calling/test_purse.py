"""The client pays from a budget: before each request that costs something, and nothing for those that do not."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from consumer.errors import NoAnswer, NotSent
from consumer.metrics import Metrics
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN
from consumer.quota.budget import Budgets
from consumer.routing import Route
from consumer.settings.saving import Budget
from consumer.verdict import RiskLevel
from tests.moderation.support import Claim, Rig, answer, clean, text_call
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.moderation.calling.transport import HttpAnswer


ROUTE = Route("chat", ("ugc_moderation_byllm",))
POST = KNOWN["post_text_image_detection"]


def rig(script: Sequence[HttpAnswer | Exception], limit: str = "3", **more: Any) -> tuple[Rig, Budgets]:
    """A client whose calls are paid from one budget."""
    given = {"unit": "units", "when_spent": "review", **more}
    budgets = Budgets([Budget(name="b", limit=Decimal(limit), **given)], clock=LoopClock(), metrics=Metrics())
    made = Rig(script)
    made.client._purse = budgets
    return made, budgets


def spent(budgets: Budgets) -> float:
    value: float = budgets.status()[0]["spent"]
    return value


def test_a_call_that_the_budget_does_not_pay_for_goes_to_a_person() -> None:
    """It is unknown, with the budget as the reason, and neither a request nor a token was used for it."""

    async def main() -> None:
        made, _ = rig([clean()], "1")
        assert (await made.client.call(text_call(), Claim(), route=ROUTE)).risk_level is RiskLevel.NONE
        judgement = await made.client.call(text_call(), Claim(), route=ROUTE)
        assert judgement.risk_level is RiskLevel.UNKNOWN
        assert judgement.reason == "the budget b is spent until 2026-01-03T00:00+00:00"
        assert (judgement.attempts, judgement.billed) == (0, ())
        assert len(made.service.requests) == made.tokens["text"].taken == 1
        submitted = await made.client.submit(Call(POST, query="x", characters=10), [Claim()], route=ROUTE)
        assert submitted.task_id is None
        assert submitted.reason == judgement.reason

    run(main())


def test_each_paid_answer_counts_and_each_other_does_not() -> None:
    """Failures that are not billed leave the budget alone; an answer that never came whole counts as paid."""

    async def main() -> None:
        made, budgets = rig([answer(500), NotSent("refused"), NoAnswer("cut off"), clean()], "100")
        judgement = await made.client.call(text_call(), Claim(), route=ROUTE)
        assert judgement.attempts == 4
        assert spent(budgets) == 2

    run(main())


def test_a_request_that_is_given_up_on_the_wire_counts_as_paid() -> None:
    """Cancelled while it is on the wire it may have been billed; cancelled before, it was not."""

    async def main() -> None:
        made, budgets = rig([clean()], "100")
        made.tokens["text"].wait_seconds = 1
        for seconds in (0.5, 1.01):
            call = asyncio.create_task(made.client.call(text_call(), Claim(), route=ROUTE))
            await asyncio.sleep(seconds)
            call.cancel()
            await asyncio.wait({call})
        assert spent(budgets) == 1

    run(main())


def test_what_is_free_is_asked_for_though_the_budget_is_spent() -> None:
    """The result of a task that was paid for is fetched, whatever the budget says."""

    async def main() -> None:
        made, budgets = rig([answer(200, level="none")], "1", when_spent="hold")
        await made.client.call(text_call(), Claim(), route=ROUTE)
        assert await made.client.query(POST.name, "t1") is not None
        assert spent(budgets) == 1

    run(main())
