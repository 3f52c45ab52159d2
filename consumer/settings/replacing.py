"""Two settings → what of the later ones may be put to work while the program runs, and what needs a restart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from consumer.errors import SettingsError
from consumer.settings.contradictions import contradictions
from consumer.settings.loaded import Loaded
from consumer.settings.nodes import Path, Place, dotted
from consumer.settings.section import Section


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consumer.settings.models import Settings


__all__ = ["LIVE", "Difference", "Replacement", "difference", "is_live", "replacement"]


LIVE: Final[tuple[Path, ...]] = (
    ("routes",),
    ("policy",),
    ("quota", "text_per_second"),
    ("quota", "image_per_second"),
    ("quota", "image_llm_per_second"),
    ("quota", "multimodal_submit_per_second"),
    ("quota", "multimodal_query_per_second"),
    ("moderation", "prices"),
    ("log", "level"),
)
"""The keys, or whole sections, that can be replaced while the program runs; all others need a restart."""

_CREDENTIALS: Final[Path] = ("moderation", "credentials")
# Read again by itself when the service refuses what was read before.
_READ_AGAIN: Final = frozenset({"access_key_id", "access_key_secret", "security_token"})
S = TypeVar("S", bound=Section)

_PART = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True, slots=True)
class Difference:
    """The keys that differ: those that may be replaced, and those that need a restart."""

    live: tuple[Path, ...] = ()
    restart: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.live or self.restart)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is to be at work from now on: all that may be replaced from the later settings, the rest as it was."""

    loaded: Loaded
    applied: tuple[str, ...]
    restart: tuple[str, ...]


def is_live(path: Path) -> bool:
    """Whether this key can be replaced while the program runs, wherever quotas are not handed out among replicas."""
    return any(path[: len(live)] == live for live in LIVE)


def difference(old: Settings, new: Settings) -> Difference:
    """The keys whose values differ, in the models' order; lists and mappings are compared as wholes.

    An AccessKey that replaces another is left out: it is read again where the service refuses the one before. With
    `kafka.scale: share` the quota is handed out by the group's leader, so there a change of it needs a restart.
    """
    live: list[Path] = []
    restart: list[Path] = []
    shared = old.kafka.scale == "share"
    for path in _changed(old, new, ()):
        if is_live(path) and not (shared and path[0] == "quota"):
            live.append(path)
        elif not _read_again(path, old, new):
            restart.append(path)
    return Difference(tuple(live), tuple(restart))


def replacement(old: Loaded, new: Loaded) -> Replacement:
    """What can be put to work of the new settings without a restart.

    Raises:
        SettingsError: it would contradict what only a restart changes; `problems` has one line for each fault.
    """
    found = difference(old.settings, new.settings)
    settings = _merged(old.settings, new.settings, found.live)
    restart = tuple(map(dotted, found.restart))
    origins = {
        **{key: origin for key, origin in new.origins.items() if not _within(key, restart)},
        **{key: origin for key, origin in old.origins.items() if _within(key, restart)},
    }
    if found.live:
        places = {_path(key): Place(origin) for key, origin in origins.items()}
        problems = [str(one) for one in contradictions(settings, places, Place("settings"))]
        if problems:
            raise SettingsError(problems)
    return Replacement(Loaded(settings, MappingProxyType(origins)), tuple(map(dotted, found.live)), restart)


def _changed(old: Section, new: Section, path: Path) -> Iterator[Path]:
    for name in type(old).model_fields:
        was, now = getattr(old, name), getattr(new, name)
        if isinstance(was, Section) and isinstance(now, Section):
            yield from _changed(was, now, (*path, name))
        elif was != now:
            yield (*path, name)


def _read_again(path: Path, old: Settings, new: Settings) -> bool:
    static = old.moderation.credentials.access_key_id, new.moderation.credentials.access_key_id
    return path[:-1] == _CREDENTIALS and path[-1] in _READ_AGAIN and None not in static


def _merged(old: Settings, new: Settings, paths: Iterable[Path]) -> Settings:
    merged = old
    for path in paths:
        merged = _with(merged, new, path)
    return merged


def _with(old: S, new: S, path: Path) -> S:
    name, *rest = map(str, path)
    value = getattr(new, name)
    if rest:
        value = _with(getattr(old, name), value, tuple(rest))
    return old.model_copy(update={name: value})


def _within(key: str, keys: Iterable[str]) -> bool:
    return any(key == one or key.startswith((f"{one}.", f"{one}[")) for one in keys)


def _path(key: str) -> Path:
    return tuple(int(part) if part.isdecimal() else part for part in _PART.findall(key))
