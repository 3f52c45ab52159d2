"""Values that know where they stand, and the problems found with them: what all sources are read into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


__all__ = ["DEFAULT", "FAULTY", "Node", "Path", "Place", "Problem", "dotted", "overlay", "plain", "put"]


Path = tuple[str | int, ...]

FAULTY: Final = object()
"""Stands for a value whose problem has been told already."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value stands: a line of a file, a variable, a secret's file, or nowhere but in the defaults."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


DEFAULT: Final = Place("default")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where, in which key (empty: the place as a whole), and what."""

    place: Place
    path: Path
    text: str

    def __str__(self) -> str:
        line = f"{self.place}: {dotted(self.path)}: {self.text}" if self.path else f"{self.place}: {self.text}"
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place: a scalar, a `dict[str, Node]`, a `list[Node]`, or `FAULTY`."""

    place: Place
    value: Any


def dotted(path: Path) -> str:
    """The path as people write it: `routes[0].services`.

    A key is cut at a colon or an equals sign: `password:x` without a space is one key, and must not tell the x.
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path).removeprefix(".")


def _key(key: str) -> str:
    kept = re.split("[:=]", key, maxsplit=1)[0][:60]
    return kept if kept == key else f"{kept}…"


def overlay(lower: Node, upper: Node) -> Node:
    """Both together: mappings are joined key by key, anything else of `upper` replaces what `lower` has."""
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    joined = dict(lower.value)
    for name, node in upper.value.items():
        joined[name] = overlay(joined[name], node) if name in joined else node
    return Node(lower.place, joined)


def put(root: Node, path: Path, node: Node) -> None:
    """Set one value deep in a tree of mappings, making those that are missing or have no value."""
    *sections, name = path
    for section in sections:
        child = root.value.get(section)
        if child is None or child.value is None:
            child = root.value[section] = Node(root.place if child is None else child.place, {})
        root = child
    root.value[name] = node


def plain(value: Any, place: Place) -> Node:
    """What Python code gives instead of a file: mappings and lists become nodes that all stand at `place`."""
    if isinstance(value, Mapping):
        return Node(place, {str(name): plain(inner, place) for name, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return Node(place, [plain(inner, place) for inner in value])
    return Node(place, value)
