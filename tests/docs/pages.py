"""The pages that people read, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["PAGES", "ROOT", "Block", "blocks", "name_of", "prose"]


ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("docs", "config", "examples", "helm")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in _FOLDERS for page in (ROOT / folder).rglob("*.md"))])

_FENCE = re.compile(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n|\n(?= {4}))+")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: the language that its fence names, or none of one that is indented, and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """The page's name from the top of the project."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of code of a page, fenced ones first."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 2, match[3], textwrap.dedent(match[4]))
    rest = _FENCE.sub(lambda match: re.sub(r"[^\n]+", "-", match[0]), text)
    for match in _INDENTED.finditer(rest):
        if not _within_a_list(rest[: match.start()]):
            yield Block(page, rest.count("\n", 0, match.start()) + 1, "", textwrap.dedent(match[0]))


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _INDENTED.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))


def _within_a_list(before: str) -> bool:
    """Whether the last line that is not indented begins a list: what is indented below it is a part of that."""
    last = next((line for line in reversed(before.splitlines()) if line and not line.startswith(" ")), "")
    return bool(re.match(r"(?:[-*]|\d+\.) ", last))
