"""A file of cases → its tree: each record's value as JSON has it, and which keys may stand beside each other."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from consumer.settings.nodes import FAULTY, Node, Place, Problem
from consumer.settings.words import nearest
from consumer.settings.yaml_tree import parse, read_text


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consumer.settings.nodes import Path as KeyPath


__all__ = ["tree"]


_VALUES = ("value", "value_base64", "value_file")
_FORMS = ("record", "records")
_EMPTY = "holds no cases: a list `tests:` is expected, each with name, record and expect"
# What stands in each of `records`, and where it belongs if there is but one record.
_IN_TURN = {
    "expect": "contradicts record, beside which it stands; move it there",
    "after_seconds": "is for records, of which several come in; leave it out, or list them",
}


def tree(path: Path, problems: list[Problem]) -> Node | None:
    """What is written in a file of cases, or None where nothing of it can be used."""
    text = read_text(str(path), problems)
    if text is None:
        return None
    root = parse(text, lambda line, column: Place(str(path), line, column), problems)
    if root is not None and (not isinstance(root.value, dict) or not root.value.get("tests", root).value):
        problems.append(Problem(root.place, (), _EMPTY))
        return None
    if problems or root is None:
        return None
    tests = root.value.get("tests", root).value
    for number, case in enumerate(tests if isinstance(tests, list) else ()):
        if isinstance(case.value, dict):
            _look_at(case, ("tests", number), problems)
    return root


def _look_at(case: Node, path: KeyPath, problems: list[Problem]) -> None:
    """Check what one case says of its records, and take their values out: nothing in there is ours to check."""
    given = case.value
    problems += _mixed(case, path)
    if "record" in given:
        record = given["record"]
        if isinstance(record.value, dict):
            for name in [name for name in _IN_TURN if name in record.value]:
                # It is told here: to the model it would be a key that nobody knows.
                place = record.value.pop(name).place
                problems.append(Problem(place, (*path, "record", name), _IN_TURN[name]))
        _take_value_out(record, (*path, "record"), problems)
    records = given.get("records")
    for number, record in enumerate(records.value if records is not None and isinstance(records.value, list) else ()):
        _take_value_out(record, (*path, "records", number), problems)


def _mixed(case: Node, path: KeyPath) -> Iterator[Problem]:
    """What is wrong with which of `record`, `records` and `expect` there are."""
    given = case.value
    if "records" in given:
        if "record" in given:
            yield Problem(given["records"].place, (*path, "records"), "contradicts record; keep one")
        elif "expect" in given:
            said = "contradicts records, each of which has an expect of its own; move it there"
            yield Problem(given["expect"].place, (*path, "expect"), said)
        if given["records"].value is None:
            yield Problem(given["records"].place, (*path, "records"), "found nothing, expected a list of records")
    elif "record" in given:
        if "expect" not in given or given["expect"].value is None:
            yield Problem(case.place, (*path, "expect"), "required, but not set")
    elif not any(name not in _FORMS and nearest(name, _FORMS) for name in given):
        yield Problem(case.place, path, "needs record, or records where several come in")


def _take_value_out(record: Node, path: KeyPath, problems: list[Problem]) -> None:
    values = {} if record.value is None else record.value
    if not isinstance(values, dict):
        return
    given = [name for name in _VALUES if name in values]
    if len(given) != 1:
        said = f"{given[0]} contradicts {given[1]}; keep one" if given else f"needs one of {', '.join(_VALUES)}"
        problems.append(Problem(record.place, path, said))
    if "value" in values:
        node = values["value"]
        values["value"] = Node(node.place, _json(node, (*path, "value"), problems))


def _json(node: Node, path: KeyPath, problems: list[Problem]) -> Any:
    value = node.value
    if isinstance(value, dict):
        return {name: _json(one, (*path, name), problems) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one, (*path, number), problems) for number, one in enumerate(value)]
    if isinstance(value, (date, bytes)):
        kind = "a date" if isinstance(value, date) else "binary data"
        problems.append(Problem(node.place, path, f"found {kind}, which JSON does not have; put a text in quotes"))
    return None if value is FAULTY else value
