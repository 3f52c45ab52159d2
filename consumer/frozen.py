"""`frozen`: a dataclass with slots that nobody may change, and that is cheap to make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform


__all__ = ["frozen"]


_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class a dataclass with slots whose fields are never assigned again, as the type checker sees to.

    The standard library's frozen dataclasses see to it as well, by a call for each field whenever one is made. This is
    for what is made several times for each event; everything else is a frozen dataclass.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
