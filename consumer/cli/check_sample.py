"""What would become of a sample record: its event, its route, its uploads and its calls. Nothing is sent."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from consumer.building import routes
from consumer.clock import SystemClock
from consumer.errors import DecodeError, NothingToJudge, RecordError, RouteError
from consumer.intake import Intake
from consumer.intake.codec import decode
from consumer.intake.formats import formats_of_json
from consumer.metrics import Metrics
from consumer.moderation.preview import preview, uploaded
from consumer.moderation.protocol.services import resolve
from consumer.record import Partition, Record
from consumer.routing import Router


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.event import Event
    from consumer.moderation.protocol.requests import Call
    from consumer.settings.models import Settings


__all__ = ["Sample", "records", "samples"]


class Sample:
    """One record: `lines` say what it becomes, `error` why it would be a dead letter, if it would."""

    def __init__(self, name: str, lines: list[str], error: RecordError | None = None) -> None:
        self.name = name
        self.lines = lines
        self.error = error


def records(content: bytes) -> list[tuple[str, bytes]]:
    """The records in a file, each with a name: the whole file where it is one JSON object, else one for each line."""
    try:
        decode(content)
    except DecodeError:
        lines = [(f"line {number}", line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
        return lines if len(lines) > 1 else [("record", content)]
    return [("record", content)]


def samples(settings: Settings, content: bytes) -> Iterator[Sample]:
    """Take each record the way that it would go, as if it came from the first input topic."""
    formats = formats_of_json(settings.format, clock=SystemClock(), metrics=Metrics())
    read = Intake(settings.mapping, formats=formats).event
    router = Router(routes(settings))
    services = resolve(settings.moderation.services)
    topic = settings.kafka.topics[0]
    # What a plugin reads may have lines of its own.
    plugged = settings.format.topics.get(topic, settings.format).plugin is not None
    for number, (name, value) in enumerate([("record", content)] if plugged else records(content)):
        lines: list[str] = []
        try:
            event = read(Record(Partition(topic, 0), number, -1, None, value))
            lines += _fields(event)
            route = router.route(event, topic)
            if route is None:
                raise RouteError("no route takes it")
            lines.append(f"route: {route.name}")
            event, uploads = uploaded(event)
            lines += [f"upload: {upload.said}" for upload in uploads]
            lines += [f"call: {_call(call)}" for call in preview(event, [services[one] for one in route.services])]
        except NothingToJudge as skipped:
            yield Sample(name, [f"skipped: {skipped}"])
        except RecordError as error:
            yield Sample(name, lines, error)
        else:
            yield Sample(name, lines)


def _fields(event: Event) -> Iterator[str]:
    """Every field that is not empty, as the mapping found it."""
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "images":
            yield from (f"image: {image.name}" for image in value)
        elif field.name == "author":
            yield from (
                f"author.{name}: {part}" for name, part in (("id", value.id), ("nickname", value.nickname)) if part
            )
        elif value not in (None, ""):
            yield f"{field.name}: {value}"


def _call(call: Call) -> str:
    images = "one image" if call.images == 1 else f"{call.images} images"
    amount = " and ".join([f"{call.characters} characters"] * bool(call.characters) + [images] * bool(call.images))
    return f"{call.service.name} ({call.service.operation}), {amount}"
