"""Bills are those of the vendor's price pages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from consumer.errors import SettingsError
from consumer.moderation.protocol.billing import LIST_PRICES, bill, price_list
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN
from consumer.settings.models import Price as PriceSettings
from consumer.verdict import Billed


@pytest.mark.parametrize(
    ("service", "characters", "expected"),
    [
        ("ugc_moderation_byllm", 2000, ("text_llm_standard", 1, "0.002", "CNY", "2.67")),
        ("ugc_moderation_byllm_pro", 1, ("text_llm_standard", 1, "0.002", "CNY", "2.67")),
        ("aigc_moderation_byllm", 1500, ("text_llm_standard", 1, "0.002", "CNY", "2.67")),
        ("ugc_moderation_byllm_cb", 1, ("text_llm_advanced", 1, "0.004", "CNY", "5.34")),
        ("ugc_moderation_byllm_cb", 1000, ("text_llm_advanced", 1, "0.004", "CNY", "5.34")),
        ("ugc_moderation_byllm_cb", 1001, ("text_llm_advanced", 2, "0.008", "CNY", "5.34")),
        ("ugc_moderation_byllm_global", 1001, ("text_advanced", 1, "0.0006", "USD", "2")),
        ("ugc_moderation_byllm_ec", 10, ("text_llm_standard_cn", 1, "0.00031", "USD", "1.04")),
        ("nickname_detection_pro", 10, ("text_standard", 1, "0.00075", "CNY", "1")),
    ],
)
def test_bills_of_texts(service: str, characters: int, expected: tuple[str, int, str, str, str]) -> None:
    """A text is billed by the call, across borders by each started 1,000 characters."""
    moderation_type, units, cost, currency, plan_units = expected
    assert bill(Call(KNOWN[service], characters=characters), LIST_PRICES) == (
        Billed(moderation_type, units, Decimal(cost), currency, Decimal(plan_units)),
    )


@pytest.mark.parametrize(
    ("service", "moderation_type", "cost", "currency"),
    [
        ("baselineCheck_global", "image_standard", "0.0006", "USD"),
        ("aigcDetector_global", "image_standard", "0.0006", "USD"),
        ("postImageCheckByVL_global", "image_advanced", "0.0012", "USD"),
        ("baselineCheck", "image_classic", "0.0015", "CNY"),
    ],
)
def test_bills_of_images(service: str, moderation_type: str, cost: str, currency: str) -> None:
    """An image is billed once for each service that judges it."""
    (billed,) = bill(Call(KNOWN[service], images=1), LIST_PRICES)
    assert (billed.moderation_type, billed.units, billed.currency) == (moderation_type, 1, currency)
    assert billed.cost == Decimal(cost)


def test_a_million_texts() -> None:
    """The sum of a million bills is exact."""
    (one,) = bill(Call(KNOWN["ugc_moderation_byllm_pro"], characters=80), LIST_PRICES)
    assert one.cost * 1_000_000 == 2000
    assert one.plan_units * 1_000_000 == 2_670_000


@pytest.mark.parametrize(
    ("service", "characters", "images", "thousands", "cost", "plan_units"),
    [
        ("post_text_image_detection", 3500, 6, 4, "0.035", "46.68"),
        ("profile_text_image_detection", 8, 1, 1, "0.0065", "8.67"),
        ("post_text_image_detection", 5000, 30, 5, "0.145", "193.35"),
        ("post_text_image_detection", 1000, 0, 1, "0.002", "2.67"),
    ],
)
def test_bills_of_tasks(service: str, characters: int, images: int, thousands: int, cost: str, plan_units: str) -> None:
    """A task is billed by each started 1,000 characters of all its texts, and by the image; nothing is no line."""
    lines = bill(Call(KNOWN[service], characters=characters, images=images), LIST_PRICES)
    units = {line.moderation_type: line.units for line in lines}
    assert units == {"text_llm_standard": thousands} | ({"image_vl_standard": images} if images else {})
    assert sum(line.cost for line in lines) == Decimal(cost)
    assert sum(line.plan_units for line in lines) == Decimal(plan_units)


def test_queries_are_free() -> None:
    """Asking for a task's result costs nothing."""
    assert bill(Call(KNOWN["post_text_image_detection"].results), LIST_PRICES) == ()


def test_a_negotiated_price() -> None:
    """A configured price replaces the list price of its moderation type, and no other."""
    prices = price_list(
        {"text_llm_standard": PriceSettings(price=Decimal("0.0015"), currency="CNY", plan_factor=Decimal(1))}
    )
    assert bill(Call(KNOWN["ugc_moderation_byllm"]), prices)[0].cost == Decimal("0.0015")
    assert bill(Call(KNOWN["ugc_moderation_byllm_cb"]), prices)[0].cost == Decimal("0.004")


def test_a_price_of_nothing_is_a_typo() -> None:
    """A moderation type that nothing is billed by is told, with the nearest right one."""
    with pytest.raises(SettingsError, match="did you mean `text_llm_standard`"):
        price_list({"text_llm_standart": PriceSettings(price=Decimal(1), currency="CNY")})
