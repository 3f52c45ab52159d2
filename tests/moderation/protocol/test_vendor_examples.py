"""Every JSON answer on the vendor's pages is read to the last field, and the verdict of each is as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from consumer.moderation.protocol.codes import look_up
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.responses import Answer, Finding, read, read_finding, read_parts, task_id_of
from consumer.moderation.protocol.services import KNOWN
from consumer.policy import Policy
from consumer.record import Partition, Record
from consumer.verdict import Judgement, Verdict


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


EXAMPLES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "data" / "answers").glob("*.json"))}
ROOT = Path(__file__).parents[3]
PUBLISHED = Draft202012Validator(json.loads((ROOT / "config" / "verdict.schema.json").read_text()))
TEXT = KNOWN["ugc_moderation_byllm_pro"]
IMAGE = KNOWN["baselineCheck_global"]
POST = KNOWN["post_text_image_detection"]
FIREWORKS = "Content may contain elements related to fireworks."


def answer_of(name: str) -> Answer:
    return read(EXAMPLES[name].read_bytes(), 200)


def verdict_of(finding: Finding, service: str) -> dict[str, Any]:
    """The fields of a verdict that an answer decides."""
    judgement = Judgement(finding.risk_level, (service,), finding.labels, extra=finding.extra)
    record = Record(Partition("ugc", 0), 7, 1_700_000_000_000, None, b"")
    verdict: dict[str, Any] = orjson.loads(
        Verdict("1", "post", "r", Policy().action(judgement), judgement, record, 1.0, 1.0).to_json()
    )
    if finding.risk_level.word != "unknown":
        PUBLISHED.validate(verdict)
    return {name: verdict[name] for name in ("risk_level", "action", "labels", "extra")}


def label(name: str, service: str, found_in: str, description: str, **more: Any) -> dict[str, Any]:
    return {
        "label": name,
        "category": name.partition("_")[0],
        "description": description,
        "confidence": None,
        "risk_level": None,
        "risk_words": [],
        "positions": [],
        "custom_hits": [],
        "service": service,
        "from": found_in,
        **more,
    }


def high(*labels: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"risk_level": "high", "action": "block", "labels": list(labels), "extra": extra}


def clean(*labels: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"risk_level": "none", "action": "pass", "labels": list(labels), "extra": extra}


def text(name: str, description: str, **more: Any) -> dict[str, Any]:
    return label(name, TEXT.name, "text", description, **more)


def image(name: str, description: str, confidence: float, found_in: str = "image") -> dict[str, Any]:
    return label(name, IMAGE.name, found_in, description, confidence=confidence)


def part(name: str, description: str) -> dict[str, Any]:
    return label(name, POST.name, "text_and_image", description)


BOTH = (part("violent_explosion", FIREWORKS), part("sexual_partialNudity", "Suggestive content"))
USAGE = {"total_tokens": 1039, "output_tokens": 56, "input_tokens": 983}

SINGLE = {
    "text_system_policy_match": (
        TEXT,
        high(
            text(
                "political_entity",
                "Suspected political entity",
                confidence=100.0,
                risk_words=["WordA", "WordB"],
                positions=[{"word": "WordA", "start": 14, "end": 16}],
            ),
            text(
                "political_figure",
                "Suspected political figure",
                confidence=100.0,
                risk_words=["WordB", "WordC"],
                positions=[{"word": "WordC", "start": 24, "end": 26}],
            ),
        ),
    ),
    "text_custom_library_match": (
        TEXT,
        high(
            label(
                "customized",
                TEXT.name,
                "library",
                "Hit a custom library",
                confidence=100.0,
                custom_hits=[{"library": "Custom Library Name 1", "keywords": ["custom keyword"]}],
            )
        ),
    ),
    "text_raw_llm_result": (
        TEXT,
        high(
            text(
                "inappropriate_profanity",
                "Suspected offensive or abusive content",
                confidence=100.0,
                risk_words=["risk word"],
                positions=[{"word": "risk word", "start": 2, "end": 5}],
            ),
            llm_output="Suspected offensive or abusive content",
        ),
    ),
    "image_risky_content": (
        IMAGE,
        high(
            image("pornographic_adultContent", "Adult pornographic content", 81.0),
            image("sexual_partialNudity", "Partial nudity or sexy", 98.0),
            image("violent_explosion", "Fireworks content", 70.0),
            image("violent_explosion_lib", "Fireworks content_Hit custom library", 81.0, "library"),
        ),
    ),
    "image_no_risk": (IMAGE, clean()),
    "image_allowlist": (IMAGE, clean(image("nonLabel_lib", "Hit allowlist", 83.0, "library"))),
}
PARTS: dict[str, dict[tuple[int, ...], dict[str, Any]]] = {
    "multimodal_non_compliant": {
        (): high(*BOTH, usage=USAGE),
        (0,): high(*BOTH),
        (0, 0): high(BOTH[0]),
        (0, 1): clean(),
        (1,): high(BOTH[0]),
        (2,): clean(),
    },
    "multimodal_compliant": {
        (): clean(usage=USAGE),
        **{path: clean() for path in ((0,), (0, 0), (0, 1), (1,), (2,))},
    },
}


@pytest.mark.parametrize("name", SINGLE)
def test_an_answer_becomes_its_verdict(name: str) -> None:
    """An example of the text or the image page gives the verdict that is written down here, field by field."""
    service, expected = SINGLE[name]
    answer = answer_of(name)
    assert look_up(answer).outcome == "judged"
    assert verdict_of(read_finding(answer, Call(service)), service.name) == expected


@pytest.mark.parametrize("name", PARTS)
def test_a_result_becomes_the_verdicts_of_its_parts(name: str) -> None:
    """An example of the multimodal page gives each part its own verdict, by its place in the request."""
    answer = answer_of(name)
    findings = read_parts(answer, POST.name, tuple(PARTS[name]))
    assert {path: verdict_of(one, POST.name) for path, one in findings.items()} == PARTS[name]


def test_a_submission_names_its_task() -> None:
    """The example of a submission gives the task's id, and no judgement."""
    answer = answer_of("multimodal_submitted")
    assert (task_id_of(answer), answer.request_id) == ("task_1713942548822_1t4qI8", "AAAAA-BBBBB-AIXI-1314-CCCCC")
    assert read_parts(answer, POST.name, [()])[()].risk_level.word == "unknown"


