"""What stands around a platform's own record: CloudEvents and Debezium's change events."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from consumer.clock import SystemClock
from consumer.errors import DecodeError, MappingError, NothingToJudge
from consumer.intake import Intake
from consumer.intake.formats import Formats, formats_for, formats_of_json
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.settings.formats import Format
from consumer.settings.models import Mapping


def formats(**settings: Any) -> Formats:
    """What reads records of these settings."""
    found = formats_for(Format.model_validate(settings), clock=SystemClock(), metrics=Metrics())
    assert found is not None
    return found


def record(value: bytes, *, topic: str = "ugc", **headers: bytes) -> Record:
    """A record; underscores in the names of headers that are no attributes stand for hyphens."""
    named = [(name if name.startswith("ce_") else name.replace("_", "-"), text) for name, text in headers.items()]
    return Record(Partition(topic, 0), 0, 0, None, value, tuple(named))


CLOUDEVENTS = formats(envelope="cloudevents")
DEBEZIUM = formats(envelope="debezium")
EVENT = {"specversion": "1.0", "id": "1", "source": "/", "type": "t"}


def structured(**more: Any) -> bytes:
    return orjson.dumps({**EVENT, **more})


def test_both_modes_are_the_same_document() -> None:
    """A binary event is read as the structured one that it could have been."""
    attributes = tuple((f"ce_{name}", text.encode()) for name, text in EVENT.items())
    headers = (("content-type", b"application/json"), *attributes)
    binary = Record(Partition("ugc", 0), 0, 0, None, b'{"a": 1}', headers)
    whole = structured(datacontenttype="application/json", data={"a": 1})
    assert CLOUDEVENTS.document(binary) == CLOUDEVENTS.document(record(whole)) == orjson.loads(whole)


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({"data_base64": base64.b64encode(b'{"a": 1}').decode()}, {"a": 1}),
        ({"data_base64": base64.b64encode("文".encode()).decode(), "datacontenttype": "text/plain"}, "文"),
        ({"data_base64": "AA==", "datacontenttype": "image/png"}, None),
        ({"data": "text", "datacontenttype": "text/plain"}, "text"),
    ],
)
def test_data_in_base64_is_unpacked_where_it_is_text(more: dict[str, Any], data: object) -> None:
    """JSON and text become the event's data; anything else stays as it is, for a mapping that wants it."""
    assert CLOUDEVENTS.document(record(structured(**more))).get("data") == data


def test_text_is_the_data_of_a_binary_event() -> None:
    """An event whose content type is text has its value as its data."""
    found = record("文".encode(), content_type=b"text/plain; charset=utf-8", ce_specversion=b"1.0", ce_id=b"1")
    assert CLOUDEVENTS.document(found)["data"] == "文"


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        (b'{"id": 1}', {}, "neither a header ce_specversion nor a specversion in the value"),
        (structured(specversion="0.3"), {}, "of version '0.3'; version 1.0 can be read"),
        (structured(specversion=1.0), {}, "of version '1.0'|version 1.0 can be read"),
        (b"{}", {"ce_specversion": b"2.0"}, "of version '2.0'"),
        (b"{}", {"ce_id": b"1"}, "headers that begin with ce_, but no ce_specversion"),
        (b"{}", {"ce_specversion": b"\xff"}, "ce_specversion is not UTF-8 at byte 0"),
        (b"\xff", {"ce_specversion": b"1.0", "content_type": b"text/plain"}, "the data is not UTF-8"),
        (b"{}", {"ce_specversion": b"1.0", "content_type": b"image/png"}, "data is 'image/png'; JSON and text"),
        (b"{}", {"content_type": b"application/cloudevents+avro"}, "in 'application/cloudevents\\+avro'"),
        (b"{}", {"content_type": b"application/cloudevents-batch+json"}, "in 'application/cloudevents-batch\\+json'"),
        (structured(data_base64="!"), {}, "data_base64 is no base64"),
        (structured(data_base64=1), {}, "data_base64 is no base64"),
        (b"no json", {"content_type": b"application/cloudevents+json"}, "not JSON at byte"),
    ],
)
def test_what_is_no_cloudevent_is_refused_with_what_was_found(value: bytes, headers: dict[str, Any], said: str) -> None:
    """Anything else than a CloudEvent whose data can be read is a dead letter with the reason."""
    with pytest.raises(DecodeError, match=said):
        CLOUDEVENTS.document(record(value, **headers))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"id": 1}, "no change event: nothing where its operation should be"),
        ({"op": "x"}, "is none of Debezium's"),
        ({"op": ["c"]}, "no change event: a list"),
        ({"payload": "text"}, "no change event: nothing where"),
        ({"op": "c", "after": None}, "whose `after` is nothing"),
    ],
)
def test_what_is_no_change_event_is_refused_with_what_was_found(value: dict[str, Any], said: str) -> None:
    """A record without Debezium's envelope is a dead letter that says how it could be read."""
    with pytest.raises(DecodeError, match=said):
        DEBEZIUM.document(record(orjson.dumps(value)))


def test_a_value_that_the_database_left_out_is_never_judged_as_text() -> None:
    """The placeholder of an unchanged value becomes the old value; where that is unknown, a dead letter says so."""
    intake = Intake(Mapping(id="after.id", text="after.body"), formats=DEBEZIUM)
    change = {"op": "u", "before": None, "after": {"id": 1, "body": "__debezium_unavailable_value"}}
    with pytest.raises(MappingError, match="text: a value that the database left out, since it has not changed"):
        intake.event(record(orjson.dumps(change)))
    change["before"] = {"id": 1, "body": "as before"}
    assert intake.event(record(orjson.dumps(change))).text == "as before"


def test_each_topic_can_have_a_format_of_its_own() -> None:
    """A topic that is named is read in its own way, all others in the usual one."""
    mixed = formats(envelope="debezium", topics={"plain": {}, "events": {"envelope": "cloudevents"}})
    row = orjson.dumps({"op": "c", "after": {"id": 1}})
    assert mixed.document(record(row))["after"] == {"id": 1}
    assert mixed.document(record(b'{"id": 2}', topic="plain")) == {"id": 2}
    assert mixed.document(record(structured(data={}), topic="events"))["data"] == {}
    with pytest.raises(NothingToJudge):
        mixed.document(record(b'{"op": "d"}'))


def test_json_with_a_schema_is_read_without_asking_for_it() -> None:
    """What Confluent's JSON Schema serializer writes is JSON behind a frame."""
    found = formats(encoding="json_schema").document(record(b"\0\0\0\0\7" + b'{"id": 1}'))
    assert found == {"id": 1}


def test_plain_json_needs_nothing_of_this() -> None:
    """Where all topics are JSON without an envelope, records take the short way."""
    settings = Format.model_validate({"topics": {"a": {"encoding": "json"}}})
    assert formats_for(settings, clock=SystemClock(), metrics=Metrics()) is None


def test_samples_are_written_as_json_in_their_envelope() -> None:
    """Of a format with a schema, people write the document down; the envelope around it stays."""
    settings = Format.model_validate({"encoding": "avro", "envelope": "debezium"})
    found = formats_of_json(settings, clock=SystemClock(), metrics=Metrics())
    assert found is not None
    assert found.document(record(b'{"op": "c", "after": {"id": 1}}'))["after"] == {"id": 1}
