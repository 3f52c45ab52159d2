"""What became of cases as JUnit's XML, which CI systems show."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # it is written, and none is read
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["Differing", "Tried", "as_junit"]


@dataclass(frozen=True, slots=True)
class Differing:
    """A record of which something else became than was expected: the lines that show it, and what became of it.

    `heading` names the record where its case has several, and is empty else.
    """

    heading: str
    lines: Sequence[str]
    summary: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A case that was tried: how long that took, and those of its records that differ from what was expected."""

    name: str
    place: str
    seconds: float
    differing: Sequence[Differing]


def as_junit(suite: str, tried: Sequence[Tried]) -> str:
    """The document, with one suite of this name."""
    failed = sum(bool(one.differing) for one in tried)
    counts = {"tests": str(len(tried)), "failures": str(failed), "errors": "0", "skipped": "0"}
    seconds = f"{sum(one.seconds for one in tried):.3f}"
    root = ET.Element("testsuites", {**counts, "time": seconds})
    group = ET.SubElement(root, "testsuite", {"name": suite, **counts, "time": seconds})
    for one in tried:
        fields = {"classname": suite, "name": _sound(one.name), "file": one.place.partition(":")[0]}
        case = ET.SubElement(group, "testcase", {**fields, "time": f"{one.seconds:.3f}"})
        if one.differing:
            said = "; ".join(f"{record.heading}: {record.summary}".removeprefix(": ") for record in one.differing)
            failure = ET.SubElement(case, "failure", {"message": _sound(said), "type": "difference"})
            failure.text = _sound("\n".join([one.place, *_lines(one.differing)]))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _lines(differing: Sequence[Differing]) -> Iterator[str]:
    for record in differing:
        if record.heading:
            yield record.heading
        yield from record.lines


def _sound(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(char if char in "\t\n" or char.isprintable() else "\ufffd" for char in text)
