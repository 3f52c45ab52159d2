"""How JSON values are called in messages to people."""

from __future__ import annotations


__all__ = ["a_value"]


def a_value(found: object) -> str:
    """The kind of JSON value, as a person would say it."""
    if found is None:
        return "nothing"
    if isinstance(found, bool):
        return "a boolean"
    if isinstance(found, int):
        return "an integer"
    if isinstance(found, float):
        return "a number with a fraction or of more than 64 bits"
    if isinstance(found, str):
        return "a string"
    return "a list" if isinstance(found, list) else "an object"
