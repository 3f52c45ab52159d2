"""What an answer costs: the documented list prices as data, and the formulas."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from consumer.errors import SettingsError
from consumer.verdict import Billed


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.moderation.requests import Call
    from consumer.settings.models import Price as PriceSettings


__all__ = ["AS_OF", "LIST_PRICES", "Price", "bill", "price_list"]


AS_OF = "2026-03"
"""The month of the price pages that `LIST_PRICES` was taken from."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one unit, and what a resource plan loses for one call or image."""

    price: Decimal
    currency: str
    plan_factor: Decimal = Decimal(0)


def _per(count: int, price: str, currency: str, plan_factor: str = "0") -> Price:
    return Price(Decimal(price) / count, currency, Decimal(plan_factor))


LIST_PRICES: Mapping[str, Price] = MappingProxyType(
    {
        # The text page: "LLM-based text moderation", standard and advanced.
        "text_llm_standard": _per(10_000, "20", "CNY", "2.67"),
        "text_llm_advanced": _per(10_000, "40", "CNY", "5.34"),
        # The international price page of text moderation.
        "text_advanced": _per(1_000, "0.60", "USD", "2"),
        "text_llm_standard_cn": _per(1_000, "0.31", "USD", "1.04"),
        # The international price pages of image moderation; the first is said of `aigcDetector_global`.
        "image_standard": _per(1_000, "0.60", "USD"),
        "image_advanced": _per(1_000, "1.20", "USD"),
        # The multimodal page: one image judged by a large model.
        "image_vl_standard": _per(10_000, "45", "CNY", "6"),
        # The mainland price page: where its prices begin. For images it names no moderation type: this name is ours.
        "text_standard": _per(10_000, "7.5", "CNY", "1"),
        "image_classic": _per(10_000, "15", "CNY"),
    }
)

_CHARACTERS_A_UNIT = MappingProxyType(
    {
        # The text page says "per 10,000 calls per 1,000 characters", an older one "per call": the dearer one is taken.
        "text_llm_advanced": 1_000,
    }
)


def price_list(overrides: Mapping[str, PriceSettings]) -> Mapping[str, Price]:
    """The list prices, replaced by the configured ones.

    Raises:
        SettingsError: a price of a moderation type that nothing is billed by.
    """
    problems: list[str] = []
    for name in overrides:
        if name not in LIST_PRICES:
            near = difflib.get_close_matches(name, LIST_PRICES, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(LIST_PRICES)}"
            problems.append(f"moderation.prices: there is no moderation type `{name}`; {hint}")
    if problems:
        raise SettingsError(problems)
    own = {name: Price(one.price, one.currency, one.plan_factor) for name, one in overrides.items()}
    return MappingProxyType({**LIST_PRICES, **own})


def bill(call: Call, prices: Mapping[str, Price]) -> Billed:
    """What one answer with code 200 to this call costs.

    Text is billed by the call, `text_llm_advanced` by each started 1,000 characters of it; images by the image. A plan
    loses its factor for each call or image, however long the text is: so says the text page.
    """
    moderation_type = call.service.moderation_type
    price = prices[moderation_type]
    count = units = call.images or 1
    if (characters := _CHARACTERS_A_UNIT.get(moderation_type)) is not None:
        units = max(1, -(-call.characters // characters))
    return Billed(moderation_type, units, price.price * units, price.currency, price.plan_factor * count)
