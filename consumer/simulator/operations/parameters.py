"""Reading `ServiceParameters`, and the rules that the operations share."""

from __future__ import annotations

import re
from typing import Any

import orjson


__all__ = ["DATA_ID_LIMIT", "data_id_fault", "info_types", "service_parameters"]


DATA_ID_LIMIT = 64
"""The text and the image page; the multimodal page says 128."""

_DATA_ID = re.compile(r"[A-Za-z0-9_.\-]+")


def service_parameters(text: str) -> dict[str, Any] | None:
    """The object that the JSON string holds, or None if it holds none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def data_id_fault(parameters: dict[str, Any], limit: int = DATA_ID_LIMIT) -> tuple[int, str] | None:
    """What is wrong with `dataId`, as the image page's code and a sentence; None if nothing is."""
    data_id = parameters.get("dataId")
    if data_id is None:
        return None
    if not isinstance(data_id, str) or not _DATA_ID.fullmatch(data_id):
        return 401, "dataId may hold letters, digits, '_', '-' and '.'"
    if len(data_id) > limit:
        return 402, f"dataId is longer than {limit} characters"
    return None


def info_types(parameters: dict[str, Any], known: frozenset[str]) -> frozenset[str] | None:
    """The kinds of auxiliary information asked for; None if one of them is unknown."""
    text = parameters.get("infoType")
    if text is None or text == "":
        return frozenset()
    if not isinstance(text, str):
        return None
    asked = frozenset(part.strip() for part in text.split(","))
    return asked if asked <= known else None
