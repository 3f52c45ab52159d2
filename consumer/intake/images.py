"""What stands for an image in a record → Image: a URL, an object in a bucket, a file, or bytes in base64."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from typing import Any, Final

from consumer.event import MAX_IMAGE_BYTES, Image, OssObject
from consumer.intake.words import a_value


__all__ = ["WANTED", "image_in"]


WANTED: Final = "`url`, `oss`, `file` or `content`"
"""What an object that stands for an image may have: one of these."""

_FORMS: Final = ("url", "oss", "file", "content")
# Four characters hold three bytes.
_MAX_BASE64: Final = (MAX_IMAGE_BYTES + 2) // 3 * 4


def image_in(found: str | dict[str, Any] | None, directory: str | None) -> Image | None:
    """One image, or None where there is nothing to see, such as an empty string.

    Files are below `directory`; without one none are taken, since a record could name any file on this machine.

    Raises:
        ValueError: it is no image. The message says what was found, then after "; " what is wanted, and has no content.
    """
    if found is None or isinstance(found, str):
        return _url(found or "")
    given = [form for form in _FORMS if found.get(form)]
    if len(given) > 1:
        raise ValueError(f"an object with both `{given[0]}` and `{given[1]}`; one of them is wanted")
    if not given:
        _check_nothing(found)
        return None
    (form,) = given
    value = found[form]
    if form == "oss":
        return Image(oss=_oss_object(value))
    if not isinstance(value, str):
        raise _no_string(form, value)
    if form == "file":
        return Image(file=_path(value, directory))
    return _url(value) if form == "url" else Image(content=_content(value))


def _url(text: str) -> Image | None:
    stripped = text.strip()
    return Image(url=stripped) if stripped else None


def _check_nothing(found: dict[str, Any]) -> None:
    """An object whose members are all empty stands for no image; one that has only others is something else."""
    named = [form for form in _FORMS if form in found]
    if found and not named:
        raise ValueError(f"an object without {WANTED}; one of them is wanted")
    for form in named:
        if found[form] is not None and not isinstance(found[form], str | dict):
            raise _no_string(form, found[form])


def _no_string(form: str, value: object) -> ValueError:
    return ValueError(f"an object whose `{form}` is {a_value(value)}; a string is wanted")


def _oss_object(found: object) -> OssObject:
    if isinstance(found, dict):
        parts: list[Any] = [found.get(part) for part in ("bucket", "object", "region")]
        if all(isinstance(part, str) and part for part in parts):
            return OssObject(*parts)
    raise ValueError("an incomplete `oss`; `bucket`, `object` and `region` are wanted, each a string")


def _path(text: str, directory: str | None) -> str:
    if directory is None:
        raise ValueError("an object with `file`; `mapping.image_directory` has to say where such files may be")
    root = os.path.abspath(directory)  # noqa: PTH100  # Path leaves `..` in
    path = os.path.normpath(os.path.join(root, text))  # noqa: PTH118  # the same
    if "\0" in text or os.path.commonpath((root, path)) != root or path == root:
        raise ValueError("a `file` outside `mapping.image_directory`; a path below it is wanted")
    return path


def _content(text: str) -> bytes:
    if len(text) > _MAX_BASE64:
        raise ValueError(f"a `content` of more than {MAX_IMAGE_BYTES} bytes; at most 20 MB are judged")
    try:
        content = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a `content` that is no base64; the image's bytes in standard base64 are wanted") from None
    if len(content) > MAX_IMAGE_BYTES:
        raise ValueError(f"a `content` of more than {MAX_IMAGE_BYTES} bytes; at most 20 MB are judged")
    return content
