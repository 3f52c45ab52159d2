"""A budget of a moderator in somebody's own program: it is kept in memory, and can be looked at."""

from __future__ import annotations

import asyncio

from consumer import Event, Moderator
from consumer.simulator import Simulator, SimulatorSettings
from consumer.verdict import RiskLevel


def test_a_moderator_keeps_to_its_budget() -> None:
    """What the budget does not pay for goes to a person, with the reason, and the service is not asked."""

    async def main() -> None:
        async with Simulator(SimulatorSettings()) as simulator:
            settings = {
                "moderation": {
                    "endpoint": simulator.url,
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
                "budgets": [{"name": "mine", "period": "month", "limit": 2, "unit": "units", "when_spent": "review"}],
            }
            async with Moderator.from_settings(settings, {}) as moderator:
                events = [Event(str(number), "message", text=f"hello {number}") for number in range(3)]
                judged = [await moderator.moderate(event) for event in events]
                assert [one.risk_level for one in judged] == [RiskLevel.NONE, RiskLevel.NONE, RiskLevel.UNKNOWN]
                assert judged[2].action == "review"
                assert "the budget mine is spent until" in (judged[2].judgement.reason or "")
                [budget] = moderator.budgets
                assert (budget["name"], budget["spent"], budget["limit"]) == ("mine", 2, 2)
            assert simulator.ledger.billed_calls == 2
            assert moderator.budgets == []

    asyncio.run(main())
