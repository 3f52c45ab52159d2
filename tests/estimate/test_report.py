"""Tests of what people and programs are shown of an estimate."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from array import array
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from consumer.estimate.outcome import Cost, Entry, Letters, Outcome
from consumer.estimate.report_json import as_dict
from consumer.estimate.report_svg import draw
from consumer.estimate.report_text import COLUMNS, report
from consumer.estimate.result import About, Estimate, summary
from consumer.estimate.sampling import Figure, Sample
from consumer.estimate.words import count, digits, duration, percent, within
from consumer.settings.saving import Budget


if TYPE_CHECKING:
    from consumer.estimate.replay import Pace


MINUTE = 29_455_384  # since the epoch: 2026-01-02T03:04Z
TEXT, IMAGE = "text_llm_standard", "image_standard"
ABOUT = About(
    source="posts.jsonl",
    records=1000,
    begins_at=MINUTE * 60.0,
    ends_at=MINUTE * 60.0 + 7200,
    pace="recorded",
    replicas=1,
    risk=0.02,
    rates={"text": 48.5, "image": 97.0},
)


def outcome(part: float = 1.0) -> Outcome:
    """What 1,000 records, or a part of them, come to."""
    costs = {
        Entry(MINUTE + minute, "text", TEXT): Cost("CNY", 5 * part, 5 * part, Decimal("0.01") * Decimal(part))
        for minute in range(120)
    }
    costs[Entry(MINUTE + 60, "images", IMAGE)] = Cost("USD", 100 * part, 100 * part, Decimal("0.06") * Decimal(part))
    return Outcome(
        records=1000 * part,
        skipped=20 * part,
        late=3 * part,
        seconds=7200.0,
        held="the last 2 events all became dead letters",
        routes=Counter({"text": round(900 * part), "images": round(70 * part)}),
        sources=Counter({"service": 700, "cache": 270}),
        letters={("map", "mapping"): Letters(10 * part, 4, "id: nothing at `id`; a string or an integer is wanted")},
        costs=costs,
        requests={MINUTE + minute: 5 * part for minute in range(120)},
        calls={("TextModerationPlus", "ugc_moderation_byllm"): 600 * part, ("Describe", ""): 7 * part},
        tokens={"text": 600 * part, "image": 100 * part},
        wait_seconds=array("f", [0.2] * 90 + [5.0] * 10),
    )


def estimated(about: About = ABOUT, *outcomes: Outcome) -> Estimate:
    cheaper = Outcome(records=1000, costs={Entry(MINUTE, "text", TEXT): Cost("CNY", 1, 300, Decimal("0.6"))})
    return summary(
        about,
        outcomes or [outcome()],
        place_of=lambda number: f"posts.jsonl:{number + 1}",
        budgets=[
            Budget(name="small", period="hour", limit=Decimal("0.305"), unit="CNY"),
            Budget(name="large", period="hour", limit=Decimal(1), unit="CNY", when_spent="review"),
            Budget(name="pictures", period="day", limit=Decimal(50), unit="units", routes=["images"]),
        ],
        savings=[("as configured", [outcome()]), ("texts packed, too", [cheaper])],
    )


def test_the_figures_are_the_sums() -> None:
    """Bill, cost, routes, requests and time are what the outcome adds up to, each currency by itself."""
    found = estimated()
    assert {row.moderation_type: (row.units.value, row.currency) for row in found.bill} == {
        TEXT: (600, "CNY"),
        IMAGE: (100, "USD"),
    }
    assert {currency: cost.value for currency, cost in found.cost.items()} == pytest.approx({"CNY": 1.2, "USD": 0.06})
    assert {row.route: row.events.value for row in found.routes} == {"text": 900, "images": 70}
    assert found.requests_a_minute == pytest.approx(5)
    assert found.used == {"text": pytest.approx(600 / 7200 / 48.5), "image": pytest.approx(100 / 7200 / 97)}
    assert found.month["CNY"].value == pytest.approx(1.2 * 12 * 30)
    assert list(found.wait_seconds) == pytest.approx([0.2, 5.0])


def test_the_series_holds_all_that_was_paid() -> None:
    """Two hours are 60 columns of two minutes, one after the other, and their sum is the cost."""
    series = estimated().series
    assert len(series) == 60
    assert [at for at, _ in series] == [MINUTE * 60.0 + 120 * column for column in range(60)]
    assert sum(column.get("CNY", 0) for _, column in series) == pytest.approx(1.2)
    assert sum(column.get("USD", 0) for _, column in series) == pytest.approx(0.06)


def test_budgets_are_spent_when_their_sum_is_reached() -> None:
    """A budget by the hour starts anew each hour, one by route counts that route, and one that lasts is not named."""
    spent = {one.budget: one.at for one in estimated().spent}
    # The clock's second hour has 60 minutes of 0.01: more than 0.305 after 31 of them; the first has 56.
    assert spent == {"small": (MINUTE + 30) * 60.0, "pictures": (MINUTE + 60) * 60.0}


def test_a_sample_is_carried_to_all_records_with_its_interval() -> None:
    """Blocks that agree give the whole without doubt; where they differ, text and JSON say how much it may be off."""
    about = replace(ABOUT, sample=Sample(0.1, 7, 5, 100))
    alike = estimated(about, *(outcome(0.02) for _ in range(5)))
    assert alike.cost["CNY"].value == pytest.approx(1.2)
    assert alike.cost["CNY"].within == pytest.approx(0.0)
    assert alike.series == []
    assert alike.spent == []
    blocks = [outcome(0.02) for _ in range(5)]
    for number, block in enumerate(blocks):
        for cost in block.costs.values():
            cost.plus(cost, 0.1 * number)
    differing = estimated(about, *blocks)
    low, high = as_dict(differing)["cost"][0]["cost_interval"]
    assert low < differing.cost["CNY"].value < high
    assert "±" in "\n".join(report(differing))
    assert "seed 7" in "\n".join(report(differing))


@pytest.mark.parametrize("pace", ["recorded", "backlog"])
def test_the_text_fits_a_terminal_and_says_all(pace: Pace) -> None:
    """No line is longer than 80 columns; bill, routes, time, savings, dead letters and what would stop it are in it."""
    found = estimated(replace(ABOUT, pace=pace))
    lines = list(report(found))
    assert max(map(len, lines)) <= COLUMNS
    said = "\n".join(lines)
    for words in (
        "CNY 1.2000",
        "USD 0.0600",
        "-50 % / -100 %",
        "such as posts.jsonl:5: id: nothing at `id`",
        "skipped: 20",
        "too late for their routes: 3",
        "the consumer would hold: the last 2 events",
        "text_llm_standard",
        "cache 28 %",
        "█",
    ):
        assert words in said, words
    assert ("30 days at this rate: CNY 432.00 + USD 21.60" in said) is (pace == "recorded")
    assert ("CNY over time, 2 min a column" in said) is (pace == "recorded")
    assert ("spent at 2026-01-02 03:34 UTC; events wait then" in said) is (pace == "recorded")
    assert ("spent after 31 min" in said) is (pace == "backlog")


def test_an_estimate_of_nothing_can_be_shown() -> None:
    """Records of which nothing is paid give a report, an object and a picture without a division by nothing."""
    nothing = summary(ABOUT, [Outcome(records=1000)], place_of=str)
    assert any("total" in line for line in report(nothing))
    assert as_dict(nothing)["cost"] == []
    ET.fromstring(draw(nothing))


def test_the_json_has_the_same_figures() -> None:
    """The object can be written as JSON, and has numbers where a person reads them."""
    found = json.loads(json.dumps(as_dict(estimated())))
    assert found["records"] == 1000
    assert found["sample"] is None
    assert found["cost"] == [{"currency": "CNY", "cost": 1.2}, {"currency": "USD", "cost": 0.06}]
    assert found["units"] == 700
    assert found["dead_letters"][0]["example"] == "posts.jsonl:5"
    assert [one["units"] for one in found["savings"]] == [700, 300]
    assert found["budgets_spent"][0]["budget"] == "small"
    assert len(found["series"]) == 60


def test_the_picture_has_a_bar_for_each_number() -> None:
    """The SVG is XML; its bars are as long as their numbers, the longest is the greatest, and nothing sticks out."""
    about = replace(ABOUT, source="a <&> b.jsonl")
    root = ET.fromstring(draw(estimated(about)))
    space = "{http://www.w3.org/2000/svg}"
    assert "a <&> b.jsonl" in "".join(text.text or "" for text in root.iter(f"{space}text"))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    bars = {}
    for bar in root.iter(f"{space}rect"):
        title = bar.find(f"{space}title")
        if title is not None:
            x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + wide <= width
            assert 0 <= y <= y + high <= height
            bars[title.text or ""] = wide, high
    assert bars["as configured: 1.2000"][0] == pytest.approx(2 * bars["texts packed, too: 0.6000"][0], abs=0.2)
    columns = [high for said, (_, high) in bars.items() if said.startswith("2026-01-02")]
    assert len(columns) == 120, "60 for each currency"
    assert len({round(high) for high in columns[:60]}) == 1, "each two minutes cost the same"


def test_numbers_read_well() -> None:
    """Counts, times, parts and money have as many digits as say something."""
    assert [duration(seconds) for seconds in (0.25, 59.6, 60, 3723, 90_000, 86_400 * 3)] == [
        "0.2 s",
        "1 min",
        "1 min",
        "1 h 2 min",
        "1 d 1 h",
        "3 d",
    ]
    assert [percent(part) for part in (0, 0.02, 0.031, 0.095, 0.33, 1)] == [
        "0 %",
        "2 %",
        "3.1 %",
        "9.5 %",
        "33 %",
        "100 %",
    ]
    assert count(1234567.4) == "1,234,567"
    assert within(Figure(200, 5)) == "± 2.5 %"
    assert [digits({"CNY": Figure(cost)}) for cost in (99.0, 100.0)] == [4, 2]
