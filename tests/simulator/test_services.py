"""The simulator's table of services has all that the consumer knows, found out apart from it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.services import KNOWN
from consumer.simulator.ledger import PRICES
from consumer.simulator.services import SERVICES, find
from tests.simulator.plain import Bench


@pytest.mark.parametrize("name", KNOWN)
def test_every_service_that_is_known_is_answered(name: str) -> None:
    """Each service answers a clean event, bills the types and counts against the quota that it is known by."""
    bench, known = Bench(), KNOWN[name]
    image = {"imageUrl": "https://cdn.example.com/1.jpg"}
    parameters: dict[str, dict[str, Any]] = {
        "TextModerationPlus": {"content": "good morning"},
        "ImageModeration": image,
        "MultimodalAsyncModeration": {"mainData": {"mainContent": "x", "mainImages": [image]}},
    }
    asked = parameters[known.operation]
    multimodal = known.operation == "MultimodalAsyncModeration"
    answer = bench.submit(name, **asked) if multimodal else bench.ask(known.operation, name, **asked)
    assert answer["Code"] == 200
    types = {known.moderation_type, known.image_type} - {""}
    assert bench.backend.ledger.moderation_types.keys() == types
    assert bench.backend.stats.admitted.keys() == {known.quota}
    assert SERVICES[name].max_characters == known.max_characters


def test_both_price_lists_are_the_vendors() -> None:
    """The ledger and the consumer have the same prices, currencies and plan factors for the same types."""
    ours = {
        name: (Decimal(price.millionths), price.currency, Decimal(price.plan_hundredths))
        for name, price in PRICES.items()
    }
    assert ours == {
        name: (price.price * 1_000_000, price.currency, price.plan_factor * 100) for name, price in LIST_PRICES.items()
    }


def test_a_copy_is_not_taken_for_another_operation() -> None:
    """A copy made in the console is its original, to its own operation only."""
    assert find("ImageModeration", "postImageCheckByVL_global_01") is SERVICES["postImageCheckByVL_global"]
    assert find("TextModerationPlus", "postImageCheckByVL_global_01") is None
