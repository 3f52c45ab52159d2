"""What may stand at each key, read off the models, and the words for what is expected there."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from consumer.settings.models import Section


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.settings.nodes import Path


__all__ = ["Shape", "fields", "leaves"]


_NUMBERS = {int: "a whole number", float: "a number", Decimal: "a number"}


@dataclass(frozen=True)
class Shape:
    """What may stand at one key; `item` is what a list or a mapping holds, `key` what a mapping's keys are."""

    annotation: Any
    base: Any
    nullable: bool = False
    required: bool = False
    item: Shape | None = None
    key: Shape | None = None
    constraints: tuple[Any, ...] = ()
    examples: tuple[Any, ...] = ()

    @property
    def section(self) -> type[Section] | None:
        """The model of a section, or None for anything else."""
        return self.base if isinstance(self.base, type) and issubclass(self.base, Section) else None

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.base is SecretStr

    @property
    def text(self) -> bool:
        """Whether any text can stand here: what looks like a number then needs quotes."""
        return self.base in {str, SecretStr}

    @property
    def number(self) -> bool:
        """Whether a number stands here; `true` is none, whatever Python says."""
        return self.base in _NUMBERS

    @property
    def empty(self) -> dict[str, Any] | list[Any] | None:
        """What a key without a value stands for: a section, list or mapping without entries; None for a scalar."""
        if self.base is list:
            return []
        return {} if self.base is dict or self.section is not None else None

    @property
    def flat(self) -> bool:
        """Whether it is a list of scalars, which a variable may hold separated by commas."""
        return (
            self.base is list and self.item is not None and self.item.base not in {list, dict} and not self.item.section
        )

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from, where there are any."""
        parts = get_args(self.base) if get_origin(self.base) in {Union, UnionType} else (self.base,)
        return tuple(choice for part in parts if get_origin(part) is Literal for choice in get_args(part))

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Checks and converts one value; built when the first value needs it, since most keys are left at defaults."""
        return TypeAdapter(self.annotation, config=ConfigDict(allow_inf_nan=False))

    @cached_property
    def expected(self) -> str:
        """What is expected, in words that end the sentence "expected …"."""
        such = f" such as {self.examples[0]}" if self.examples else ""
        if self.section is not None:
            return f"a mapping with keys such as {next(iter(fields(self.section)))}"
        if self.base in {list, dict}:
            return self._container()
        if self.choices:
            words = self.choices
            rest = " or a time" if get_origin(self.base) in {Union, UnionType} else ""
            return f"{'one of ' if len(words) > 1 and not rest else ''}{', '.join(words)}{rest}{such}"
        if self.base is bool:
            return "true or false"
        return _NUMBERS.get(self.base, "text") + self._bounds() + such

    def _container(self) -> str:
        name = "a list" if self.base is list else "a mapping"
        if any(getattr(one, "min_length", 0) for one in self.constraints):
            name += " with at least one entry"
        if self.base is list and self.item is not None and self.item.examples:
            name += f" such as [{self.item.examples[0]}]"
        return name

    def _bounds(self) -> str:
        low = next((one.ge for one in self.constraints if hasattr(one, "ge")), None)
        above = next((one.gt for one in self.constraints if hasattr(one, "gt")), None)
        high = next((one.le for one in self.constraints if hasattr(one, "le")), None)
        if low is not None and high is not None:
            return f" from {low} to {high}"
        if above is not None:
            return f" above {above}"
        return f" of at least {low}" if low is not None else ""


@cache
def fields(model: type[Section]) -> Mapping[str, Shape]:
    """The keys of a section and what may stand there."""
    return {name: _of_field(field) for name, field in model.model_fields.items()}


def leaves(model: type[Section], path: Path = ()) -> Iterator[tuple[Path, Shape]]:
    """Every key that is not itself a section, sections within sections included."""
    for name, shape in fields(model).items():
        if shape.section is not None:
            yield from leaves(shape.section, (*path, name))
        else:
            yield (*path, name), shape


def _of_field(field: FieldInfo) -> Shape:
    return _of(field.annotation, tuple(field.metadata), tuple(field.examples or ()), required=field.is_required())


def _of(annotation: Any, metadata: tuple[Any, ...], examples: tuple[Any, ...] = (), *, required: bool = False) -> Shape:
    base, nullable = annotation, False
    if get_origin(base) in {Union, UnionType} and NoneType in get_args(base):
        nullable = True
        base = next(part for part in get_args(base) if part is not NoneType)
    if get_origin(base) is Annotated:
        base, *own = get_args(base)
        for one in own:
            metadata = (*metadata, *(one.metadata if isinstance(one, FieldInfo) else (one,)))
            examples = (*examples, *((one.examples or ()) if isinstance(one, FieldInfo) else ()))
    arguments = get_args(base)
    container = get_origin(base) in {list, dict}
    return Shape(
        annotation=Annotated[(annotation, *metadata)] if metadata and annotation is base else annotation,
        base=get_origin(base) if container else base,
        nullable=nullable,
        required=required,
        item=_of(arguments[-1], ()) if container else None,
        key=_of(arguments[0], ()) if get_origin(base) is dict else None,
        constraints=metadata,
        examples=examples,
    )
