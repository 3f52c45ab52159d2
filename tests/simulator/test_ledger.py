"""The ledger's own arithmetic, by the worked examples of the price pages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from consumer.simulator.ledger import Ledger


@pytest.mark.parametrize(
    ("moderation_type", "calls", "units", "cost", "plan"),
    [
        ("text_llm_standard", 100, 1, "0.20", "267"),  # the text page: 100 calls are CNY 0.20
        ("text_llm_standard", 1, 1, "0.002", "2.67"),
        ("text_llm_advanced", 1, 2, "0.008", "5.34"),  # a plan loses 5.34 for each call, whatever its length
        ("text_llm_advanced", 100, 1, "0.40", "534"),
        ("image_standard", 100, 1, "0.06", "0"),  # the page of AIGC detection: 100 calls are USD 0.06
    ],
)
def test_bills_are_those_of_the_price_pages(moderation_type: str, calls: int, units: int, cost: str, plan: str) -> None:
    """Cost and plan units equal the examples on the vendor's pages, to the last digit."""
    ledger = Ledger()
    for number in range(calls):
        ledger.bill(str(number), "service", None, moderation_type, units)
    total = ledger.moderation_types[moderation_type]
    assert (total.calls, total.units) == (calls, calls * units)
    assert (total.cost, total.plan_units) == (Decimal(cost), Decimal(plan))


def test_every_billed_call_can_be_listed() -> None:
    """With `keep_calls` the ledger has a line for each billed call, else only sums."""
    sums, lines = Ledger(), Ledger(keep_calls=True)
    for ledger in (sums, lines):
        ledger.bill("R1", "ugc_moderation_byllm_cb", "m-1", "text_llm_advanced", 2)
        ledger.answered_free("ugc_moderation_byllm_cb", "588")
    assert sums.to_dict()["calls"] == []
    assert lines.to_dict()["calls"] == [
        {
            "request_id": "R1",
            "service": "ugc_moderation_byllm_cb",
            "data_id": "m-1",
            "moderation_type": "text_llm_advanced",
            "units": 2,
        }
    ]
    assert sums.to_dict()["free"] == {"ugc_moderation_byllm_cb": {"588": 1}}
    assert (sums.billed_calls, sums.billed_units) == (1, 2)
