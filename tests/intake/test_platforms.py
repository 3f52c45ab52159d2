"""Records of five platforms, byte for byte as their producers write them, mapped by configuration alone."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.clock import SystemClock
from consumer.errors import NothingToJudge, NotYet
from consumer.intake import Intake
from consumer.intake.formats import formats_for
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.settings import load
from tests.intake.fake_registry import FakeRegistry


if TYPE_CHECKING:
    from consumer.event import Event


PLATFORMS = Path(__file__).with_name("platforms")


def record_of(sample: dict[str, Any]) -> Record:
    """The record as it comes from Kafka."""
    value = base64.b64decode(sample["base64"]) if "base64" in sample else orjson.dumps(sample["value"])
    headers = tuple((name, content.encode()) for name, content in sample.get("headers", {}).items())
    return Record(Partition("ugc", 0), 0, 1772368200000, None, value, headers)


def registry_of(folder: Path) -> FakeRegistry:
    """The registry that the platform's producers wrote their schemas to."""
    registry = FakeRegistry()
    path = folder / "registry.json"
    given = orjson.loads(path.read_bytes()) if path.exists() else {"schemas": {}, "subjects": {}}
    for schema_id, schema in given["schemas"].items():
        text = schema["text"] if "text" in schema else (folder / schema["file"]).read_text(encoding="utf-8")
        registry.add(schema_id, text, schema.get("type", "AVRO"), schema.get("references"))
    registry.subjects = {subject: str(schema_id) for subject, schema_id in given["subjects"].items()}
    return registry


async def read(intake: Intake, record: Record) -> Event:
    """The event in a record, once its schema is there."""
    try:
        return intake.event(record)
    except NotYet as not_yet:
        await not_yet.ready()
    return intake.event(record)


def shown(event: Event) -> dict[str, Any]:
    """An event without what is empty or as always; images by their URLs."""
    said = {
        name: value
        for name, value in dataclasses.asdict(event).items()
        if value not in (None, "", ()) and (name, value) != ("origin", "human")
    }
    said["author"] = {name: value for name, value in said["author"].items() if value}
    said["images"] = [image.url or ("content" if image.content else "?") for image in event.images]
    return {name: value for name, value in said.items() if value}


@pytest.mark.parametrize("platform", ["nested", "cloudevents", "debezium", "avro", "protobuf"])
def test_a_platforms_records_are_mapped_by_configuration_alone(platform: str) -> None:
    """Each record becomes the event that a person would read in it, or is skipped for the reason that it gives."""
    folder = PLATFORMS / platform
    samples = orjson.loads((folder / "records.json").read_bytes())

    async def main() -> list[object]:
        found: list[object] = []
        async with registry_of(folder).serving() as registry:
            url = (
                {"MODERATION__FORMAT__SCHEMA_REGISTRY__URL": registry.url}
                if (folder / "registry.json").exists()
                else {}
            )
            settings = load([PLATFORMS / "base.yaml", folder / "config.yaml"], url).settings
            formats = formats_for(settings.format, clock=SystemClock(), metrics=Metrics())
            intake = Intake(settings.mapping, formats=formats)
            for sample in samples:
                try:
                    found.append(shown(await read(intake, record_of(sample))))
                except NothingToJudge as skipped:
                    found.append(str(skipped))
        return found

    assert asyncio.run(main()) == [sample.get("event", sample.get("skipped")) for sample in samples]
