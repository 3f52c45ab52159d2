"""What loading gives: the settings, and for every value where it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from consumer.settings.models import Section, Settings
from consumer.settings.nodes import Path, dotted


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["Loaded", "Value", "values"]


_SECRET = "(secret)"  # noqa: S105  # what is shown in its place
# No secret, but half of one: who finds it knows what to look for.
_HALF_SECRET = frozenset({"access_key_id"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, with `origins`: for every dotted key `config.yaml:7:3`, `$VARIABLE`, `file … named by …`, or
    `default`.
    """

    settings: Settings
    origins: Mapping[str, str]

    def origin(self, key: str) -> str:
        """Where a value came from, such as `origin("kafka.group_id")`.

        Raises:
            KeyError: there is no such key.
        """
        return self.origins[key]


class Value(NamedTuple):
    """One value as people may see it."""

    key: str
    shown: str
    origin: str


def values(loaded: Loaded) -> Iterator[Value]:
    """Every value in the models' order, secrets hidden: for status pages and `check --origins`."""
    for path, value in _leaves(loaded.settings, ()):
        key = dotted(path)
        hidden = value is not None and path[-1] in _HALF_SECRET
        yield Value(key, _SECRET if hidden else _shown(value), loaded.origins[key])


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Sections are entered, lists and mappings of sections too; what holds only scalars is shown as a whole."""
    if isinstance(value, Section):
        for name, inner in value:
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], Section):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    elif isinstance(value, dict) and value and isinstance(next(iter(value.values())), Section):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, value


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return _SECRET
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_shown(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return _PASSWORD_IN_URL.sub(f"{_SECRET}@", str(value))
