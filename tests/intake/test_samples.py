"""What `check --sample` says of records in a format of their own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from consumer.cli.check_sample import samples
from consumer.settings import load
from tests.intake.test_platforms import PLATFORMS


AVRO = {"post_id": "p1", "kind": "POST", "body": "a bike", "author": {"id": 7}, "attachments": [], "tags": {}}
ROW = {"id": 1, "body": "a text", "user_id": 7, "post_id": 3}


@pytest.mark.parametrize(
    ("platform", "sample", "said"),
    [
        ("avro", AVRO, ["id: p1", "kind: post", "text: a bike", "author.id: 7", "thread: p1"]),
        ("protobuf", {"message_id": "5", "text": "hi"}, ["id: 5", "kind: message", "text: hi"]),
        (
            "debezium",
            {"op": "c", "after": ROW},
            ["id: 1", "kind: comment", "text: a text", "author.id: 7", "thread: 3"],
        ),
        ("debezium", {"op": "d"}, ["skipped: delete"]),
        ("debezium", {"op": "r", "after": ROW}, ["skipped: read"]),
        (
            "cloudevents",
            {"specversion": "1.0", "id": "1", "type": "com.example.post.created", "data": {"body": "a text"}},
            ["id: 1", "kind: post", "text: a text"],
        ),
    ],
)
def test_a_sample_is_json_in_its_envelope(platform: str, sample: dict[str, Any], said: list[str]) -> None:
    """The document is written as JSON, no registry is asked, and what would be skipped is said to be."""
    settings = load([PLATFORMS / "base.yaml", PLATFORMS / platform / "config.yaml"], {}).settings
    (found,) = samples(settings, orjson.dumps(sample))
    assert found.error is None
    assert found.lines[: len(said)] == said
