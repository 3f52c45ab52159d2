"""Merging judgements, and the verdict's published shape."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from consumer import verdict as module
from consumer.event import KINDS
from consumer.policy import Policy
from consumer.record import Partition, Record
from consumer.verdict import (
    SCHEMA,
    Action,
    Billed,
    CustomHit,
    Judgement,
    Label,
    RiskLevel,
    RiskPosition,
    Source,
    Verdict,
    merge,
)


if TYPE_CHECKING:
    from collections.abc import Callable


PUBLISHED = json.loads((Path(__file__).parents[1] / "config" / "verdict.schema.json").read_text())
VALIDATOR = Draft202012Validator(PUBLISHED)

MOST = 2**63 - 1
WORDS = st.text(max_size=8)
NAMES = st.text(min_size=1, max_size=8)
AMOUNTS = st.decimals(0, 10_000, places=6)
LABELS = st.builds(
    Label,
    label=NAMES,
    category=WORDS,
    service=NAMES,
    found_in=st.sampled_from(["text", "image", "text_in_image", "text_and_image", "library"]),
    description=WORDS,
    confidence=st.none() | st.floats(0, 100),
    risk_level=st.none() | st.sampled_from(list(RiskLevel)),
    risk_words=st.lists(WORDS, max_size=2).map(tuple),
    positions=st.lists(st.builds(RiskPosition, WORDS, st.integers(0, 99), st.integers(0, 99)), max_size=2).map(tuple),
    custom_hits=st.lists(st.builds(CustomHit, WORDS, st.lists(WORDS, max_size=2).map(tuple)), max_size=2).map(tuple),
)
BILLS = st.builds(
    Billed, NAMES, st.integers(0, 99), AMOUNTS, currency=st.sampled_from(["CNY", "USD"]), plan_units=AMOUNTS
)
JUDGEMENTS = st.builds(
    Judgement,
    risk_level=st.sampled_from(list(RiskLevel)),
    services=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    labels=st.lists(LABELS, max_size=2).map(tuple),
    source=st.sampled_from(get_args(Source)),
    request_ids=st.lists(WORDS, max_size=2).map(tuple),
    task_id=st.none() | NAMES,
    attempts=st.integers(0, 9),
    billed=st.lists(BILLS, max_size=2).map(tuple),
    reason=st.none() | NAMES,
    extra=st.dictionaries(NAMES, st.none() | WORDS | st.lists(st.floats(0, 1), max_size=2), max_size=2),
)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    judgement = merge(tuple(draw(st.lists(JUDGEMENTS, min_size=1, max_size=3))))
    record = Record(
        Partition(draw(NAMES), draw(st.integers(0, 9))),
        draw(st.integers(0, MOST)),
        draw(st.integers(-1, MOST)),
        None,
        b"",
    )
    return Verdict(
        event_id=draw(NAMES),
        kind=draw(st.sampled_from(sorted(KINDS))),
        route=draw(NAMES),
        action=Policy().action(judgement),
        judgement=judgement,
        record=record,
        judged_at=draw(st.floats(0, 4e9)),
        latency_ms=draw(st.floats(0, 1e7)),
    )


FULL: dict[str, Any] = json.loads(
    Verdict(
        event_id="c-1",
        kind="comment",
        route="text",
        action="block",
        judgement=Judgement(
            RiskLevel.HIGH,
            ("ugc_moderation_byllm",),
            (
                Label(
                    "ad_link",
                    "ad",
                    "ugc_moderation_byllm",
                    "text",
                    "a link",
                    81.5,
                    ("buy",),
                    (RiskPosition("buy", 0, 3),),
                    (CustomHit("lib", ("buy",)),),
                ),
            ),
            request_ids=("R-1",),
            billed=(Billed("text_llm", 1, Decimal("0.0015"), "CNY", Decimal("1.5")),),
        ),
        record=Record(Partition("ugc", 3), 17, 1_700_000_000_000, b"k", b"v"),
        judged_at=1_700_000_001.23456,
        latency_ms=87.654,
    ).to_json()
)


def part(level: RiskLevel, **more: Any) -> Judgement:
    return Judgement(level, more.pop("services", ("s",)), **more)


def test_levels_are_ordered_with_unknown_between_what_passes_and_what_does_not() -> None:
    """Unknown outweighs no and low risk, so that a clean part cannot hide an unjudged one."""
    assert sorted(RiskLevel) == [
        RiskLevel.NONE,
        RiskLevel.LOW,
        RiskLevel.UNKNOWN,
        RiskLevel.MEDIUM,
        RiskLevel.HIGH,
    ]
    assert [level.word for level in sorted(RiskLevel)] == ["none", "low", "unknown", "medium", "high"]


@given(st.lists(JUDGEMENTS, min_size=1, max_size=4))
def test_the_highest_risk_wins_and_nothing_is_lost(parts: list[Judgement]) -> None:
    """A merged judgement has the highest risk, every label, every bill and every request of its parts."""
    merged = merge(tuple(parts))
    assert merged.risk_level == max(one.risk_level for one in parts)
    assert merged.labels == tuple(label for one in parts for label in one.labels)
    assert sum(bill.cost for bill in merged.billed) == sum(bill.cost for one in parts for bill in one.billed)
    assert merged.attempts == sum(one.attempts for one in parts)
    assert set(merged.request_ids) == {request for one in parts for request in one.request_ids}
    assert set(merged.services) == {name for one in parts for name in one.services}
    unjudged = [one for one in parts if one.reason is not None or one.risk_level is RiskLevel.UNKNOWN]
    if len(parts) > 1:
        assert (merged.reason is None) == (not unjudged)


def test_a_request_is_named_once() -> None:
    """Parts that were judged by the same request name it once, in the order of the requests."""
    parts = (part(RiskLevel.NONE, request_ids=("b", "a")), part(RiskLevel.NONE, request_ids=("a", "c")))
    assert merge(parts).request_ids == ("b", "a", "c")


@pytest.mark.parametrize(
    ("sources", "merged"),
    [
        (["cache", "service"], "service"),
        (["joined", "thread"], "thread"),
        (["cache", "joined"], "cache"),
        (["service", "cache"], "service"),
    ],
)
def test_an_event_is_known_only_if_all_of_it_is(sources: list[Source], merged: Source) -> None:
    """A verdict says that it comes from memory, or from another event's call, where nothing of it was called for."""
    assert merge(tuple(part(RiskLevel.NONE, source=source) for source in sources)).source == merged


