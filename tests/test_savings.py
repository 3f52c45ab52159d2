"""What the savings save in a lifelike chat, and that no verdict pays for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice

import orjson
import pytest

from benchmarks.corpora import Posted, as_record, chat
from benchmarks.savings import ALL, NOTHING, SAFE, Outcome, judged
from consumer.intake import Intake
from consumer.moderation.protocol.requests import text_of
from consumer.moderation.shadow import MemoryEvidence
from consumer.record import Partition, Record
from consumer.settings.models import Mapping
from consumer.simulator import truth
from consumer.verdict import RiskLevel


EVENTS = 6000


@pytest.fixture(scope="module")
def posted() -> list[Posted]:
    return list(islice(chat(4), EVENTS))


@pytest.fixture(scope="module")
def alone(posted: list[Posted]) -> Outcome:
    """The chat, each event judged by itself."""
    return judged(posted, NOTHING)


def measured() -> MemoryEvidence:
    """Packed texts were measured before, and have missed nothing."""
    counts = {"texts": 20_000, "risky": 600, "missed": 0, "alarms": 0, "calls": 5000, "rate": [30, 1000]}
    evidence = MemoryEvidence()
    record = {"version": 1, "services": {"ugc_moderation_byllm": counts}}
    asyncio.run(evidence.save(orjson.dumps(record)))
    return evidence


def test_the_chat_is_lifelike(posted: list[Posted]) -> None:
    """Most texts are said again and again, many are unique, 2 % are risky, and few posts draw most comments."""
    texts = [text_of(one.event) for one in posted if one.event.kind == "message"]
    said = Counter(texts)
    assert 0.45 < sum(count for count in said.values() if count > 1) / len(texts) < 0.65
    assert said.most_common(1)[0][1] > 0.04 * len(texts)
    risky = sum(truth.text(text_of(one.event)).risk_level != "none" for one in posted)
    assert risky / EVENTS == pytest.approx(0.02, abs=0.004)
    threads = Counter(one.event.thread for one in posted if one.event.kind == "comment").most_common()
    top = sum(count for _, count in threads[: len(threads) // 5])
    assert top > 0.5 * sum(count for _, count in threads)
    assert posted[-1].at_seconds == pytest.approx(EVENTS / 50, rel=0.05)
    assert list(islice(chat(4), 100)) == posted[:100]
    assert {one.event.id for one in islice(chat(5), 100)}.isdisjoint(one.event.id for one in posted)


def test_the_chat_can_be_written_to_a_topic(posted: list[Posted]) -> None:
    """As a record each event is read back by the default mapping as it was."""
    read = Intake(Mapping()).event
    for one in posted[:500]:
        assert read(Record(Partition("t", 0), 0, 0, None, as_record(one.event))) == one.event


def test_without_savings_each_event_is_a_unit(posted: list[Posted], alone: Outcome) -> None:
    """Each event costs its own call, and has the risk that the simulator's word list says."""
    for one in posted:
        level = truth.text(text_of(one.event)).risk_level
        assert alone.levels[one.event.id] is RiskLevel[level.upper()]
    assert 1.0 <= alone.units_an_event < 1.02
    assert alone.units_by_verdicts == alone.ledger.billed_units


@pytest.mark.parametrize(("saving", "most"), [(SAFE, 0.6), (ALL, 0.25)], ids=["safe", "all"])
def test_savings_save_and_lower_no_risk(
    posted: list[Posted], alone: Outcome, saving: dict[str, object], most: float
) -> None:
    """The bill is within its bound, verdicts and ledger agree on it, and no verdict is lower in risk than by itself."""
    saved = judged(posted, saving, measured())
    assert saved.units_an_event <= most
    assert saved.levels.keys() == alone.levels.keys()
    assert [name for name, level in saved.levels.items() if level < alone.levels[name]] == []
    assert 0 <= saved.ledger.billed_units - saved.units_by_verdicts < 0.005 * EVENTS
