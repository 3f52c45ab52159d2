"""The table of the chart's values in its README, made of values.yaml and the comments in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.helm.rendering import CHART


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["README", "Value", "current", "values"]


README = CHART / "README.md"

_KEY = re.compile(r"^(?P<indent> *)(?P<name>[A-Za-z]+):")
# Values whose parts are not ours to explain: they are shown as a whole.
_WHOLE = frozenset({"config", "updateStrategy", "resources", "podSecurityContext", "securityContext", "topologySpread"})
_BEGIN, _END = "<!-- values -->\n", "<!-- end of values -->\n"
_LONGEST_DEFAULT = 40


@dataclass(frozen=True, slots=True)
class Value:
    """A value that can be set: its path, its default, and what it means."""

    path: tuple[str, ...]
    default: Any
    meaning: str


def values() -> Iterator[Value]:
    """Every value, in the order of the file."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        found = _KEY.match(line)
        meaning, comment = " ".join(comment), []
        if not found:
            continue
        depth = len(found["indent"]) // 2
        if path and path[0] in _WHOLE and depth:
            continue
        path = [*path[:depth], found["name"]]
        default = _at(defaults, path)
        if meaning:
            yield Value(tuple(path), default, meaning)
        elif not isinstance(default, dict):
            yield Value(tuple(path), default, "")


def current() -> str:
    """The README with the table as it should be."""
    before, rest = README.read_text().split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + _table() + _END + after


def _table() -> str:
    rows = [f"| `{'.'.join(one.path)}` | {_shown(one.default)} | {one.meaning} |\n" for one in values()]
    return "".join(["| value | default | meaning |\n", "|---|---|---|\n", *rows])


def _shown(default: Any) -> str:
    if default is None or default == "":
        return ""
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see values.yaml"


def _at(part: Any, path: list[str]) -> Any:
    for name in path:
        part = part[name]
    return part
