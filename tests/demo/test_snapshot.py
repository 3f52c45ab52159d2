"""Moments: rates over the last seconds, and which answers get a row."""

from __future__ import annotations

from consumer.demo.journal import Place
from consumer.demo.outputs import Bill, Shown
from consumer.demo.reading import Reading
from consumer.demo.snapshot import History, Showcase
from consumer.demo.summary import Counts
from consumer.record import Partition


def shown(action: str) -> Shown:
    return Shown(Place(Partition("t", 0), 0), "message", "none", action, ("nonLabel",))


def test_rates_are_those_of_the_last_two_seconds() -> None:
    """What happened before is forgotten, and lag is what was sent and is not done."""
    history = History()
    for tick in range(60):
        at = tick / 10
        done = 10 * tick if at <= 3 else 300
        history.add(at, 20 * tick, Reading(counts=Counts(done), quota_used={"text": 4 * tick}))
    now = history.snapshot(phase="", on_the_wire=0, weather="", rows=(), note="")
    assert abs(now.sent_rate - 200) < 1
    assert now.judged_rate == 0
    assert abs(now.quota_rates["text"] - 40) < 1
    assert now.lag == 59 * 20 - 300


def test_what_is_not_clean_gets_a_row_at_once() -> None:
    """Blocked content and dead letters are never passed over; clean verdicts come slowly enough to be read."""
    showcase = Showcase()
    for tick in range(20):
        showcase.offer(shown("pass"), "hello", at_seconds=tick / 10, clock="12:00:00")
    assert len(showcase.rows) == 3
    for _ in range(4):
        showcase.offer(shown("block"), "bad", at_seconds=2.0, clock="12:00:02")
    assert [row.action for row in showcase.rows[:5]] == ["block"] * 4 + ["pass"]


def test_bills_are_added_exactly() -> None:
    """Costs in verdicts are JSON numbers and are summed as decimals, by moderation type."""
    bill = Bill()
    for _ in range(10):
        bill.add([{"moderation_type": "image_standard", "units": 2, "cost": 0.0012}])
    assert str(bill.amounts["image_standard"]) == "20 units for 0.012000"
