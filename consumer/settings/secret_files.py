"""Secrets from files: every secret key `x` can be given as `x_file`, the name of a file that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from consumer.settings.nodes import FAULTY, Node, Path, Place, Problem
from consumer.settings.shapes import fields


if TYPE_CHECKING:
    from consumer.settings.models import Section


__all__ = ["FILE", "name_secret_files", "read_secret_files"]


FILE = "_file"

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _SecretFile:
    """A secret that is still in its file: a later source may replace it, and then the file is never opened."""

    name: str


def name_secret_files(node: Node, model: type[Section], problems: list[Problem], path: Path = ()) -> Node:
    """One source's tree with each `x_file` turned into an `x` that is read later.

    Both in one source contradict each other; between two sources the later one wins, whichever form it has.
    """
    if not isinstance(node.value, dict):
        return node
    inner = dict(node.value)
    for name, shape in fields(model).items():
        if shape.section is not None and name in inner:
            inner[name] = name_secret_files(inner[name], shape.section, problems, (*path, name))
        named = inner.pop(f"{name}{FILE}", None) if shape.secret else None
        if named is None:
            continue
        where = (*path, f"{name}{FILE}")
        if name in inner:
            problems.append(Problem(named.place, where, f"contradicts {name}, set by {inner[name].place}; keep one"))
        elif isinstance(named.value, str) and named.value:
            inner[name] = Node(named.place, _SecretFile(named.value))
        elif named.value is not None:
            kind = "an empty name" if named.value == "" else "something else"
            problems.append(Problem(named.place, where, f"found {kind}, expected the name of a file"))
            inner[name] = Node(named.place, FAULTY)
    return Node(node.place, inner)


def read_secret_files(
    node: Node, model: type[Section], problems: list[Problem], path: Path = ()
) -> tuple[Node, frozenset[str]]:
    """The tree with the files' contents in it, and all the secrets that it holds, so that no message repeats one."""
    if not isinstance(node.value, dict):
        return node, frozenset()
    inner = dict(node.value)
    secrets: frozenset[str] = frozenset()
    for name, shape in fields(model).items():
        child = inner.get(name)
        if child is None:
            continue
        if shape.section is not None:
            inner[name], below = read_secret_files(child, shape.section, problems, (*path, name))
            secrets |= below
        elif shape.secret:
            if isinstance(child.value, _SecretFile):
                inner[name] = _read(child.place, child.value.name, (*path, f"{name}{FILE}"), problems)
            held = inner[name].value
            secrets |= {str(held)} if isinstance(held, (str, int, float)) and held != "" else frozenset()
    return Node(node.place, inner), secrets


def _read(place: Place, name: str, path: Path, problems: list[Problem]) -> Node:
    # What has no slash may be the secret itself, given by mistake where its file's name belongs.
    shown = name if "/" in name else "the file named here"
    try:
        with FilePath(name).open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        reason = f"{shown} is not a text in UTF-8"
    except OSError as exc:
        reason = f"{shown} cannot be read: {(exc.strerror or str(exc)).lower()}"
    except ValueError:
        reason = "not the name of a file"
    else:
        if text and len(text) <= _MAX_BYTES:
            return Node(Place(f"file {name} named by {place}"), text)
        reason = f"{shown} is too large for a secret (over 64 KiB)" if text else f"{shown} is empty"
    problems.append(Problem(place, path, reason))
    return Node(place, FAULTY)
