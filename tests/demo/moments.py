"""A moment of a demonstration, for tests of what shows it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from consumer.demo.reading import Latency, Reading
from consumer.demo.snapshot import Row, Snapshot
from consumer.demo.summary import Amount, Counts


__all__ = ["ROWS", "START", "moment"]


READING = Reading(
    read=1500,
    counts=Counts(1301, 9, 2),
    actions={"pass": 1280, "review": 9, "block": 12},
    risk_levels={"none": 1276, "low": 4, "medium": 9, "high": 12},
    in_flight=248,
    quota_used={"text": 300, "image": 200},
    quota_limit={"text": 50, "image": 70},
    billed={"text_llm_advanced": Amount(241, Decimal("0.964")), "image_standard": Amount(312, Decimal("0.1872"))},
    currencies={"text_llm_advanced": "CNY", "image_standard": "USD"},
    retries=7,
    throttled=3,
)
ROWS = (
    Row("12:01:03", "message", "high", "block", "contraband_drug", "beli narkoba murah, hubungi\nsekarang 🔥"),
    Row("12:01:02", "comment", "none", "pass", "nonLabel", "写得真好，收藏了。 👏👏👏" * 5),
    Row("12:01:02", "message", "none", "pass", "nonLabel", "تحية من عمّان"),
    Row("12:01:02", "", "", "dead letter", "decode: malformed", "[bold]JSON cut in half"),
    Row("12:01:01", "image", "medium", "review", "sexual_suggestiveContent, violent_gun", "photos/beach.jpg +2"),
)
_BUSY = Snapshot(
    elapsed_seconds=8.2,
    phase="events are coming in",
    sent=1612,
    sent_rate=56.2,
    judged_rate=49.1,
    quota_rates={"text": 48.3, "image": 41.0},
    calls=Latency(0.131, 0.25),
    reading=READING,
    lags=(0, 30, 60, 120, 140, 100, 300, 260),
    on_the_wire=36,
    weather="answers as usual",
    rows=ROWS,
)
START = Snapshot(
    elapsed_seconds=0.0,
    phase="the consumer joins its group",
    sent=0,
    sent_rate=0.0,
    judged_rate=0.0,
    quota_rates={},
    calls=None,
    reading=Reading(),
    lags=(),
    on_the_wire=0,
    weather="answers as usual",
    rows=(),
)


def moment(**changes: Any) -> Snapshot:
    """A busy moment, changed."""
    return replace(_BUSY, **changes)
