"""What the routes will do with each sort of event, found by routing one of each; nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, get_args

from consumer.building import routes
from consumer.errors import RecordError
from consumer.event import Event, Image, Kind, Origin
from consumer.moderation.preview import preview
from consumer.moderation.protocol.services import resolve
from consumer.routing import Router, WhenPlugin


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.moderation.protocol.services import Service
    from consumer.routing import Route
    from consumer.settings.models import Settings


__all__ = ["Outlook", "outlook"]


_TEXT = "some text"
_IMAGES = (Image(url="https://images.example/1.png"),)
_CONTENT = {"text": (_TEXT, ()), "images": ("", _IMAGES), "text and images": (_TEXT, _IMAGES)}


@dataclass(frozen=True, slots=True)
class Outlook:
    """For each kind of event the routes it may take, and what people should know about them."""

    by_kind: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def outlook(settings: Settings) -> Outlook:
    """Route one event of every sort and see which way it goes, and whether anything in it would go unjudged."""
    router = Router(routes(settings))
    named = {route.name: route for route in router.routes}
    services = resolve(settings.moderation.services)
    by_kind: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for kind in get_args(Kind):
        taken: dict[str, None] = {}
        for event, topic, words in _every_sort(kind, router, settings.kafka.topics):
            takers = router.may_take(event, topic)
            if not takers:
                notes.append(f"no route takes {words}: dead letters")
            elif isinstance(takers[-1].when, WhenPlugin):
                notes.append("no route takes an event that all plugins say no to: dead letters")
            for route in takers:
                taken[route.name] = None
                ways = [(route, words)]
                if route.deadline_seconds is not None and route.on_deadline in named:
                    ways.append((named[route.on_deadline], f"late {words}"))
                for one, which in ways:
                    reason = _unjudged(event, one, services)
                    if reason:
                        notes.append(f"route {one.name} cannot judge {which} ({reason}): dead letters")
        by_kind[kind] = tuple(taken)
    used = {name for names in by_kind.values() for name in names}
    used |= {route.on_deadline for route in router.routes if route.name in used and route.deadline_seconds is not None}
    notes += [
        f"route {route.name} is never taken: those before it take all of it"
        for route in router.routes
        if route.name not in used
    ]
    return Outlook(by_kind, tuple(dict.fromkeys(notes)))


def _every_sort(kind: Kind, router: Router, topics: list[str]) -> Iterator[tuple[Event, str, str]]:
    """An event of each origin, content, language and topic that makes a difference to any route, with words for it."""
    conditions = [route.when for route in router.routes]
    origins: tuple[Origin, ...] = get_args(Origin) if any(when.origins for when in conditions) else ("human",)
    languages = (None, *sorted({tag for when in conditions for tag in when.languages}))
    where = topics if any(when.topics for when in conditions) else topics[:1]
    for origin, (content, (text, images)), language, topic in product(origins, _CONTENT.items(), languages, where):
        words = [f"{kind} events with {content}"]
        words += [f"origin {origin}"] if len(origins) > 1 else []
        words += [f"language {language or 'not known'}"] if len(languages) > 1 else []
        words += [f"topic {topic}"] if len(where) > 1 else []
        yield Event("1", kind, text=text, images=images, origin=origin, language=language), topic, ", ".join(words)


def _unjudged(event: Event, route: Route, services: Mapping[str, Service]) -> str:
    try:
        preview(event, [services[name] for name in route.services])
    except RecordError as error:
        return error.reason
    return ""
