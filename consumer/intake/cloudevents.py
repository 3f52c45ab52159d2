"""CloudEvents on Kafka, structured or binary: both become the document that the structured mode has."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from consumer.errors import DecodeError
from consumer.intake.codec import decode


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.record import Record


__all__ = ["cloudevent"]


_STRUCTURED = "application/cloudevents"
_JSON = "application/cloudevents+json"
_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"


def cloudevent(record: Record, read: Callable[[Record], Any], *, as_json: bool) -> dict[str, Any]:
    """The event's attributes, and its data as `data`.

    A record without headers of either mode is taken for a structured one.

    Args:
        record: The record.
        read: Reads the data of a binary event out of the record's value.
        as_json: Whether that is JSON, so that the event's own `datacontenttype` matters.

    Raises:
        DecodeError: it is no CloudEvent of version 1, or its data cannot be read.
    """
    content_type = ""
    attributes: dict[str, Any] = {}
    for header, content in record.headers:
        name = header.lower()
        if name == _CONTENT_TYPE:
            content_type = _text(name, content)
        elif name.startswith(_PREFIX):
            attributes[name.removeprefix(_PREFIX)] = _text(name, content)
    media = _media(content_type)
    if media.startswith(_STRUCTURED):
        if media != _JSON:
            raise DecodeError(f"a CloudEvent in {media[:80]!r}; of structured ones, {_JSON} can be read")
        return _structured(record)
    if "specversion" not in attributes:
        if attributes:
            raise DecodeError("no CloudEvent: there are headers that begin with ce_, but no ce_specversion")
        return _structured(record)
    _check_version(attributes["specversion"])
    if content_type:
        attributes["datacontenttype"] = content_type
    if not as_json or _is_json(media):
        attributes["data"] = read(record)
    elif media.startswith("text/"):
        attributes["data"] = _text("the data", record.value)
    else:
        raise DecodeError(f"the CloudEvent's data is {media[:80]!r}; JSON and text can be read")
    return attributes


def _structured(record: Record) -> dict[str, Any]:
    document = decode(record.value or b"")
    if "specversion" not in document:
        raise DecodeError("no CloudEvent: there is neither a header ce_specversion nor a specversion in the value")
    _check_version(document["specversion"])
    packed = document.get("data_base64")
    if packed is not None and document.get("data") is None:
        try:
            data = b64decode(packed, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise DecodeError("the CloudEvent's data_base64 is no base64") from None
        media = _media(document.get("datacontenttype"))
        if _is_json(media):
            document["data"] = decode(data)
        elif media.startswith("text/"):
            document["data"] = _text("the data", data)
    return document


def _check_version(found: object) -> None:
    if not (isinstance(found, str) and found.startswith("1.")):
        raise DecodeError(f"a CloudEvent of version {str(found)[:10]!r}; version 1.0 can be read")


def _is_json(media: str) -> bool:
    """Whether a media type is JSON, as it is where none is given."""
    return not media or media.endswith(("/json", "+json"))


def _media(content_type: object) -> str:
    return content_type.partition(";")[0].strip().lower() if isinstance(content_type, str) else ""


def _text(what: str, content: bytes | None) -> str:
    try:
        return (content or b"").decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{what} is not UTF-8 at byte {error.start}") from None
