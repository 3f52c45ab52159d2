"""Nodes → `Settings`: every value is checked where it stands, so that all faults are found at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from consumer.settings.environment import variable
from consumer.settings.models import Section
from consumer.settings.nodes import DEFAULT, FAULTY, Node, Path, Place, Problem, dotted
from consumer.settings.secret_files import FILE
from consumer.settings.shapes import Shape, fields
from consumer.settings.words import nearest, wrong


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


__all__ = ["SHARED", "Validation"]


Model = TypeVar("Model", bound=Section)

SHARED = "x-"
"""What keys at the top begin with that are no settings: they are the place for anchors, as in a file of Compose."""

# Mappings whose names are the user's own: no variable reaches into them.
_FREE = {("moderation", "services"), ("moderation", "prices"), ("format", "topics")}


class Validation:
    """One pass over the tree: the problems it finds, and the place of every value, defaults included.

    Args:
        problems: where faults are added.
        secrets: texts that no message may repeat.
        hints: what to add when the key at a path is missing.
        required: keys that are needed because of the values of others.
        whole: the model of all settings, where the tree is one of settings: its keys have variables, and may be looked
            for in a wrong section.
    """

    def __init__(
        self,
        problems: list[Problem],
        secrets: Collection[str],
        hints: Mapping[Path, str],
        required: Collection[Path] = (),
        whole: type[Section] | None = None,
    ) -> None:
        self.places: dict[Path, Place] = {}
        self._problems = problems
        self._secrets = secrets
        self._hints = hints
        self._required = required
        self._whole = whole

    def section(self, model: type[Model], node: Node, path: Path = ()) -> Model:
        """A section with all that is right in it; reading an attribute that is faulty raises AttributeError."""
        shapes = fields(model)
        values: dict[str, Any] = {}
        faulty: list[str] = []
        for name in node.value:
            if name not in shapes and (path or not name.startswith(SHARED)):
                self._unknown(model, node.value[name].place, (*path, name))
        for name, shape in shapes.items():
            here = (*path, name)
            child = node.value.get(name)
            value: Any
            if here in self._required and (child is None or child.value is None):
                value = self._missing(shape, node.place, here)
            elif child is not None:
                value = self._value(shape, child, here)
            elif shape.section is None and shape.required:
                value = self._missing(shape, node.place, here)
            else:
                self.places[here] = DEFAULT
                if shape.section is None or shape.nullable:
                    continue
                value = self.section(shape.section, Node(node.place, {}), here)
            if value is FAULTY:
                faulty.append(name)
            else:
                values[name] = value
        if not faulty:
            return model.model_validate(values)
        partial = cast("Model", model.model_construct(**values))  # the plugin types it as the bound
        for name in faulty:
            partial.__dict__.pop(name, None)  # a faulty value must not look like the default
        return partial

    def _value(self, shape: Shape, node: Node, path: Path) -> Any:
        value = node.value
        if value is FAULTY:
            return FAULTY
        if value is None and not shape.nullable and shape.empty is not None:
            value = shape.empty  # a key with all its lines commented out
        self.places[path] = node.place
        if value is None and shape.nullable:
            return None
        if isinstance(value, dict) and shape.section is not None:
            return self.section(shape.section, Node(node.place, value), path)
        if isinstance(value, list) and shape.base is list and shape.item is not None:
            value = [self._value(shape.item, child, (*path, index)) for index, child in enumerate(value)]
            if any(one is FAULTY for one in value):
                return FAULTY
        elif isinstance(value, dict) and shape.base is dict and shape.item is not None and shape.key is not None:
            entries = {name: self._value(shape.item, child, (*path, name)) for name, child in value.items()}
            wrong_keys = [name for name in entries if not self._fits(shape.key, name, value[name].place, (*path, name))]
            if wrong_keys or any(one is FAULTY for one in entries.values()):
                return FAULTY
            value = entries
        if isinstance(value, bool) and {"on", "off"} <= set(shape.choices):
            value = "on" if value else "off"  # words that YAML takes for switches
        try:
            if shape.section is None and not (isinstance(value, bool) and shape.number):
                return shape.adapter.validate_python(value)
        except ValidationError:
            pass
        self._problems.append(Problem(node.place, path, wrong(shape, value, self._secrets)))
        return FAULTY

    def _fits(self, shape: Shape, key: str, place: Place, path: Path) -> bool:
        """Whether a key of a mapping is one of those that may be."""
        try:
            shape.adapter.validate_python(key)
        except ValidationError:
            near = nearest(key, shape.choices)
            hint = f"did you mean {near}?" if near else f"expected {shape.expected}"
            self._problems.append(Problem(place, path, f"unknown key; {hint}"))
            return False
        return True

    def _missing(self, shape: Shape, place: Place, path: Path) -> Any:
        text = "required, but not set"
        if self._whole is not None and not any(isinstance(part, int) for part in path) and path[:2] not in _FREE:
            ways = f"${variable(path)}" + (f" or ${variable(path)}{FILE.upper()}" if shape.secret else "")
            text = f"{text}; {ways} would set it"
        hint = self._hints.get(path)
        self._problems.append(Problem(place, path, f"{text}; {hint}" if hint else text))
        return FAULTY

    def _unknown(self, model: type[Section], place: Place, path: Path) -> None:
        word = str(path[-1])
        names = list(fields(model))
        near = nearest(word, [*names, *(f"{name}{FILE}" for name, shape in fields(model).items() if shape.secret)])
        begun = [name for name in names if name.startswith(f"{word}_")]
        elsewhere = () if self._whole is None else (other for other in _keys(self._whole) if other[-1] == word)
        meant = [near] if near else begun or [dotted(other) for other in elsewhere]
        if meant:
            hint = f"did you mean {' or '.join(meant[:2])}?"
        else:
            hint = f"expected {'one of ' if len(names) > 1 else ''}{', '.join(names)}"
        self._problems.append(Problem(place, path, f"unknown key; {hint}"))


def _keys(model: type[Section], path: Path = ()) -> Iterator[Path]:
    """Every key there is, sections included."""
    for name, shape in fields(model).items():
        yield (*path, name)
        if shape.section is not None:
            yield from _keys(shape.section, (*path, name))
