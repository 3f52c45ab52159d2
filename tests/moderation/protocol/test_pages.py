"""The pages about services and bills say what the code does."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from consumer.moderation.protocol.billing import AS_OF, LIST_PRICES, bill
from consumer.moderation.protocol.endpoints import REGIONS
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.services_page import page


__all__: list[str] = []


DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_page_of_services_is_written_from_the_tables() -> None:
    """`docs/services.md` is up to date: `python -m consumer.moderation.services_page > docs/services.md` writes it."""
    written = (DOCS / "services.md").read_text(encoding="utf-8")
    assert written == page()
    assert all(f"| `{name}` |" in written for name in (*KNOWN, *REGIONS))


def test_the_page_of_bills_has_every_price() -> None:
    """`docs/billing.md` has each list price with its count, currency and plan factor, and the month they are of."""
    written = (DOCS / "billing.md").read_text(encoding="utf-8")
    assert f"List prices as of {AS_OF}." in written
    rows = {}
    for line in written.split("## Prices")[1].split("## Examples")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells
    assert rows.keys() == LIST_PRICES.keys()
    for name, (_, price, count, currency, factor, _) in rows.items():
        known = LIST_PRICES[name]
        assert Decimal(price) / Decimal(count.replace(",", "")) == known.price
        assert (currency, Decimal(factor)) == (known.currency, known.plan_factor)


@pytest.mark.parametrize(
    ("service", "calls", "characters", "images", "units", "cost", "plan"),
    [
        ("ugc_moderation_byllm_pro", 1_000_000, 10, 0, [1], "2000", "2670000"),
        ("ugc_moderation_byllm_cb", 1, 1_001, 0, [2], "0.008", "5.34"),
        ("post_text_image_detection", 1, 3_500, 6, [4, 6], "0.035", "46.68"),
        ("baselineCheck_global", 200_000, 0, 1, [1], "120", "0"),
    ],
)
def test_the_examples_of_the_page_are_true(
    service: str, calls: int, characters: int, images: int, units: list[int], cost: str, plan: str
) -> None:
    """Each worked example of `docs/billing.md` is what the formulas give."""
    lines = bill(Call(KNOWN[service], characters=characters, images=images), LIST_PRICES)
    assert [line.units for line in lines] == units
    assert sum(line.cost for line in lines) * calls == Decimal(cost)
    assert sum(line.plan_units for line in lines) * calls == Decimal(plan)
