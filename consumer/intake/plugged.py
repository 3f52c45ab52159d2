"""Document → Event by a function of the user's, and a look at what it gave: the rest of the program trusts events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.errors import MappingError, NothingToJudge
from consumer.event import KINDS, MAX_IMAGE_BYTES, ORIGINS, Author, Event, Image, OssObject
from consumer.plugins.calling import RAISED


if TYPE_CHECKING:
    from consumer.intake.mapping import Mapper
    from consumer.metrics import Metrics
    from consumer.plugins import MappingFunction
    from consumer.plugins.calling import Plugin
    from consumer.record import Record


__all__ = ["PluginMapper", "plugged"]


_TEXTS = ("text", "title")
_MAY_BE_NONE = ("thread", "parent", "posted_at", "language")


def plugged(name: str, mapper: Mapper, metrics: Metrics | None) -> PluginMapper:
    """The plugin of this name, in front of a mapper.

    Raises:
        SettingsError: it cannot be used.
    """
    from consumer.plugins.loading import load  # noqa: PLC0415  # who has no plugins need not wait for it at each start

    return PluginMapper(load("mapping", name, "mapping.plugin", metrics), mapper)


class PluginMapper:
    """The mapping's plugin, and the mapper that reads the documents that it returns in place of events."""

    __slots__ = ("_mapper", "_plugin")

    def __init__(self, plugin: Plugin[MappingFunction], mapper: Mapper) -> None:
        self._plugin = plugin
        self._mapper = mapper

    def event(self, document: dict[str, Any], record: Record) -> Event:
        """The event in a document. NUL characters are taken out of texts, as the mapper does.

        Raises:
            MappingError: the plugin raised an error, returned neither an event nor a document, or an event with a
                field that it cannot have.
            NothingToJudge: the plugin says so.
        """
        try:
            found: object = self._plugin.call(document, record)
        except NothingToJudge:
            raise
        except RAISED as error:
            raise self._plugin.raised(error) from None
        if isinstance(found, dict):
            try:
                return self._mapper.event(found)
            except MappingError as error:
                raise self._plugin.raised(error) from None
        if not isinstance(found, Event):
            raise self._plugin.returned(found, "an Event or a dict")
        wrong = _wrong(found)
        if wrong is not None:
            raise self._plugin.spoilt(f"returned an event with a wrong {wrong}")
        if "\0" in found.text or "\0" in found.title:
            return replace(found, text=found.text.replace("\0", ""), title=found.title.replace("\0", ""))
        return found


def _wrong(event: Event) -> str | None:
    """What is wrong with an event that somebody else made, by the fields' names and types, or None."""
    if not isinstance(event.id, str) or not event.id.strip():
        return "`id`, which has to be a string that is not empty"
    for name, words in (("kind", KINDS), ("origin", ORIGINS)):
        found: object = getattr(event, name)
        if not isinstance(found, str) or found not in words:
            return f"`{name}`, which has to be one of {', '.join(sorted(words))}"
    for name in _TEXTS:
        if not isinstance(getattr(event, name), str):
            return f"`{name}`, which has to be a string"
    for name in _MAY_BE_NONE:
        if not isinstance(getattr(event, name), str | None):
            return f"`{name}`, which has to be a string or None"
    author: object = event.author
    if not isinstance(author, Author) or not all(isinstance(one, str | None) for one in (author.id, author.nickname)):
        return "`author`, which has to be an Author of strings or None"
    images: object = event.images
    if not isinstance(images, tuple) or not all(map(_is_image, images)):
        return "`images`, which has to be a tuple of Image, each with one of url, oss, file and content"
    return None


def _is_image(found: object) -> bool:
    """Whether it is an image that has one source, which is not empty."""
    if not isinstance(found, Image):
        return False
    sources = [one for one in (found.url, found.oss, found.file, found.content) if one is not None]
    if len(sources) != 1:
        return False
    if isinstance(found.oss, OssObject):
        parts: tuple[object, ...] = (found.oss.bucket, found.oss.object, found.oss.region)
        return all(isinstance(part, str) and part for part in parts)
    if isinstance(found.content, bytes):
        return 0 < len(found.content) <= MAX_IMAGE_BYTES
    text: object = found.url or found.file
    return isinstance(text, str) and bool(text.strip())
