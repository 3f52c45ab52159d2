"""Event → calls: which requests judge it, and their bytes. Pure functions that send nothing."""

from __future__ import annotations

from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

import orjson

from consumer.batching.long_text import cut
from consumer.errors import ContentRefused, RouteError
from consumer.event import data_id
from consumer.frozen import frozen
from consumer.moderation.protocol.signing import form_body, form_value


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event, Image
    from consumer.moderation.protocol.services import Service


__all__ = ["MAX_URL_CHARACTERS", "Call", "calls", "image_parameters", "text_call", "text_of"]


MAX_URL_CHARACTERS = 2048


@frozen
class Call:
    """One request to one service, ready to be signed and sent as often as it takes.

    `body` or `query` holds the parameters, as the operation wants them. `characters` and `images` are what is billed.
    `offset` is where the text of this call begins in the event's text, in code points. `content` is what is judged: the
    text, or how the service is told where the image is; calls of one service with one content get one answer. It is
    empty where no other call can have the same.
    """

    service: Service
    body: bytes = b""
    query: str = ""
    characters: int = 0
    images: int = 0
    offset: int = 0
    content: str = field(default="", repr=False)


def calls(event: Event, services: Sequence[Service], *, referer: str | None = None) -> tuple[Call, ...]:
    """The calls that judge the whole event: its text by each text service, each image by each image service.

    Args:
        event: what was posted; its images are where the service can read them, see `consumer.moderation.images.upload`.
        services: services of text and of images.
        referer: what the service says where it downloads an image from, at most 256 characters.

    Raises:
        RouteError: there is nothing to judge, or something that none of the services can judge. Nothing of an event
            passes unjudged: a caption needs a text service beside the image service, or a mapping without `text`.
        ContentRefused: an image that no service would take; nothing was sent, and nothing paid.
    """
    text = text_of(event)
    images = tuple(dict.fromkeys(event.images)) if event.images else ()
    if not text and not images:
        raise RouteError("there is nothing to judge: no text and no image", code="nothing_to_judge")
    if len(services) == 1 and not images:
        only = services[0]
        if only.media == "text" and 2 * len(text) <= only.max_characters:
            # Most events are a short text for one service: there is nothing to count.
            return (text_call(only, text, data_id(event.id)),)
    media = {service.media for service in services}
    if text and "text" not in media:
        raise _unjudged("text")
    if images and "image" not in media:
        raise _unjudged("image")
    identity = data_id(event.id)
    found: list[Call] = []
    for service in services:
        if service.media == "text":
            found.extend(_text_calls(service, text, identity))
        elif service.media == "image":
            found.extend(_image_call(service, image, identity, referer) for image in images)
    return tuple(found)


def _unjudged(part: str) -> RouteError:
    return RouteError(f"the route has no {part} service: this event's {part} would go unjudged", code="unjudged")


def text_call(service: Service, text: str, identity: str, *, offset: int = 0) -> Call:
    """The call that has one text judged, which the service has to take whole."""
    body = _body(service, {"content": text, "dataId": identity})
    return Call(service, body, characters=len(text), offset=offset, content=text)


def image_parameters(image: Image) -> dict[str, str]:
    """How a service is told where an image is: its URL, or its object in a bucket.

    Raises:
        ContentRefused: it has neither, or a URL that no service takes.
    """
    if image.url is not None:
        if len(image.url) > MAX_URL_CHARACTERS:
            raise ContentRefused(f"an image's URL has more than {MAX_URL_CHARACTERS} characters", code="image_url")
        if not image.url.lower().startswith(("http://", "https://")):
            raise ContentRefused("an image's URL begins neither with http:// nor with https://", code="image_url")
        return {"imageUrl": image.url}
    if image.oss is None or not image.oss.bucket or not image.oss.object:
        raise ContentRefused("an image has neither a URL nor an object in a bucket", code="image_missing")
    place = {"ossBucketName": image.oss.bucket, "ossObjectName": image.oss.object}
    # The service's own bucket for uploads needs no region.
    return {**place, "ossRegionId": image.oss.region} if image.oss.region else place


def text_of(event: Event) -> str:
    """The text that is judged: title and text, a line each; empty where there is only white space."""
    text = f"{event.title}\n{event.text}" if event.title and event.text else event.title or event.text
    return text if text and not text.isspace() else ""


def _text_calls(service: Service, text: str, identity: str) -> list[Call]:
    if 2 * len(text) <= service.max_characters:
        return [text_call(service, text, identity)] if text else []
    return [
        text_call(service, piece.text, identity, offset=piece.start)
        for piece in cut(text, service.max_characters)
        if piece.text and not piece.text.isspace()
    ]


def _image_call(service: Service, image: Image, identity: str, referer: str | None) -> Call:
    where = image_parameters(image)
    parameters = {**where, "dataId": identity}
    if referer is not None:
        parameters["referer"] = referer
    return Call(service, _body(service, parameters), images=1, content=_lasting(where))


def _lasting(where: dict[str, str]) -> str:
    """Where an image is, if that can be seen again: an uploaded one has a new name each time, and no region."""
    return "" if "ossBucketName" in where and "ossRegionId" not in where else repr(where)


def _body(service: Service, parameters: dict[str, str]) -> bytes:
    if service.info_type:
        parameters["infoType"] = ",".join(service.info_type)
    try:
        encoded = orjson.dumps(parameters)
    except TypeError:
        # Half a surrogate pair has no UTF-8. What an old client cut in two is still to be judged.
        encoded = orjson.dumps({name: _whole(value) for name, value in parameters.items()})
    return _form_begins(service.name) + form_value(encoded)


@cache
def _form_begins(service: str) -> bytes:
    """What stands before the parameters: of a few dozen services the same each time."""
    return form_body({"Service": service, "ServiceParameters": ""})


def _whole(value: str) -> str:
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
