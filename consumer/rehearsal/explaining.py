"""One event's whole way, found out without a call: its fields, the rules it was put to, its calls and their price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from consumer.building import limits, policy, routes
from consumer.errors import MappingError, NothingToJudge, RecordError, RouteError
from consumer.intake.paths import compile_path
from consumer.moderation.preview import preview, uploaded
from consumer.moderation.protocol.billing import bill, price_list
from consumer.moderation.protocol.services import resolve
from consumer.rehearsal.intake import Reading
from consumer.rehearsal.stage import rehearse
from consumer.routing import Router, When, WhenPlugin
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.event import Event
    from consumer.moderation.protocol.requests import Call
    from consumer.record import Record
    from consumer.routing import Route
    from consumer.settings import Loaded, Settings
    from consumer.verdict import Action, Billed


__all__ = ["CallShown", "Explained", "FieldShown", "RuleShown", "Way", "explain", "phrase"]


# Each field of an event, by the name of its mapping, and how to read it off the event.
_FIELDS: Mapping[str, Callable[[Event], Any]] = {
    "id": lambda event: event.id,
    "kind": lambda event: event.kind,
    "text": lambda event: event.text,
    "title": lambda event: event.title,
    "images": lambda event: [image.name for image in event.images],
    "author_id": lambda event: event.author.id,
    "nickname": lambda event: event.author.nickname,
    "thread": lambda event: event.thread,
    "parent": lambda event: event.parent,
    "posted_at": lambda event: event.posted_at,
    "language": lambda event: event.language,
    "origin": lambda event: event.origin,
}
_LEVELS = (RiskLevel.NONE, RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.UNKNOWN)


@dataclass(frozen=True, slots=True)
class FieldShown:
    """One field of the event: its value, what the record has there, and which setting says so."""

    name: str
    value: Any
    source: str
    origin: str


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule that was asked whether it takes the event, and why it does or does not."""

    route: str
    takes: bool
    why: str


