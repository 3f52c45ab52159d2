"""Document → Event: which value of the platform's record is which field, and what each field may be."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast

from consumer.errors import MappingError, SettingsError
from consumer.event import KINDS, ORIGINS, Author, Event
from consumer.intake.images import WANTED, image_in
from consumer.intake.paths import Find, compile_path
from consumer.intake.words import a_value


if TYPE_CHECKING:
    from collections.abc import Mapping as MappingOf

    from consumer.event import Image, Kind, Origin
    from consumer.settings.models import Mapping


__all__ = ["Mapper"]


_W = TypeVar("_W", bound=str)
_ID_WANTED = "a string or an integer is wanted"
# What the vendor has other operations for, and this program no use of: said as such, not as a typing error.
_NOT_MODERATED: dict[str, str] = {
    "video": "videos are not moderated by this program: post their frames as images, or keep them out of its topics",
    "live": "live streams are not moderated by this program: keep them out of its topics",
    "audio": "recordings are not moderated by this program: post their transcripts, or keep them out of its topics",
    "voice": "recordings are not moderated by this program: post their transcripts, or keep them out of its topics",
    "file": "files are not moderated by this program: post their texts and images, or keep them out of its topics",
}
_ORIGIN_WORDS: dict[str, Origin] = {origin: cast("Origin", origin) for origin in ORIGINS}
_FIELDS = (
    "id",
    "kind",
    "text",
    "title",
    "images",
    "author_id",
    "nickname",
    "thread",
    "parent",
    "posted_at",
    "language",
    "origin",
)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of an event: its name, where the settings say it is, and the compiled way to it."""

    name: str
    path: str
    find: Find

    def wrong(self, found: str, hint: str, item: str = "") -> MappingError:
        """The error that says so; `found` is a type, never content, and `item` an index behind the path."""
        return MappingError(f"{self.name}: {found} at `{self.path}{item}`; {hint}")


class Mapper:
    """The field mapping, compiled.

    Raises:
        SettingsError: an expression is wrong; `problems` has a line `mapping.<field>: …` for each.
    """

    __slots__ = (
        "_author_id",
        "_id",
        "_image_directory",
        "_images",
        "_kind",
        "_kinds",
        "_language",
        "_nickname",
        "_origin",
        "_parent",
        "_posted_at",
        "_text",
        "_thread",
        "_title",
        "default_kind",
        "default_origin",
    )

    def __init__(self, mapping: Mapping) -> None:
        fields = _compile(mapping)
        self._id = fields["id"]
        self._kind = fields["kind"]
        self._text = fields["text"]
        self._title = fields["title"]
        self._images = fields["images"]
        self._author_id = fields["author_id"]
        self._nickname = fields["nickname"]
        self._thread = fields["thread"]
        self._parent = fields["parent"]
        self._posted_at = fields["posted_at"]
        self._language = fields["language"]
        self._origin = fields["origin"]
        self._image_directory = mapping.image_directory
        self.default_kind: Kind = mapping.default_kind
        self.default_origin: Origin = mapping.default_origin
        # A platform's own word wins over ours, should it mean something else by it.
        self._kinds: MappingOf[str, Kind] = {kind: cast("Kind", kind) for kind in KINDS} | mapping.kinds

    def event(self, document: dict[str, Any]) -> Event:
        """The event in a document.

        NUL characters are taken out of texts, since they are never shown and would part a word before the judge.

        Raises:
            MappingError: the id is missing, or a field has a type or a word that it cannot have. Where an image is
                given in a form that cannot be read, that is an error too: it would go unjudged.
        """
        return Event(
            id=_required_id(self._id, document),
            kind=_kind(self._kind, document, self._kinds, self.default_kind),
            text=_text(self._text, document),
            title=_text(self._title, document),
            images=_images(self._images, document, self._image_directory),
            author=Author(
                id=_optional_id(self._author_id, document),
                nickname=_text(self._nickname, document) or None,
            ),
            thread=_optional_id(self._thread, document),
            parent=_optional_id(self._parent, document),
            posted_at=_moment(self._posted_at, document),
            language=_text(self._language, document) or None,
            origin=_word(self._origin, document, _ORIGIN_WORDS, self.default_origin),
        )