def test_a_reason_outlives_a_higher_risk() -> None:
    """That a part went unjudged can still be seen where another part is risky; each reason is said once."""
    merged = merge(
        (
            part(RiskLevel.HIGH, services=("text", "image")),
            part(RiskLevel.UNKNOWN, services=("image",), reason="the image could not be had"),
            part(RiskLevel.UNKNOWN, services=("image",), reason="the image could not be had", task_id="t"),
        )
    )
    assert merged.risk_level is RiskLevel.HIGH
    assert merged.reason == "the image could not be had"
    assert merged.services == ("text", "image")
    assert merged.task_id == "t"


def test_additional_information_of_all_parts_is_kept() -> None:
    """Where two parts have a member of one name both values stay, and the member keeps its shape."""
    one = {
        "llm_output": "drugs",
        "text_in_image": {"ocr_result": [{"text": "a"}], "risk_word": ["a"]},
        "usage": {"total_tokens": 5},
        "score": 0.5,
        "frame": None,
        "language": "en",
    }
    other = {
        "llm_output": "abuse",
        "text_in_image": {"ocr_result": [{"text": "b"}], "risk_word": ["a"]},
        "usage": {"total_tokens": 7},
        "score": 0.25,
        "frame": "1",
        "language": None,
    }
    assert merge((part(RiskLevel.LOW, extra=one), part(RiskLevel.LOW, extra=other))).extra == {
        "llm_output": "drugs\nabuse",
        "text_in_image": {"ocr_result": [{"text": "a"}, {"text": "b"}], "risk_word": ["a"]},
        "usage": {"total_tokens": 12},
        "score": 0.5,
        "frame": "1",
        "language": "en",
    }


def test_a_labels_own_level_is_a_word() -> None:
    """A label with a level of its own says it as the whole verdict does."""
    label = Label("ad_link", "ad", "s", "image", risk_level=RiskLevel.LOW)
    assert label.to_dict()["risk_level"] == "low"


def test_nothing_is_no_judgement() -> None:
    """An event that nothing judged cannot come out as clean."""
    with pytest.raises(ValueError, match="no part of the event was judged"):
        merge(())


