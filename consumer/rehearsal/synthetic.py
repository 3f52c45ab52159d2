"""Invented events in the shape of a platform's own records: the mapping, read backwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from consumer.demo.generator import Generator


if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping as MappingOf

    from consumer.settings import Settings
    from consumer.settings.models import Mapping


__all__ = ["NotInvertible", "left_out", "synthetic"]


_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
# Where each field of an event is in an invented one.
_FIELDS = {
    "id": ("id",),
    "kind": ("kind",),
    "text": ("text",),
    "title": ("title",),
    "images": ("images",),
    "author_id": ("author", "id"),
    "nickname": ("author", "nickname"),
    "thread": ("thread",),
    "parent": ("parent",),
    "posted_at": ("posted_at",),
    "language": ("language",),
    "origin": ("origin",),
}
# Without one of these it is something else that is measured.
_NEEDED = ("id", "kind", "text", "images")
_JUDGED = ("text", "images")


class NotInvertible(ValueError):
    """Nobody can tell what a record has to be like to have this text, or this id: records of one's own are needed."""


def synthetic(settings: Settings, *, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of events in a dozen languages, as many as are wanted; none of them is a dead letter by itself.

    A field that is mapped by more than a dotted path is left out; see `left_out`.

    Raises:
        NotInvertible: a field that decides what is judged is mapped by more than that, or none is mapped, or records
            are read by something else.
    """
    mapping = settings.mapping
    for name in _NEEDED:
        if _is_expression(getattr(mapping, name)):
            raise NotInvertible(f"mapping.{name} is an expression")
    if mapping.plugin is not None:
        raise NotInvertible("mapping.plugin reads records")
    if settings.format.topics.get(settings.kafka.topics[0], settings.format).plugin is not None:
        raise NotInvertible("format.plugin reads records")
    if not any(getattr(mapping, name) for name in _JUDGED):
        raise NotInvertible("mapping.text and mapping.images are not set")
    return _samples(mapping, seed)


def left_out(settings: Settings) -> list[str]:
    """The fields that invented events do not have, since they are mapped by expressions."""
    return [name for name in _FIELDS if name not in _NEEDED and _is_expression(getattr(settings.mapping, name))]


def _is_expression(path: str | None) -> bool:
    return path is not None and not _DOTTED.fullmatch(path)


def _samples(mapping: Mapping, seed: int) -> Iterator[tuple[bytes, bytes]]:
    generator, words = Generator(seed), {kind: word for word, kind in mapping.kinds.items()}
    while True:
        sample = generator.sample()
        if sample.value is not None and sample.expectation.outcome == "verdict" and not sample.expectation.stage:
            try:
                document = orjson.loads(sample.value)
            except orjson.JSONDecodeError:
                continue
            if any(getattr(mapping, name) and document.get(name) for name in _JUDGED):
                yield sample.key, orjson.dumps(_shaped(document, mapping, words))


def _shaped(document: dict[str, Any], mapping: Mapping, words: MappingOf[Any, str]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for name, place in _FIELDS.items():
        path: str | None = getattr(mapping, name)
        value: Any = document
        for step in place:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None or path is None or _is_expression(path):
            continue
        if name == "kind":
            value = words.get(value, value)
        *above, last = path.split(".")
        inner = shaped
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = value
    return shaped