@dataclass(frozen=True, slots=True)
class CallShown:
    """One call: what the service would be told, which limit it counts against, and what it would cost."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    quota: str
    per_second: int
    billed: Sequence[Billed]


@dataclass(frozen=True, slots=True)
class Way:
    """What is done at one level of risk, and where the verdict is written."""

    risk_level: str
    action: Action
    topic: str


@dataclass(frozen=True, slots=True)
class Explained:
    """The whole way of one event; what comes after an `error` is not there.

    Attributes:
        fields: The fields of the event.
        rules: The rules that were asked, in their order; the last one took it, if any did.
        notes: What may make it go otherwise.
        calls: The calls that would be made for it, if it came alone.
        ways: What is done, and where it is written, at each level of risk.
        labels: Actions for single labels, which count where they are more severe.
        dead_letters: Where it is written if it is a dead letter.
        error: Why it would be one, if it would.
        skipped: Why it would be left out, if it would.
        verdict: What the simulator would make of it, where that was asked for; None where it makes none.
    """

    fields: Sequence[FieldShown]
    rules: Sequence[RuleShown]
    notes: Sequence[str]
    calls: Sequence[CallShown]
    ways: Sequence[Way]
    labels: Mapping[str, Action]
    dead_letters: str
    error: RecordError | None = None
    skipped: str = ""
    verdict: Mapping[str, Any] | None = None

    @property
    def cost(self) -> Mapping[str, Decimal]:
        """What all calls cost together, by currency."""
        cost: dict[str, Decimal] = {}
        for line in (line for call in self.calls for line in call.billed):
            cost[line.currency] = cost.get(line.currency, Decimal(0)) + line.cost
        return cost


def explain(loaded: Loaded, record: Record, *, judged: bool = False) -> Explained:
    """Find out which way a record would go. Nothing is sent to anybody.

    Args:
        loaded: The settings, with their origins.
        record: What was read; its value may also stand in JSON, whatever it is encoded in where it comes from.
        judged: Whether the simulator is to judge it, too, in memory.

    Raises:
        SettingsError: the mapping or a plugin cannot be used.
        StartError: what records are read with cannot be had.
    """
    settings = loaded.settings
    fields: list[FieldShown] = []
    rules: list[RuleShown] = []
    notes: list[str] = []
    calls: list[CallShown] = []
    error: RecordError | None = None
    skipped = ""
    as_json = (record.value or b"").lstrip().startswith((b"{", b"["))
    reading = Reading(settings, as_json=as_json)
    reading.prepare(record)
    try:
        event = reading.event(record)
        fields += _fields(loaded, reading.document(record), event)
        route = _routed(Router(routes(settings)), event, record.partition.topic, rules)
        event, uploads = uploaded(event)
        notes += [f"uploaded before any call: {upload.said}" for upload in uploads]
        calls += _calls(settings, event, route)
        notes += _notes(settings, route, calls)
    except RecordError as caught:
        error = caught
        if isinstance(caught, MappingError):
            fields += _fields(loaded, reading.document(record), None)
    except NothingToJudge as nothing:
        skipped = str(nothing) or "nothing in it is to be judged"
    verdict = None
    if judged:
        ending = rehearse(settings, record, as_json=as_json, epoch_seconds=record.timestamp / 1000)
        verdict = None if ending.verdict is None else orjson.loads(ending.verdict.to_json())
        error = error or ending.error
    return Explained(
        fields,
        rules,
        notes,
        calls,
        list(_ways(settings)),
        dict(settings.policy.labels),
        settings.output.dead_letters,
        error,
        skipped,
        verdict,
    )


def phrase(when: When) -> str:
    """What a route takes, in a few words."""
    parts = [
        f"{name} {' or '.join(sorted(words))}"
        for name, words in (
            ("kind", when.kinds),
            ("origin", when.origins),
            ("language", when.languages),
            ("topic", when.topics),
        )
        if words
    ]
    for name, wanted in (("text", when.has_text), ("images", when.has_images)):
        parts += [] if wanted is None else [f"with {name}" if wanted else f"without {name}"]
    parts += [f"plugin {when.rule.name}"] if isinstance(when, WhenPlugin) else []
    return ", ".join(parts) or "everything else"


def _fields(loaded: Loaded, document: dict[str, Any], event: Event | None) -> Iterator[FieldShown]:
    """Each field, as the event has it, or as the record has it, where there is none. A plugin that fails gives none."""
    mapping = loaded.settings.mapping
    if mapping.plugin is not None and event is None:
        return
    for name, read in _FIELDS.items():
        path: str | None = getattr(mapping, name)
        origin = loaded.origin(f"mapping.{name}")
        try:
            found = None if path is None else compile_path(name, path)(document)
        except MappingError:
            found = None
        value = found if event is None else read(event)
        if mapping.plugin is not None:
            yield FieldShown(name, value, f"plugin {mapping.plugin}", loaded.origin("mapping.plugin"))
            continue
        source = "mapping says that no record has it" if path is None else f"`{path}`"
        if path is not None and found in (None, "", [], {}):
            source = f"nothing at `{path}`"
            default = {"kind": "default_kind", "origin": "default_origin"}.get(name)
            if default is not None:
                source, origin = f"{source}, so mapping.{default}", loaded.origin(f"mapping.{default}")
                value = getattr(mapping, default)
        elif name == "kind" and isinstance(found, str | int) and str(found) in mapping.kinds:
            source, value = f"{found} at `{path}`, by mapping.kinds", mapping.kinds[str(found)]
        yield FieldShown(name, value, source, origin)


def _routed(router: Router, event: Event, topic: str, rules: list[RuleShown]) -> Route:
    """The route that takes it; each rule that is asked is put down.

    Raises:
        RouteError: none does, or a plugin failed.
    """
    for route in router.routes:
        misses = list(_misses(route.when, event, topic))
        takes = not misses and route.when.takes(event, topic)
        why = "; ".join(misses) or ("" if takes else "its plugin says no")
        rules.append(RuleShown(route.name, takes, why or phrase(route.when)))
        if takes:
            return route
    raise RouteError(f"no route takes an event of kind {event.kind!r} and origin {event.origin!r}")


def _misses(when: When, event: Event, topic: str) -> Iterator[str]:
    """Each condition that does not hold, with what is there instead."""
    single = (
        (When(kinds=when.kinds), f"it is {event.kind}"),
        (When(origins=when.origins), f"it is {event.origin}"),
        (When(languages=when.languages), f"it is {event.language or 'not known'}"),
        (When(topics=when.topics), f"it is {topic}"),
        (When(has_text=when.has_text), "it has text" if event.text or event.title else "it has none"),
        (When(has_images=when.has_images), "it has images" if event.images else "it has none"),
    )
    for one, found in single:
        if not one.takes(event, topic):
            yield f"wants {phrase(one)}, but {found}"


def _calls(settings: Settings, event: Event, route: Route) -> Iterator[CallShown]:
    services, prices, per_second = (
        resolve(settings.moderation.services),
        price_list(settings.moderation.prices),
        limits(settings),
    )
    for call in preview(event, [services[name] for name in route.services]):
        service = call.service
        yield CallShown(
            service.name,
            service.operation,
            _parameters(call),
            service.quota,
            per_second[service.quota],
            bill(call, prices),
        )


def _parameters(call: Call) -> Mapping[str, Any]:
    """What the service is told, as it reads it."""
    given = dict(parse_qsl(call.body.decode() or call.query, keep_blank_values=True))
    parameters: dict[str, Any] = orjson.loads(given["ServiceParameters"])
    return parameters


def _notes(settings: Settings, route: Route, calls: Sequence[CallShown]) -> Iterator[str]:
    if settings.policy.plugin is not None:
        yield f"what is done is also up to the plugin {settings.policy.plugin}, which is not asked here"
    if route.deadline_seconds is not None:
        where = "to review, unjudged" if route.on_deadline == "review" else f"by route {route.on_deadline}"
        yield f"if it is older than {route.deadline_seconds:g} s before anything is sent for it, it goes {where}"
    operations = {call.operation for call in calls}
    seconds = settings.cache.seconds
    if seconds and "TextModerationPlus" in operations:
        yield f"the same text costs nothing for {seconds:g} s (cache.seconds)"
    if seconds and settings.cache.image_urls and "ImageModeration" in operations:
        yield f"an image at the same place costs nothing for {seconds:g} s (cache.image_urls)"
    if "MultimodalAsyncModeration" in operations:
        yield "other events of its thread may share its call, and its price"
    if settings.packed.mode == "on" and "TextModerationPlus" in operations:
        yield "other short texts may share its call, and its price (packed.mode)"


def _ways(settings: Settings) -> Iterator[Way]:
    chosen = policy(settings)
    for level in _LEVELS:
        reason = "no usable answer" if level is RiskLevel.UNKNOWN else None
        action = chosen.action(Judgement(level, (), reason=reason))
        yield Way(level.word, action, settings.output.topics.get(action, settings.output.topic))