def test_a_verdict_is_written_as_published() -> None:
    """One verdict in full, as a reader of the topic gets it."""
    assert FULL == {
        "schema": "moderation-verdict/1",
        "event_id": "c-1",
        "kind": "comment",
        "route": "text",
        "services": ["ugc_moderation_byllm"],
        "risk_level": "high",
        "action": "block",
        "labels": [
            {
                "label": "ad_link",
                "category": "ad",
                "description": "a link",
                "confidence": 81.5,
                "risk_level": None,
                "risk_words": ["buy"],
                "positions": [{"word": "buy", "start": 0, "end": 3}],
                "custom_hits": [{"library": "lib", "keywords": ["buy"]}],
                "service": "ugc_moderation_byllm",
                "from": "text",
            }
        ],
        "source": "service",
        "request_ids": ["R-1"],
        "task_id": None,
        "attempts": 1,
        "billed": [{"moderation_type": "text_llm", "units": 1, "cost": 0.0015, "currency": "CNY", "plan_units": 1.5}],
        "reason": None,
        "extra": {},
        "judged_at": 1700000001.235,
        "latency_ms": 87.7,
        "record": {"topic": "ugc", "partition": 3, "offset": 17, "timestamp": 1700000000000},
    }


def test_the_schema_is_itself_valid_and_describes_each_field() -> None:
    """The published schema is a JSON Schema 2020-12 that explains and closes every object and has all our words."""
    Draft202012Validator.check_schema(PUBLISHED)
    objects = [PUBLISHED, *PUBLISHED["$defs"].values(), PUBLISHED["properties"]["record"]]
    for one in objects:
        assert one["description"]
        assert one["additionalProperties"] is False
        assert sorted(one["required"]) == sorted(one["properties"])
        assert all(field.get("description") for field in one["properties"].values())
    fields = PUBLISHED["properties"]
    assert fields["schema"]["const"] == SCHEMA
    assert fields["kind"]["enum"] == sorted(KINDS, key=fields["kind"]["enum"].index)
    assert tuple(fields["source"]["enum"]) == get_args(Source)
    assert tuple(fields["action"]["enum"]) == get_args(Action)
    assert fields["risk_level"]["enum"] == [level.word for level in sorted(RiskLevel)]
    assert tuple(PUBLISHED["$defs"]["label"]["properties"]["from"]["enum"]) == get_args(module.From)


@given(verdicts())
def test_every_verdict_is_as_published(verdict: Verdict) -> None:
    """Verdicts of all shapes are what the schema says."""
    VALIDATOR.validate(json.loads(verdict.to_json()))


def _removals(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key in a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    found: list[tuple[Any, ...]] = []
    for key, value in inner:
        if isinstance(document, dict):
            found.append((*path, key))
        found.extend(_removals(value, (*path, key)))
    return found


@pytest.mark.parametrize("path", _removals(FULL), ids=lambda path: ".".join(map(str, path)))
def test_a_verdict_without_a_field_is_refused(path: tuple[Any, ...]) -> None:
    """No field of a verdict, a label, a bill or a place may be missing, and none may have another name."""
    *way, last = path
    document = copy.deepcopy(FULL)
    holder: Any = document
    for key in way:
        holder = holder[key]
    value = holder.pop(last)
    assert not VALIDATOR.is_valid(document)
    holder[last] = value
    assert VALIDATOR.is_valid(document)
    holder[f"{last}_"] = value
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.update(action="delete"),
        lambda one: one.update(schema="moderation-verdict/2"),
        lambda one: one.update(kind="video"),
        lambda one: one.update(risk_level="HIGH"),
        lambda one: one.update(source="guess"),
        lambda one: one.update(event_id=5),
        lambda one: one.update(event_id=""),
        lambda one: one.update(attempts="1"),
        lambda one: one.update(attempts=-1),
        lambda one: one.update(latency_ms=None),
        lambda one: one.update(services="text"),
        lambda one: one.update(services=["text", "text"]),
        lambda one: one.update(risk_level="unknown", action="pass"),
        lambda one: one.update(reason="no answer", action="pass"),
        lambda one: one["labels"][0].update(confidence=101),
        lambda one: one["labels"][0].update({"from": "title"}),
        lambda one: one["labels"][0]["positions"][0].update(start="0"),
        lambda one: one["billed"][0].update(cost="0.0015"),
        lambda one: one["billed"][0].update(currency="yuan"),
        lambda one: one["record"].update(offset=-1),
    ],
)
def test_a_wrong_verdict_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    """An unknown word, a wrong type, a value out of range, or an unjudged event that passes is not a verdict."""
    document = copy.deepcopy(FULL)
    assert VALIDATOR.is_valid(document)
    spoil(document)
    assert not VALIDATOR.is_valid(document)
