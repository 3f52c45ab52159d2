"""What would be done for an event if it came alone: its uploads and its calls. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consumer.batching.thread import plan
from consumer.errors import ContentRefused
from consumer.event import Image, OssObject
from consumer.moderation.images.local_images import is_local, load
from consumer.moderation.judge import beside_tasks
from consumer.moderation.protocol.multimodal import prepared, submission
from consumer.moderation.protocol.requests import calls


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service


__all__ = ["Upload", "preview", "uploaded"]


# Which it is, and the names in it, the service says when it is asked for a place.
_BUCKET = "the-bucket-for-uploads"


@dataclass(frozen=True, slots=True)
class Upload:
    """A local image that would be put where the services see it, before any call.

    Attributes:
        name: Which image it is.
        content_type: What it is, by how it begins.
        size_bytes: How large it is.
        unread: Why it cannot be read on this machine, where it cannot; the others are empty then.
    """

    name: str
    content_type: str = ""
    size_bytes: int = 0
    unread: str = ""

    @property
    def said(self) -> str:
        """All of it in a few words."""
        if self.unread:
            return f"{self.name}, not looked at ({self.unread}); where the consumer runs it has to be there"
        return f"{self.name} ({self.content_type}, {self.size_bytes} bytes)"


def preview(event: Event, services: Sequence[Service]) -> list[Call]:
    """The calls by all services of a route; those of a thread would be shared with other events of it.

    Its local images have to be `uploaded`.

    Raises:
        RecordError: the event would become a dead letter.
    """
    found = [
        submission(batch, service, event.id)
        for service in services
        if service.media == "multimodal"
        for batch in plan([prepared(event, service)])
    ]
    rest = beside_tasks(event, services)
    return found if rest is None else [*found, *calls(rest, services)]


def uploaded(event: Event) -> tuple[Event, list[Upload]]:
    """The event as if its local images were uploaded, and what would be; images with the same bytes are one.

    It reads files, and blocks on disk. One that cannot be read here is no fault: the consumer may run elsewhere.

    Raises:
        ContentRefused: the event would become a dead letter, since one of them is no image that the services take.
    """
    placed: dict[Image, Image] = {}
    found: list[Upload] = []
    known: dict[bytes, Image] = {}
    for number, image in enumerate(event.images, 1):
        if image in placed or not is_local(image):
            continue
        name = image.file or f"image {number} of the record"
        there = Image(oss=OssObject(_BUCKET, name, ""))
        try:
            local = load(image)
        except ContentRefused as error:
            if error.reason != "image_file":
                raise
            found.append(Upload(name, unread=str(error)))
        else:
            if local.digest not in known:
                found.append(Upload(name, local.format.content_type, len(local.content)))
            there = known.setdefault(local.digest, there)
        placed[image] = there
    if placed:
        event = replace(event, images=tuple(placed.get(image, image) for image in event.images))
    return event, found
