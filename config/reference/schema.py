"""The JSON Schema of a configuration file: what editors complete and check, and the texts they show."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from config.reference.walk import Key, entry, keys, paragraph
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import REGIONS
from consumer.moderation.protocol.services import KNOWN
from consumer.settings.models import Section, Settings
from consumer.settings.secret_files import FILE
from consumer.settings.validation import SHARED


if TYPE_CHECKING:
    from consumer.settings.shapes import Shape


__all__ = ["DIALECT", "document", "schema"]


DIALECT = "http://json-schema.org/draft-07/schema#"
"""The dialect that the language servers of editors know best."""

_SERVICES = tuple(KNOWN)
# Words that are not the only ones, but those that people look for.
_WORDS = {
    ("moderation", "region"): tuple(REGIONS),
    ("routes", None, "services"): _SERVICES,
    ("packed", "services"): _SERVICES,
    ("moderation", "services", None, "like"): _SERVICES,
}
# Loose: Python reads more forms of a date than anybody writes. YAML reads some of them as dates by itself.
_MOMENT = r"^\s*(earliest|latest|[0-9]{4}-?[0-9W].*)\s*$"


def document() -> str:
    """The schema as a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema of one file. Nothing is required that another file or a variable may give."""
    return {
        "$schema": DIALECT,
        "title": "Configuration of moderation-consumer",
        "description": paragraph(Settings.__doc__ or ""),
        **_section(Settings, (), within_entry=False),
        # Where anchors stand that sections share.
        "patternProperties": {f"^{SHARED}": {}},
    }


def _section(model: type[Section], path: tuple[str | None, ...], *, within_entry: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key in keys(model, path):
        properties[key.name] = _key(key)
        if key.shape.secret:
            properties[f"{key.name}{FILE}"] = {
                "description": f"The name of a file that holds {key.name}.",
                "type": ["string", "null"],
                "minLength": 1,
            }
        if key.required and within_entry:
            required.append(key.name)
    found: dict[str, Any] = {"type": "object" if not path or path[-1] is None else ["object", "null"]}
    found |= {"properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _key(key: Key) -> dict[str, Any]:
    found = {"description": key.description, **_value(key.shape, key.path)}
    default = _plain(key.default)
    if not key.required and default is not None and key.shape.section is None:
        found["default"] = default
    words = _WORDS.get(key.path)
    if words:
        place = found["items"] if key.shape.base is list else found
        place["examples"] = list(words)
    return found


def _value(shape: Shape, path: tuple[str | None, ...]) -> dict[str, Any]:
    if shape.section is not None:
        return _section(shape.section, path, within_entry=None in path)
    if shape.base is list:
        items = _value(entry(shape.item), (*path, None))
        found = {"type": ["array", "null"], "items": items, **_lengths(shape, "Items")}
        return {**found, "type": "array"} if found.get("minItems") else found
    if shape.base is dict:
        return _mapping(shape, path)
    if shape.choices and get_origin(shape.base) is not Literal:
        return {"type": "string", "pattern": _MOMENT, "examples": [*shape.choices, *shape.examples]}
    if shape.choices:
        return {"enum": [*shape.choices, None] if shape.nullable else list(shape.choices)}
    kind = {bool: "boolean", int: "integer", float: "number", Decimal: "number"}.get(shape.base, "string")
    found = {"type": [kind, "null"] if shape.nullable else kind, **_bounds(shape)}
    if kind == "string":
        found |= _lengths(shape, "Length")
        pattern = next((one.pattern for one in shape.constraints if getattr(one, "pattern", None)), None)
        found |= {"pattern": pattern} if pattern else {}
    if shape.examples:
        found["examples"] = list(shape.examples)
    return found


def _mapping(shape: Shape, path: tuple[str | None, ...]) -> dict[str, Any]:
    name, item = entry(shape.key), _value(entry(shape.item), (*path, None))
    found: dict[str, Any] = {"type": ["object", "null"]}
    if name.choices:
        return {**found, "properties": dict.fromkeys(name.choices, item), "additionalProperties": False}
    if path == ("moderation", "prices"):
        return {**found, "properties": dict.fromkeys(LIST_PRICES, item), "additionalProperties": False}
    names = {word: value for word, value in _value(name, ()).items() if word in {"minLength", "pattern"}}
    return {**found, "additionalProperties": item, **({"propertyNames": names} if names else {})}


def _bounds(shape: Shape) -> dict[str, Any]:
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    return {word: getattr(one, name) for one in shape.constraints for name, word in words.items() if hasattr(one, name)}


def _lengths(shape: Shape, of: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in shape.constraints:
        for name, word in (("min_length", f"min{of}"), ("max_length", f"max{of}")):
            if getattr(one, name, None) is not None:
                found[word] = getattr(one, name)
    return found


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, SecretStr | datetime) or get_origin(value) in get_args(Union):
        return None
    return value
