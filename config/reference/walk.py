"""The models of the settings as people meet them: sections in groups, keys with their words, units and variables."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined

from consumer.settings.environment import variable
from consumer.settings.models import Section, Settings
from consumer.settings.replacing import is_live
from consumer.settings.secret_files import FILE
from consumer.settings.shapes import Shape, fields


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.settings.nodes import Path


__all__ = ["GROUPS", "Key", "entry", "groups", "keys", "paragraph", "section_of"]


GROUPS = {
    "Where records come from, and where verdicts go": ("kafka", "format", "mapping", "output"),
    "What is judged, by whom, and what follows": ("routes", "moderation", "policy", "threads", "tasks", "callbacks"),
    "How fast, and how much money": ("quota", "budgets", "cache", "packed"),
    "What is promised": ("delivery", "dead_letters", "state"),
    "The running program": ("shutdown", "admin", "log", "tracing"),
}
"""The sections in the order in which people need them; what is in none of these comes with the last."""

_UNITS = {"_per_second": "calls a second", "_seconds": "seconds", "_bytes": "bytes"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. `path` has None for a position in a list, and for a name in a mapping."""

    path: tuple[str | None, ...]
    shape: Shape
    description: str
    default: Any

    @property
    def name(self) -> str:
        """Its own name."""
        return str(self.path[-1])

    @property
    def unit(self) -> str:
        """What its number counts, where its name says so."""
        return next((unit for ending, unit in _UNITS.items() if self.name.endswith(ending)), "")

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that set it; none where it is part of a list or of a mapping."""
        if None in self.path:
            return ()
        own = variable(self._names)
        return (own, f"{own}{FILE.upper()}") if self.shape.secret else (own,)

    @property
    def live(self) -> bool:
        """Whether it can change while the program runs."""
        return is_live(self._names)

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined

    @property
    def _names(self) -> Path:
        return tuple(part for part in self.path if part is not None)


def groups() -> dict[str, list[str]]:
    """Every section of the settings, group by group."""
    grouped = {title: [name for name in names if name in fields(Settings)] for title, names in GROUPS.items()}
    known = {name for names in grouped.values() for name in names}
    next(reversed(grouped.values())).extend(name for name in fields(Settings) if name not in known)
    return grouped


def keys(model: type[Section], path: tuple[str | None, ...] = ()) -> Iterator[Key]:
    """The keys of one section, those of sections within it left out."""
    for name, shape in fields(model).items():
        field = model.model_fields[name]
        default = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
        yield Key((*path, name), shape, paragraph(field.description or ""), default)


def entry(shape: Shape | None) -> Shape:
    """What a list or a mapping holds, which is known of each.

    Raises:
        TypeError: it is neither.
    """
    if shape is None:
        raise TypeError("neither a list nor a mapping")
    return shape


def section_of(shape: Shape) -> tuple[type[Section] | None, bool]:
    """The section that stands at a key, or in each entry of it; and whether it is of an entry."""
    if shape.section is not None:
        return shape.section, False
    return (shape.item.section, True) if shape.item is not None and shape.item.section is not None else (None, False)


def paragraph(text: str) -> str:
    """A docstring as one line for each of its paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))
