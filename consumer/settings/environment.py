"""Environment variables → nodes: `MODERATION__SECTION__KEY`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from consumer.settings.models import Settings
from consumer.settings.nodes import FAULTY, Node, Path, Place, Problem, put
from consumer.settings.secret_files import FILE
from consumer.settings.shapes import Shape, fields, leaves
from consumer.settings.words import nearest
from consumer.settings.yaml_tree import parse


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["CONFIG", "PREFIX", "read_environment", "variable"]


PREFIX = "MODERATION__"
"""What our variables begin with; Kubernetes adds `MODERATION_PORT` and the like, which have a single underscore."""

CONFIG = "MODERATION_CONFIG"
"""The variable that names the configuration file when the command line names none."""

_BEGINNING = PREFIX.removesuffix("_")


def variable(path: Path) -> str:
    """The variable that sets the key at `path`."""
    return PREFIX + "__".join(map(str, path)).upper()


def read_environment(environ: Mapping[str, str], at: Place, problems: list[Problem]) -> Node:
    """All that our variables set; `at` is the place of sections that exist only here."""
    root = Node(at, {})
    known = _known()
    for name in sorted(name for name in environ if name.startswith(PREFIX) or _is_misspelt(name)):
        place = Place(f"${name}")
        target = known.get(name)
        if target is None:
            problems.append(Problem(place, (), _unknown(name, known)))
            continue
        path, shape = target
        put(root, path, _value(environ[name], path, shape, place, problems))
    return root


@cache
def _known() -> dict[str, tuple[Path, Shape]]:
    known: dict[str, tuple[Path, Shape]] = {}
    for path, shape in leaves(Settings):
        known[variable(path)] = (path, shape)
        if shape.secret:
            file = (*path[:-1], f"{path[-1]}{FILE}")
            known[variable(file)] = (file, shape)
    return known


def _is_misspelt(name: str) -> bool:
    """Whether a variable is one of ours but for the second underscore of what ours begin with."""
    section, separator, _ = name.removeprefix(_BEGINNING).partition("__")
    return name.startswith(_BEGINNING) and bool(separator) and section.lower() in fields(Settings)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    if not name.startswith(PREFIX):
        right = PREFIX + name.removeprefix(_BEGINNING)
        return f"no such variable; did you mean ${right}?" if right in known else _unknown(right, known)
    below = next((right for right in known if name.startswith(f"{right}__")), None)
    if below is not None:
        return f"no such variable; ${below} takes the whole as YAML"
    section = [right for right in known if right.startswith(f"{name}__")]
    if section:
        return f"names a section; set its keys one by one, such as ${section[0]}"
    # The common beginning would make every name look a little like every other.
    near = nearest(name.removeprefix(PREFIX), (right.removeprefix(PREFIX) for right in known))
    return "no such variable" + (f"; did you mean ${PREFIX}{near}?" if near else "")


def _value(text: str, path: Path, shape: Shape, place: Place, problems: list[Problem]) -> Node:
    if shape.base not in {list, dict}:
        if str(path[-1]).endswith(FILE) and shape.secret:
            return Node(place, text)
        return Node(place, None if shape.nullable and not text else text)
    if shape.flat and not text.lstrip().startswith("["):
        return Node(place, [Node(place, part.strip()) for part in text.split(",") if part.strip()])
    here: list[Problem] = []
    node = parse(text, lambda _line, _column: place, here)
    problems += [Problem(place, (*path, *problem.path), problem.text) for problem in here]
    return Node(place, FAULTY) if node is None else node
