"""What became of cases as JUnit's XML, which CI systems show."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # it is written, and none is read
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Tried", "as_junit"]


@dataclass(frozen=True, slots=True)
class Tried:
    """A case that was tried: how long that took, how it differs from what was expected, and what became of it."""

    name: str
    place: str
    seconds: float
    difference: Sequence[str]
    summary: str


def as_junit(suite: str, tried: Sequence[Tried]) -> str:
    """The document, with one suite of this name."""
    failed = sum(bool(one.difference) for one in tried)
    counts = {"tests": str(len(tried)), "failures": str(failed), "errors": "0", "skipped": "0"}
    seconds = f"{sum(one.seconds for one in tried):.3f}"
    root = ET.Element("testsuites", {**counts, "time": seconds})
    group = ET.SubElement(root, "testsuite", {"name": suite, **counts, "time": seconds})
    for one in tried:
        fields = {"classname": suite, "name": _sound(one.name), "file": one.place.partition(":")[0]}
        case = ET.SubElement(group, "testcase", {**fields, "time": f"{one.seconds:.3f}"})
        if one.difference:
            failure = ET.SubElement(case, "failure", {"message": _sound(one.summary), "type": "difference"})
            failure.text = _sound("\n".join((one.place, *one.difference)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _sound(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(char if char in "\t\n" or char.isprintable() else "\ufffd" for char in text)
