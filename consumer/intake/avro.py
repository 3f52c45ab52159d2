"""Avro: a schema from the registry → a reader of its records; what JSON has no types for becomes text."""

from __future__ import annotations

import math
from base64 import b64encode
from datetime import date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import fastavro._read_py  # what fastavro itself uses where it is not compiled
import orjson

from consumer.errors import DecodeError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.intake.registry_client import Found


__all__ = ["AvroReader"]


_SAME = (str, int, float, bool, type(None))
_NAMED = {"record", "error", "enum", "fixed"}


class AvroReader:
    """Reads the records of one schema.

    Raises:
        ValueError: it is no schema of records, or needs more than the registry says it needs.
    """

    def __init__(self, found: Found) -> None:
        named: dict[str, Any] = {}
        for reference in found.references:
            _parse(reference, named)
        self._schema = schema = _parse(found, named)
        if not isinstance(schema, dict) or schema.get("type") not in {"record", "error", "map"}:
            raise ValueError("it is a schema of single values, and an event has several fields")
        shape = _Shape(named)
        shape.look(schema)
        # A nesting without a bound ends the compiled reader, and with it the process.
        self._read: Callable[..., Any] = (
            fastavro._read_py.schemaless_reader if shape.recursive else fastavro.schemaless_reader  # noqa: SLF001  # there is no public name
        )
        self._name = str(schema.get("name", "map"))

    def read(self, body: bytes, _rest: object = None) -> dict[str, Any]:
        """The record in a value's bytes.

        Raises:
            DecodeError: they do not fit the schema.
        """
        stream = BytesIO(body)
        try:
            document = _plain(self._read(stream, self._schema, None))
        except Exception as error:  # noqa: BLE001  # the library raises what its reading happens to run into
            raise DecodeError(f"the bytes do not fit the schema {self._name} ({type(error).__name__})") from None
        left = len(body) - stream.tell()
        if left:
            raise DecodeError(f"the bytes do not fit the schema {self._name}: {left} are left at its end")
        if not isinstance(document, dict):
            raise DecodeError(f"the schema {self._name} does not describe an object")
        return document


def _parse(found: Found, named: dict[str, Any]) -> Any:
    try:
        return fastavro.parse_schema(orjson.loads(found.text), named)
    except fastavro.schema.UnknownType as error:
        raise ValueError(f"it needs {error.name}, which the registry does not name among its references") from None
    except Exception as error:  # noqa: BLE001  # a schema may be wrong in ways of which some are no SchemaParseException
        raise ValueError(f"it is no Avro schema: {error}") from None


class _Shape:
    """What a schema says about the effort of reading what it describes."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._within: list[str] = []
        self._done: set[str] = set()
        self.recursive = False

    def look(self, schema: Any) -> bool:
        """Look at a schema and all within it; says whether its values may take no bytes at all.

        Raises:
            ValueError: a value of a few bytes could be a list without end.
        """
        if isinstance(schema, list):
            for one in schema:
                self.look(one)
            return False
        if isinstance(schema, str):
            return schema == "null" or (schema in self._named and self._look_at_named(schema, self._named[schema]))
        kind = schema["type"]
        if kind in _NAMED:
            return self._look_at_named(schema["name"], schema)
        if kind in {"array", "map"}:
            if self.look(schema["items" if kind == "array" else "values"]) and kind == "array":
                raise ValueError("it has lists of items that take no bytes")
            return False
        return self.look(kind)

    def _look_at_named(self, name: str, schema: Any) -> bool:
        if name in self._within:
            self.recursive = True
            return False
        if schema["type"] == "fixed":
            return not schema["size"]
        if schema["type"] == "enum":
            return False
        self._within.append(name)
        weightless = [self.look(field["type"]) for field in schema["fields"]]
        self._within.pop()
        return all(weightless)


def _plain(value: Any) -> Any:
    """The same with nothing in it that JSON does not have."""
    if isinstance(value, _SAME):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(type(value).__name__)
