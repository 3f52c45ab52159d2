"""Avro records as documents."""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import DecodeError
from consumer.intake.avro import AvroReader
from consumer.intake.registry_client import Found


def a_record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": of, "type": kind} for of, kind in fields]}


def reader(schema: Any, *references: Any) -> AvroReader:
    needed = tuple(Found(one["name"], orjson.dumps(one).decode()) for one in references)
    return AvroReader(Found("schema 1", orjson.dumps(schema).decode(), needed))


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


MANY = a_record(
    ("text", "string"),
    ("number", "long"),
    ("share", "double"),
    ("sure", "boolean"),
    ("maybe", ["null", "string", "long"]),
    ("tags", {"type": "array", "items": "string"}),
    ("by_name", {"type": "map", "values": ["null", "int"]}),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}),
    ("inner", a_record(("x", "int"), name="Inner")),
    ("again", "Inner"),
)
VALUES = st.fixed_dictionaries(
    {
        "text": st.text(),
        "number": st.integers(-(2**63), 2**63 - 1),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "sure": st.booleans(),
        "maybe": st.none() | st.text() | st.integers(-(2**63), 2**63 - 1),
        "tags": st.lists(st.text(), max_size=3),
        "by_name": st.dictionaries(st.text(), st.none() | st.integers(-(2**31), 2**31 - 1), max_size=3),
        "kind": st.sampled_from(["A", "B"]),
        "inner": st.fixed_dictionaries({"x": st.integers(0, 9)}),
        "again": st.fixed_dictionaries({"x": st.integers(0, 9)}),
    }
)
READ_MANY = reader(MANY)


@given(VALUES)
def test_what_was_written_is_read(value: dict[str, Any]) -> None:
    """Types that JSON has too are read as they were written."""
    assert READ_MANY.read(written(MANY, value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_dead_letter(body: bytes) -> None:
    """Bytes that do not fit the schema are refused, whatever they are."""
    with contextlib.suppress(DecodeError):
        assert READ_MANY.read(body).keys() == {field["name"] for field in MANY["fields"]}


def test_types_that_json_lacks_become_text() -> None:
    """Moments are ISO 8601, decimals and UUIDs their usual text, bytes base64, and no number is null."""
    schema = a_record(
        ("at", {"type": "long", "logicalType": "timestamp-micros"}),
        ("day", {"type": "int", "logicalType": "date"}),
        ("hour", {"type": "int", "logicalType": "time-millis"}),
        ("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        ("uuid", {"type": "string", "logicalType": "uuid"}),
        ("raw", "bytes"),
        ("fixed", {"type": "fixed", "name": "F", "size": 2}),
        ("none", "float"),
    )
    value = {
        "at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "day": date(2026, 3, 1),
        "hour": time(12, 30),
        "price": Decimal("1.50"),
        "uuid": UUID(int=1),
        "raw": b"\xff\0",
        "fixed": b"ab",
        "none": float("nan"),
    }
    assert reader(schema).read(written(schema, value)) == {
        "at": "2026-03-01T12:30:00+00:00",
        "day": "2026-03-01",
        "hour": "12:30:00",
        "price": "1.50",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "raw": "/wA=",
        "fixed": "YWI=",
        "none": None,
    }


def test_a_nesting_without_end_does_not_end_the_process() -> None:
    """A record nested a hundred thousand deep is refused; one that is nested as people do is read."""
    schema = a_record(("next", ["null", "R"]))
    nested = reader(schema)
    assert nested.read(b"\2\2\0") == {"next": {"next": {"next": None}}}
    with pytest.raises(DecodeError, match="do not fit the schema R \\(RecursionError\\)"):
        nested.read(b"\2" * 100_000 + b"\0")


def test_bytes_behind_the_record_are_refused() -> None:
    """A value that is longer than its schema says was written with another one."""
    schema = a_record(("text", "string"))
    with pytest.raises(DecodeError, match="2 are left at its end"):
        reader(schema).read(written(schema, {"text": "a"}) + b"\0\0")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("string", "a schema of single values"),
        ({"type": "array", "items": "string"}, "a schema of single values"),
        ({"type": "recrd", "name": "R"}, "it is no Avro schema|it needs"),
        (a_record(("author", "com.example.Author")), "it needs com.example.Author, which the registry does not name"),
        (a_record(("list", {"type": "array", "items": "null"})), "lists of items that take no bytes"),
        (a_record(("list", {"type": "array", "items": a_record(name="Empty")})), "lists of items that take no bytes"),
    ],
)
def test_a_schema_of_no_use_is_refused(schema: Any, said: str) -> None:
    """What cannot describe an event, or could describe a list without end in a few bytes, is not read with."""
    with pytest.raises(ValueError, match=said):
        reader(schema)


def test_a_schema_that_is_no_json_is_refused() -> None:
    """A registry that gives something else than a schema is not believed."""
    with pytest.raises(ValueError, match="it is no Avro schema"):
        AvroReader(Found("schema 1", "{"))
