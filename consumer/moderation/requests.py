"""Event → calls: which requests judge it, and their bytes. Pure functions that send nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from consumer.errors import ContentRefused, RouteError
from consumer.event import data_id
from consumer.moderation.signing import form_body


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event, Image
    from consumer.moderation.services import Service


__all__ = ["MAX_URL_CHARACTERS", "Call", "calls", "pieces", "text_of"]


MAX_URL_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one service, ready to be signed and sent as often as it takes.

    `body` or `query` holds the parameters, as the operation wants them. `characters` and `images` are what is billed.
    `offset` is where the text of this call begins in the event's text, in characters.
    """

    service: Service
    body: bytes = b""
    query: str = ""
    characters: int = 0
    images: int = 0
    offset: int = 0


def calls(event: Event, services: Sequence[Service]) -> tuple[Call, ...]:
    """The calls that judge the whole event: its text by each text service, each image by each image service.

    Raises:
        RouteError: there is nothing to judge, or something that none of the services can judge. Nothing of an event
            passes unjudged: a caption needs a text service beside the image service, or a mapping without `text`.
        ContentRefused: an image that no service would take; nothing was sent, and nothing paid.
    """
    text = text_of(event)
    images = tuple(dict.fromkeys(event.images))
    by_media = {service.media for service in services}
    if not text and not images:
        raise RouteError("there is nothing to judge: no text and no image", code="nothing_to_judge")
    for part, there in (("text", bool(text)), ("image", bool(images))):
        if there and part not in by_media:
            raise RouteError(f"the route has no {part} service: this event's {part} would go unjudged", code="unjudged")
    identity = data_id(event.id)
    found: list[Call] = []
    for service in services:
        if service.media == "text":
            found.extend(_text_calls(service, text, identity))
        else:
            found.extend(_image_call(service, image, identity) for image in images)
    return tuple(found)


def text_of(event: Event) -> str:
    """The text that is judged: title and text, a line each; empty where there is only white space."""
    text = "\n".join(part for part in (event.title, event.text) if part)
    return text if text and not text.isspace() else ""


def pieces(text: str, limit: int) -> list[str]:
    """The text in consecutive pieces that the service takes.

    The pages say "characters" and not which: a piece has at most `limit` UTF-16 code units, so that it is short enough
    in code points, too.
    """
    if 2 * len(text) <= limit:
        return [text]
    found: list[str] = []
    start = 0
    while start < len(text):
        end = start + limit
        while (excess := len(text[start:end].encode("utf-16-le", "surrogatepass")) // 2 - limit) > 0:
            end = min(end, len(text)) - (excess + 1) // 2
        found.append(text[start:end])
        start = end
    return found


def _text_calls(service: Service, text: str, identity: str) -> list[Call]:
    found: list[Call] = []
    offset = 0
    for piece in pieces(text, service.max_characters) if text else ():
        if not piece.isspace():
            body = _body(service, {"content": piece, "dataId": identity})
            found.append(Call(service, body, characters=len(piece), offset=offset))
        offset += len(piece)
    return found


def _image_call(service: Service, image: Image, identity: str) -> Call:
    parameters: dict[str, Any]
    if image.url is not None:
        if len(image.url) > MAX_URL_CHARACTERS:
            raise ContentRefused(f"an image's URL has more than {MAX_URL_CHARACTERS} characters", code="image_url")
        if not image.url.lower().startswith(("http://", "https://")):
            raise ContentRefused("an image's URL begins neither with http:// nor with https://", code="image_url")
        parameters = {"imageUrl": image.url}
    elif image.oss is not None and image.oss.bucket and image.oss.object:
        parameters = {
            "ossBucketName": image.oss.bucket,
            "ossObjectName": image.oss.object,
            "ossRegionId": image.oss.region,
        }
    else:
        raise ContentRefused("an image has neither a URL nor an object in a bucket", code="image_missing")
    return Call(service, _body(service, {**parameters, "dataId": identity}), images=1)


def _body(service: Service, parameters: dict[str, Any]) -> bytes:
    if service.info_type:
        parameters["infoType"] = ",".join(service.info_type)
    try:
        encoded = orjson.dumps(parameters)
    except TypeError:
        # Half a surrogate pair has no UTF-8. What an old client cut in two is still to be judged.
        encoded = orjson.dumps({name: _whole(value) for name, value in parameters.items()})
    return form_body({"Service": service.name, "ServiceParameters": encoded.decode()})


def _whole(value: str) -> str:
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