def _compile(mapping: Mapping) -> dict[str, _Field]:
    fields: dict[str, _Field] = {}
    problems: list[str] = []
    for name in _FIELDS:
        path: str | None = getattr(mapping, name)
        try:
            find = _nothing if path is None else compile_path(name, path)
        except ValueError as exc:
            problems.append(f"mapping.{name}: {path!r} is neither a dotted path nor a JMESPath expression: {exc}")
        else:
            fields[name] = _Field(name, path or "", find)
    if problems:
        raise SettingsError(problems)
    return fields


def _nothing(_document: dict[str, Any]) -> None:
    """What a field finds that the settings say is in no record."""


def _required_id(field: _Field, document: dict[str, Any]) -> str:
    found = field.find(document)
    if type(found) is str:
        if found and not found.isspace():
            return found
        raise field.wrong("an empty string", _ID_WANTED)
    if type(found) is int:
        return str(found)
    raise field.wrong(a_value(found), _ID_WANTED)


def _optional_id(field: _Field, document: dict[str, Any]) -> str | None:
    found = field.find(document)
    if found is None:
        return None
    if type(found) is str:
        return found or None
    if type(found) is int:
        return str(found)
    raise field.wrong(a_value(found), _ID_WANTED)


def _text(field: _Field, document: dict[str, Any]) -> str:
    found = field.find(document)
    if found is None:
        return ""
    if type(found) is str:
        return found.replace("\0", "") if "\0" in found else found
    raise field.wrong(a_value(found), "a string is wanted")


def _moment(field: _Field, document: dict[str, Any]) -> str | None:
    found = field.find(document)
    if found is None:
        return None
    if type(found) is str:
        return found or None
    if type(found) is int or type(found) is float:
        return str(found)
    raise field.wrong(a_value(found), "a string or a number is wanted")


def _kind(field: _Field, document: dict[str, Any], known: MappingOf[str, Kind], default: Kind) -> Kind:
    found = field.find(document)
    if type(found) is str and found not in known and (why := _NOT_MODERATED.get(found.strip().lower())):
        raise MappingError(f"{field.name}: `{found.strip().lower()}` at `{field.path}`; {why}", code="unsupported_kind")
    return _word(field, document, known, default)


def _word(field: _Field, document: dict[str, Any], known: MappingOf[str, _W], default: _W) -> _W:
    """One of a few words. An integer is looked up as it is written, since some platforms number their kinds."""
    found = field.find(document)
    if found is None or found == "":
        return default
    if type(found) is str or type(found) is int:
        word = known.get(str(found))
        if word is not None:
            return word
        near = get_close_matches(str(found)[:64], known, n=1)
        hint = f"the nearest known is `{near[0]}`" if near else f"known are {', '.join(sorted(known))}"
        raise field.wrong("an unknown word", hint)
    raise field.wrong(a_value(found), "a string is wanted")


def _images(field: _Field, document: dict[str, Any], directory: str | None) -> tuple[Image, ...]:
    found = field.find(document)
    if not found and (found is None or isinstance(found, str | list | dict)):
        return ()
    if type(found) is not list:
        image = _image(field, found, "", directory)
        return () if image is None else (image,)
    images = [_image(field, one, f"[{index}]", directory) for index, one in enumerate(found)]
    return tuple(image for image in images if image is not None)


def _image(field: _Field, found: object, item: str, directory: str | None) -> Image | None:
    """One image, or None where there is nothing to see, such as an empty string."""
    if isinstance(found, str | dict) or found is None:
        try:
            return image_in(found, directory)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            raise field.wrong(what, hint, item) from None
    raise field.wrong(a_value(found), f"a URL, or an object with {WANTED} is wanted", item)
