"""YAML → nodes with their lines: duplicate keys, wrong syntax and unreadable files each become one clear problem."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import yaml

from consumer.settings.nodes import FAULTY, Node, Path, Place, Problem


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["parse", "read", "read_text"]


_MERGE = "tag:yaml.org,2002:merge"
# More than any configuration has: a few lines of aliases to lists of aliases can stand for more than memory holds.
_MOST_VALUES = 100_000
_CONTAINERS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}

# The parser's own words name tokens of its grammar, and some repeat a piece of the text, which may be a secret.
_SYNTAX = (
    ("undefined alias", "a value that begins with * must be in quotes, or the anchor that it names is missing"),
    ("duplicate anchor", "an anchor of this name exists already; a value that begins with & must be in quotes"),
    ("that cannot start any token", "this character cannot begin a value here; indent with spaces, put text in quotes"),
    ("expected a single document", "a second document begins here; one file holds one"),
    ("could not find expected ':'", "a key without its colon and space, or a line that is indented wrongly"),
    ("mapping values are not allowed here", "a colon where none can be; put a text that has one in quotes"),
    ("end of scalar", "a quote is not closed"),
    ("quoted scalar", "a quote is not closed"),
    ("<block end>", "the indentation does not match the lines above"),
    ("or ']'", "a list in [ ] is not closed, or a comma is missing"),
    ("or '}'", "a mapping in { } is not closed, or a comma is missing"),
)


def read_text(path: str, problems: list[Problem]) -> str | None:
    """What a file says, or None where it cannot be read; a byte order mark is none of it."""
    whole = Place(path)
    if not path:
        problems.append(Problem(Place("''"), (), "cannot be read: the name of the file is empty"))
        return None
    try:
        return FilePath(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        problems.append(Problem(whole, (), f"not UTF-8 at byte {exc.start + 1}; save it as UTF-8"))
        return None
    except OSError as exc:
        problems.append(Problem(whole, (), f"cannot be read: {(exc.strerror or str(exc)).lower()}"))
        return None
    except ValueError:
        problems.append(Problem(whole, (), "cannot be read: not the name of a file"))
        return None


def read(path: str, problems: list[Problem]) -> Node | None:
    """The file's settings, or None where a problem makes them unusable. The names of files go into places as given."""
    text = read_text(path, problems)
    if text is None:
        return None
    node = parse(text, lambda line, column: Place(path, line, column), problems)
    if node is None:
        return None
    if node.value is None:
        problems.append(Problem(Place(path), (), "is empty; it must hold at least the sections kafka and moderation"))
        return None
    if not isinstance(node.value, dict):
        problems.append(
            Problem(node.place, (), "holds no settings: a mapping of sections such as `kafka:` is expected")
        )
        return None
    return node


def parse(text: str, locate: Callable[[int, int], Place], problems: list[Problem]) -> Node | None:
    """The text as nodes, or None where it is not YAML. An empty text is a node with the value None."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Node(locate(1, 1), None) if root is None else _Walk(locate, problems).node(root, ())
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = locate(mark.line + 1, mark.column + 1) if mark else locate(1, 1)
        said = f"{exc.problem} {exc.context}"
        reason = next((ours for theirs, ours in _SYNTAX if theirs in said), "the syntax is wrong here")
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position]
        place = locate(before.count("\n") + 1, len(before) - before.rfind("\n"))
        reason = "a control character, which YAML does not take"
    except RecursionError:
        place, reason = locate(1, 1), "it is nested too deeply"
    except _TooManyError as exc:
        problems.append(exc.problem)
        return None
    problems.append(Problem(place, (), f"not valid YAML: {reason}"))
    return None


class _TooManyError(Exception):
    """The text stands for more values than can be looked at."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


class _Walk:
    """Turns composed YAML into nodes. Keys are taken as they are written: `1` and `no` are texts."""

    def __init__(self, locate: Callable[[int, int], Place], problems: list[Problem]) -> None:
        self._locate = locate
        self._problems = problems
        self._open: set[int] = set()
        self._values = 0
        self._scalars: Any = yaml.SafeLoader("")

    def node(self, node: yaml.Node, path: Path) -> Node:
        place = self._place(node)
        self._values += 1
        if self._values > _MOST_VALUES:
            text = f"stands for more than {_MOST_VALUES:,} values; see where an alias (*) repeats what holds others"
            raise _TooManyError(Problem(place, path, text))
        if isinstance(node, yaml.ScalarNode):
            return Node(place, self._scalar(node, path))
        if node.tag not in _CONTAINERS:
            return self._faulty(place, path, "has a tag that is not known here; leave the tag out")
        if id(node) in self._open:
            return self._faulty(place, path, "contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Node(place, self._mapping(node, path))
            return Node(place, [self.node(child, (*path, index)) for index, child in enumerate(node.value)])
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        try:
            return self._scalars.construct_object(node)
        except yaml.YAMLError:
            text = "has a tag that is not known here; put a text that begins with ! in quotes"
        except (ValueError, OverflowError, LookupError, AttributeError):  # as PyYAML fails for `!!int x` and the like
            text = "looks like a number or a date, but is none; put it in quotes if it is a text"
        return self._faulty(self._place(node), path, text).value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            place = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                self._faulty(place, path, "a list or a mapping stands where a key is expected")
            elif key.tag == _MERGE:
                for name, child in self._merge(value, path):
                    merged.setdefault(name, child)
            elif key.value in own:
                first = own[key.value].place
                self._faulty(place, (*path, key.value), f"given twice; first at {first}")
            else:
                own[key.value] = Node(place, self.node(value, (*path, key.value)).value)
        return merged | own

    def _merge(self, node: yaml.Node, path: Path) -> list[tuple[str, Node]]:
        """What `<<` brings in: the keys of one mapping, or of a list of mappings where the first one wins."""
        several = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[tuple[str, Node]] = []
        for one in several:
            if isinstance(one, yaml.MappingNode):
                child = self.node(one, path)
                found += child.value.items() if isinstance(child.value, dict) else []
            else:
                self._faulty(self._place(one), path, "<< takes a mapping, or a list of them")
        return found

    def _place(self, node: yaml.Node) -> Place:
        return self._locate(node.start_mark.line + 1, node.start_mark.column + 1)

    def _faulty(self, place: Place, path: Path, text: str) -> Node:
        self._problems.append(Problem(place, path, text))
        return Node(place, FAULTY)
