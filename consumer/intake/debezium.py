"""Debezium's change events: which of them say something new, and what a row is after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.errors import DecodeError, NothingToJudge
from consumer.intake.words import LeftOut, a_value


if TYPE_CHECKING:
    from collections.abc import Collection


__all__ = ["change"]


_OPERATIONS: Final = {"c": "create", "u": "update", "r": "read"}
# Deletes, truncated tables, and messages that an application wrote into the log.
_OTHERS: Final = {"d": "delete", "t": "truncate", "m": "message"}
# What stands for a value that has not changed, and that the database therefore did not write into its log.
_UNAVAILABLE: Final = "__debezium_unavailable_value"


def change(document: dict[str, Any], operations: Collection[str]) -> dict[str, Any]:
    """The change event in a document, without the schema that a converter may put around it.

    A value that the database left out of its log, since it has not changed, is taken from the row as it was before;
    where it is not there either, a mapping that needs it will not find it.

    Raises:
        NothingToJudge: a delete, or another change that is not to be judged.
        DecodeError: it is no change event.
    """
    found: Any = document
    if "payload" in document and "op" not in document:
        found = document["payload"]
        if found is None:
            raise NothingToJudge("a tombstone")
    operation = found.get("op") if isinstance(found, dict) else None
    if not isinstance(operation, str):
        raise DecodeError(
            f"no change event: {a_value(operation)} where its operation should be, at `op`; records of which only the "
            "new row is left are read with format.envelope none"
        )
    if operation in _OTHERS:
        raise NothingToJudge(_OTHERS[operation])
    if operation not in _OPERATIONS:
        raise DecodeError("no change event: its operation, at `op`, is none of Debezium's")
    if _OPERATIONS[operation] not in operations:
        raise NothingToJudge(_OPERATIONS[operation])
    after = found.get("after")
    if not isinstance(after, dict):
        raise DecodeError(f"a change event whose `after` is {a_value(after)}; the new row is wanted")
    if _UNAVAILABLE in after.values():
        found = {**found, "after": _completed(after, found.get("before"))}
    return found  # type: ignore[no-any-return]  # it is the dict that was looked at


def _completed(after: dict[str, Any], before: object) -> dict[str, Any]:
    old = before if isinstance(before, dict) else {}
    return {name: _known(old.get(name)) if value == _UNAVAILABLE else value for name, value in after.items()}


def _known(value: Any) -> Any:
    return LeftOut() if value is None or value == _UNAVAILABLE else value
