"""How JSON values are called in messages to people."""

from __future__ import annotations


__all__ = ["LeftOut", "a_value"]


class LeftOut(dict[str, str]):
    """Stands in a document for a value that its writer has left out, though it is not empty."""

    def __init__(self) -> None:
        super().__init__(left_out="unchanged")


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
    if isinstance(found, LeftOut):
        return "a value that the database left out, since it has not changed,"
    return "a list" if isinstance(found, list) else "an object"
