"""The service in memory: what a rule says of a call, of a part of a multimodal task, and of a task that is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.record import Partition, Record
from consumer.rehearsal.service import Rule
from consumer.rehearsal.stage import EPOCH_SECONDS, rehearse
from consumer.settings import load
from consumer.simulator.faults import Fault


if TYPE_CHECKING:
    from pathlib import Path

    from consumer.rehearsal.book import Ending
    from consumer.settings import Settings


__all__: list[str] = []


CONFIG = """\
kafka: {bootstrap_servers: [broker:9092], topics: [ugc], group_id: g, start: latest}
moderation:
  region: cn-shanghai
  credentials: {access_key_id: a, access_key_secret: b}
  services: {posts_01: {like: post_text_image_detection}, mine: {like: chat_detection_pro}}
mapping: {image_directory: .}
routes:
  - {name: threads, when: {kind: [post, comment]}, services: [posts_01]}
  - {name: chat, services: [mine, baselineCheck]}
tasks: {deadline_seconds: 3600}
"""
COMMENT = {"id": "c", "kind": "comment", "thread": "t", "parent": "p", "text": "a comment"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return load([file], {}).settings


def ending(settings: Settings, event: dict[str, Any], *rules: Rule) -> Ending:
    record = Record(Partition("ugc", 0), 0, round(EPOCH_SECONDS * 1000), None, orjson.dumps(event))
    return rehearse(settings, record, rules)


def found(ended: Ending) -> tuple[str, list[str]]:
    assert ended.verdict is not None
    judged = ended.verdict.judgement
    return judged.risk_level.word, [label.label for label in judged.labels]


def test_a_service_of_the_users_own_is_answered(settings: Settings) -> None:
    """A service with a name of its own answers as the one that it is like, and is asked by its own name."""
    ended = ending(settings, {"id": "1", "text": "hello"})
    assert [(one.service, one.text) for one in ended.sent] == [("mine", "hello")]
    assert found(ended) == ("none", [])


def test_a_rule_is_about_the_part_that_has_its_words(settings: Settings) -> None:
    """In a multimodal task only the part with the words of a rule has its labels, be it a post or a comment."""
    rule = Rule(text="a comment", risk_level="high", labels=("violent_weapon",))
    assert found(ending(settings, COMMENT, rule)) == ("high", ["violent_weapon"])
    assert found(ending(settings, COMMENT, Rule(text="another", risk_level="high"))) == ("none", [])
    post = {"id": "p", "kind": "post", "title": "a title", "text": "a text"}
    assert found(ending(settings, post, Rule(text="a title", risk_level="low", labels=("pt_logo",)))) == (
        "low",
        ["pt_logo"],
    )


def test_a_task_that_is_lost_ends_in_review(settings: Settings) -> None:
    """A fault of a task befalls the task, and what is given up after its deadline is reviewed."""
    ended = ending(settings, COMMENT, Rule(fault=Fault.parse("task_never")))
    assert ended.verdict is not None
    assert ended.verdict.action == "review"
    assert 3600 <= ended.seconds < 3700


def test_a_local_image_is_uploaded_in_memory(settings: Settings) -> None:
    """An image in the record goes to the simulator's bucket, and is judged there by a rule about its place."""
    event = {"id": "1", "images": [{"content": "iVBORw0KGgoAAAANSUhEUg=="}]}
    ended = ending(settings, event, Rule(image="oss://", risk_level="medium", labels=("violent_gun",)))
    assert ended.sent[0].images[0].startswith("oss://")
    assert found(ended) == ("medium", ["violent_gun"])