def test_every_example_is_tested() -> None:
    """No example lies about unread, and each is among the requests' ids as the page has it."""
    assert set(EXAMPLES) == {*SINGLE, *PARTS, "multimodal_submitted"}
    for name in EXAMPLES:
        assert answer_of(name).request_id == json.loads(EXAMPLES[name].read_text())["RequestId"]


def _respelt(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {spell(name): _respelt(inner, spell) for name, inner in value.items()}
    return [_respelt(one, spell) for one in value] if isinstance(value, list) else value


DIALECTS: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "the SDK's names": lambda name: {"Result": "Results", "Keywords": "KeyWords", "TaskId": "ReqId"}.get(name, name),
    "the table's names": lambda name: {"RiskWords": "Riskwords"}.get(name, name),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_answer_says_the_same_in_every_dialect(name: str, dialect: str) -> None:
    """The same answer in another spelling gives the same verdict, but for names that only that spelling has."""
    example = _respelt(json.loads(EXAMPLES[name].read_text()), DIALECTS[dialect])
    answer, plain = read(orjson.dumps(example), 200), answer_of(name)
    assert task_id_of(answer) == task_id_of(plain)
    for path in PARTS.get(name, {()}):
        one, other = (read_parts(each, POST.name, [path])[path] for each in (answer, plain))
        assert (one.risk_level, one.labels) == (other.risk_level, other.labels)
    one, other = (read_finding(each, Call(TEXT)) for each in (answer, plain))
    assert (one.risk_level, one.labels) == (other.risk_level, other.labels)


def paths_of(value: Any, prefix: str = "") -> Iterator[str]:
    """Every field of a JSON value, as the table of answers names it."""
    if isinstance(value, list):
        for one in value:
            yield from paths_of(one, f"{prefix}[]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            path = f"{prefix}.{name}" if prefix else name
            yield path
            yield from paths_of(inner, path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_field_is_in_the_documentation(name: str) -> None:
    """Each field of each example stands in `docs/answers.md`, beside its operation and its place in a verdict."""
    operation = {"text": "TextModerationPlus", "image": "ImageModeration"}.get(
        name.partition("_")[0],
        "MultimodalAsyncModeration" if name.endswith("submitted") else "DescribeMultimodalModerationResult",
    )
    page = (ROOT / "docs" / "answers.md").read_text()
    section = page.split(f"## {operation}\n")[1].split("\n## ")[0]
    rows = {line.split("|")[1].strip().strip("`") for line in section.splitlines() if line.startswith("| `")}
    listed = {one.strip(" `") for row in rows for one in row.split(",")}
    assert set(paths_of(json.loads(EXAMPLES[name].read_text()))) <= listed
