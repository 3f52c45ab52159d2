"""The ledger's own arithmetic, by the worked examples of the price pages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from consumer.simulator.ledger import Bill, Ledger
from tests.simulator.plain import Bench


@pytest.mark.parametrize(
    ("moderation_type", "calls", "units", "cost", "plan"),
    [
        ("text_llm_standard", 100, 1, "0.20", "267"),  # the text page: 100 calls are CNY 0.20
        ("text_llm_standard", 1, 1, "0.002", "2.67"),
        ("text_llm_advanced", 1, 2, "0.008", "5.34"),  # a plan loses 5.34 for each call, whatever its length
        ("text_llm_advanced", 100, 1, "0.40", "534"),
        ("image_standard", 100, 1, "0.06", "0"),  # the page of AIGC detection: 100 calls are USD 0.06
        ("image_standard", 200_000, 1, "120", "0"),  # 100,000 images for two services
        ("text_llm_standard", 1_000_000, 1, "2000", "2670000"),
        ("text_advanced", 1000, 1, "0.60", "2000"),  # the international price pages
        ("text_llm_standard_cn", 1000, 1, "0.31", "1040"),
        ("image_advanced", 1000, 1, "1.20", "0"),
        ("text_standard", 10_000, 1, "7.5", "10000"),  # the mainland price page: where its prices begin
        ("image_classic", 10_000, 1, "15", "0"),
        ("image_vl_standard", 10_000, 1, "45", "60000"),
    ],
)
def test_bills_are_those_of_the_price_pages(moderation_type: str, calls: int, units: int, cost: str, plan: str) -> None:
    """Cost and plan units equal the examples on the vendor's pages, to the last digit."""
    ledger = Ledger()
    for number in range(calls):
        ledger.bill(str(number), "service", None, [Bill(moderation_type, units)])
    total = ledger.moderation_types[moderation_type]
    assert (total.calls, total.units) == (calls, calls * units)
    assert (total.cost, total.plan_units) == (Decimal(cost), Decimal(plan))


def test_every_billed_call_can_be_listed() -> None:
    """With `keep_calls` the ledger has a line for each billed call, else only sums."""
    sums, lines = Ledger(), Ledger(keep_calls=True)
    for ledger in (sums, lines):
        ledger.bill("R1", "ugc_moderation_byllm_cb", "m-1", [Bill("text_llm_advanced", 2)])
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


@pytest.mark.parametrize(
    ("service", "characters", "images", "cost", "plan"),
    [
        ("post_text_image_detection", 3500, 6, "0.035", "46.68"),
        ("profile_text_image_detection", 8, 1, "0.0065", "8.67"),
        ("post_text_image_detection", 5000, 30, "0.145", "193.35"),
        ("post_text_image_detection", 1000, 0, "0.002", "2.67"),
        ("post_text_image_detection", 1001, 0, "0.004", "5.34"),
    ],
)
def test_a_multimodal_task_is_billed_on_two_lines(
    service: str, characters: int, images: int, cost: str, plan: str
) -> None:
    """Started thousands of all characters and single images are charged at submission, and a plan loses for each."""
    bench = Bench(keep_calls=True)
    pictures = [{"imageUrl": f"https://cdn.example.com/{number}.jpg"} for number in range(images)]
    answer = bench.submit(service, dataId="p-1", mainData={"mainContent": "x" * characters, "mainImages": pictures})
    bench.result(answer["Data"]["ReqId"])
    ledger = bench.backend.ledger
    total = ledger.services[service]
    assert (total.cost, total.plan_units) == (Decimal(cost), Decimal(plan))
    assert (total.calls, ledger.billed_calls, total.units) == (1, 1, -(-characters // 1000) + images)
    lines = [(line.moderation_type, line.units, line.data_id) for line in ledger.calls]
    text, *rest = lines
    assert text == ("text_llm_standard", -(-characters // 1000), "p-1")
    assert rest == ([("image_vl_standard", images, "p-1")] if images else [])
    assert len({line.request_id for line in ledger.calls}) == 1


def test_all_of_a_posts_characters_are_added_up_before_they_are_rounded() -> None:
    """Title, text, comments and replies of 400 characters each are two started thousands, not four."""
    bench = Bench()
    reply = {"content": "x" * 400}
    comment = {"content": "x" * 400, "commentDatas": [reply]}
    bench.submit(mainData={"mainTitle": "x" * 400, "mainContent": "x" * 400}, commentDatas=[comment])
    assert bench.backend.ledger.billed_units == 2


def test_what_is_free_is_not_billed() -> None:
    """Queries for results and tokens for uploads cost nothing; the ledger counts them by operation."""
    bench = Bench()
    bench.result("unknown")
    bench.reply("DescribeUploadToken")
    assert bench.backend.ledger.billed_calls == 0
    assert bench.backend.ledger.free == {
        "DescribeMultimodalModerationResult": {"409": 1},
        "DescribeUploadToken": {"200": 1},
    }
