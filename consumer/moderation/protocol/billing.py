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

    from consumer.moderation.protocol.requests import Call
    from consumer.settings.models import Price as PriceSettings


__all__ = ["AS_OF", "LIST_PRICES", "Price", "bill", "price_list"]


AS_OF = "2026-03"
"""The month of the price pages that `LIST_PRICES` was taken from."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one unit, and what a resource plan loses for one call, image, or multimodal unit."""

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

# The text page says "per 10,000 calls per 1,000 characters" of these, an older one "per call": the dearer one is taken.
_BY_THE_THOUSAND = frozenset({"text_llm_advanced"})


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
            problems.append(f"moderation.prices.{name}: there is no moderation type `{name}`; {hint}")
    if problems:
        raise SettingsError(problems)
    own = {name: Price(one.price, one.currency, one.plan_factor) for name, one in overrides.items()}
    return MappingProxyType({**LIST_PRICES, **own})


def bill(call: Call, prices: Mapping[str, Price]) -> tuple[Billed, ...]:
    """What one answer that is paid for makes this call cost, a line for each moderation type; nothing for queries.

    Text is billed by the call, `text_llm_advanced` by each started 1,000 characters of it; images by the image. A plan
    loses its factor for each call or image, however long the text is: so says the text page. A multimodal task is
    billed when it is submitted: by each started 1,000 characters of all its texts together, and by the image; there a
    plan loses its factor for each of these units.
    """
    service = call.service
    if service.free:
        return ()
    if service.media == "multimodal":
        thousands = _thousands(call.characters)
        lines = (
            _line(service.moderation_type, prices, thousands, thousands),
            _line(service.image_type, prices, call.images, call.images),
        )
        return tuple(line for line in lines if line.units)
    count = units = call.images or 1
    if service.moderation_type in _BY_THE_THOUSAND:
        units = max(1, _thousands(call.characters))
    return (_line(service.moderation_type, prices, units, count),)


def _line(moderation_type: str, prices: Mapping[str, Price], units: int, plan_count: int) -> Billed:
    price = prices[moderation_type]
    return Billed(moderation_type, units, price.price * units, price.currency, price.plan_factor * plan_count)


def _thousands(characters: int) -> int:
    """Started thousands."""
    return -(-characters // 1_000)
