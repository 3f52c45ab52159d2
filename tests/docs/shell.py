"""The shell commands of the pages, taken apart as far as the pages need it: words, pipelines, variables, comments."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from tests.docs.pages import blocks, prose


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.pages import Block


__all__ = ["PROGRAMS", "SHELL", "Line", "inline", "lines", "shell_blocks"]


SHELL = ("sh", "console", "bash", "shell")
PROGRAMS = frozenset(
    {"cd", "curl", "docker", "echo", "export", "gh", "git", "helm", "journalctl", "kafka-acls.sh", "kafka-configs.sh"}
    | {"kafka-console-consumer.sh", "kafka-consumer-groups.sh", "kafka-get-offsets.sh", "kcat", "kill", "kubectl"}
    | {"make", "moderation-consumer", "pip", "python", "python3", "systemctl"}
)
"""What a line of a page may begin with; filters behind a `|` are not among them."""

_OURS = re.compile(r"`((?:moderation-consumer|make|python -m) [^`]+)`")
_ASSIGNED = re.compile(r"(\w+)=(\$\(.*\)|\S*|\"[^\"]*\")")
_FUNCTION = re.compile(r"(\w+)\(\) \{ (.*); \}")


@dataclass(frozen=True, slots=True)
class Line:
    """One command of a page, with what its output goes through (`filters`) or into (`target`)."""

    block: str
    text: str
    words: tuple[str, ...]
    filters: tuple[tuple[str, ...], ...] = ()
    target: str | None = None

    @property
    def program(self) -> str:
        """The program's name, wherever it is installed."""
        return self.words[0].rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.block}: {self.text}"


def shell_blocks(page: Path) -> Iterator[Block]:
    """The blocks that are for a shell: fenced ones that say so, and indented ones that begin with a program."""
    for block in blocks(page):
        if block.language in SHELL or (not block.language and _begins_with_a_program(block.text)):
            yield block


def lines(block: Block) -> Iterator[Line]:
    """The commands of a block, one after the other; variables and functions of the block are put in their places."""
    known: dict[str, str] = {}
    functions: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
        if match := _FUNCTION.fullmatch(line):
            functions[match[1]] = match[2]
        elif (match := _ASSIGNED.fullmatch(line)) and not line.startswith("export"):
            known[match[1]] = match[2].strip('"')
            if match[2].startswith("$("):
                yield from _commands(str(block), match[2][2:-1])
        else:
            text = re.sub(r"\$(\w+)", lambda found: known.get(found[1], found[0]), line)
            first, _, rest = text.partition(" ")
            if first in functions:
                text = functions[first].replace('"$@"', rest)
            yield from _commands(str(block), text)


def inline(page: Path) -> Iterator[Line]:
    """The commands of ours in the sentences and tables of a page."""
    for match in _OURS.finditer(prose(page)):
        if "…" not in match[1] and "..." not in match[1]:
            yield from _commands(str(page), match[1])


def _begins_with_a_program(text: str) -> bool:
    word = text.split(maxsplit=1)[0]
    return word.rpartition("/")[2] in PROGRAMS or bool(_ASSIGNED.match(text))


def _commands(place: str, text: str) -> Iterator[Line]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[list[str]]] = [[[]]]
    for word in lexer:
        if word in {"&&", ";", "&"}:
            found.append([[]])
        elif word == "|":
            found[-1].append([])
        else:
            found[-1][-1].append(word)
    for pipeline in found:
        words = list(chain.from_iterable(pipeline[:1]))
        last = pipeline[-1]
        target = last[last.index(">") + 1] if ">" in last else None
        if target is not None:
            del last[last.index(">") :]
            words = pipeline[0]
        if words:
            yield Line(place, text.strip(), tuple(words), tuple(tuple(one) for one in pipeline[1:]), target)
