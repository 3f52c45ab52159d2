"""Where a contradiction is to be mended, and where the other value comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.settings.nodes import DEFAULT, Path, Place, Problem, dotted


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Places"]


class Places:
    """Says where a contradiction is to be mended, and where the other value comes from."""

    def __init__(self, places: Mapping[Path, Place], root: Place) -> None:
        self._places = places
        self._root = root

    def given(self, path: Path) -> bool:
        """Whether a source gives this key."""
        return self._places.get(path, DEFAULT) != DEFAULT

    def problem(self, keys: tuple[Path, ...], text: str) -> Problem:
        """A problem of the first of `keys`, at the first of them that is given, else where their section begins."""
        for path in keys:
            if self.given(path):
                return Problem(self._places[path], keys[0], text)
        parents = (keys[0][:end] for end in range(len(keys[0]), 0, -1))
        return Problem(next((self._places[p] for p in parents if self.given(p)), self._root), keys[0], text)

    def locate(self, line: str) -> Problem:
        """A part's own line, `section.key: what is wrong`, as a problem with its place."""
        key, _, text = line.partition(": ")
        path = next((path for path in self._places if dotted(path) == key), tuple(key.split(".")))
        return self.problem((path,), text)

    def of(self, path: Path) -> str:
        """A key and its place, for the middle of a sentence."""
        place = self._places.get(path, DEFAULT)
        return f"{dotted(path)} ({place})"
