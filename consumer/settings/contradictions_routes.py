"""Contradictions between routes and what they name, and between budgets and the routes that they name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from consumer.errors import SettingsError
from consumer.settings.words import meant


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.settings.models import Settings
    from consumer.settings.nodes import Problem
    from consumer.settings.places import Places


__all__ = ["CHECKS"]


def _route_names(settings: Settings, where: Places) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, route in enumerate(settings.routes):
        before = first.setdefault(route.name, index)
        if before != index:
            yield where.problem(
                (("routes", index, "name"),), f"'{route.name}' is also the name of {where.of(('routes', before))}"
            )


def _route_topics(settings: Settings, where: Places) -> Iterator[Problem]:
    for index, route in enumerate(settings.routes):
        for position, topic in enumerate(route.when.topic):
            if topic not in settings.kafka.topics:
                yield where.problem(
                    (("routes", index, "when", "topic", position),),
                    f"'{topic}' is not in {where.of(('kafka', 'topics'))}{meant(topic, settings.kafka.topics)}",
                )


def _route_services(settings: Settings, where: Places) -> Iterator[Problem]:
    from consumer.moderation.protocol.services import KNOWN  # noqa: PLC0415  # the table stands beside us, not below us

    known = {*KNOWN, *settings.moderation.services}
    for index, route in enumerate(settings.routes):
        for position, name in enumerate(route.services):
            if name not in known:
                hint = meant(name, known) or "; a copy made in the console is declared in moderation.services"
                yield where.problem((("routes", index, "services", position),), f"there is no service '{name}'{hint}")


def _route_regions(settings: Settings, where: Places) -> Iterator[Problem]:
    """Services that the region does not offer; of an endpoint of one's own, nobody knows what it offers."""
    from consumer.moderation.protocol.services import resolve  # noqa: PLC0415  # the part stands beside us, not below us

    own = settings.moderation
    if own.endpoint is not None or own.region is None:
        return
    with suppress(SettingsError):
        services = resolve(own.services)
        for index, route in enumerate(settings.routes):
            for position, name in enumerate(route.services):
                service = services.get(name)
                if service is None or name in own.services or not service.regions or own.region in service.regions:
                    continue
                there = [
                    one.name for one in services.values() if one.media == service.media and own.region in one.regions
                ]
                hint = (
                    f"offered there: {', '.join(there[:4])}"
                    if there
                    else f"it is in {', '.join(sorted(service.regions))}"
                )
                text = f"'{name}' is not offered in {where.of(('moderation', 'region'))}, {own.region}; {hint}"
                yield where.problem((("routes", index, "services", position),), text)


def _packed(settings: Settings, where: Places) -> Iterator[Problem]:
    from consumer.moderation.packable import why_not  # noqa: PLC0415  # the part stands beside us, not below us
    from consumer.moderation.protocol.services import resolve  # noqa: PLC0415  # the same

    own = settings.moderation.services
    with suppress(SettingsError):
        services = resolve(own)
        for position, name in enumerate(settings.packed.services):
            at = ("packed", "services", position)
            if name not in services:
                yield where.problem((at,), f"there is no service '{name}'{meant(name, services)}")
            elif (why := why_not(services[name], own)) is not None:
                yield where.problem((at,), f"texts of '{name}' are never packed: {why}")


def _route_deadlines(settings: Settings, where: Places) -> Iterator[Problem]:
    names = [route.name for route in settings.routes]
    deadlines = {route.name: route.deadline_seconds for route in settings.routes}
    for index, route in enumerate(settings.routes):
        at = ("routes", index, "on_deadline")
        if where.given(at) and route.deadline_seconds is None:
            yield where.problem((at,), "there is no deadline_seconds beside it, so nothing is ever late")
        if route.on_deadline == "review":
            continue
        if route.on_deadline not in names:
            yield where.problem(
                (at,), f"there is no route '{route.on_deadline}'{meant(route.on_deadline, ['review', *names])}"
            )
        elif route.on_deadline == route.name or deadlines[route.on_deadline] is not None:
            yield where.problem((at,), f"'{route.on_deadline}' has a deadline of its own; expected a route without one")


def _budgets(settings: Settings, where: Places) -> Iterator[Problem]:
    names = [route.name for route in settings.routes]
    first: dict[str, int] = {}
    for index, budget in enumerate(settings.budgets):
        before = first.setdefault(budget.name, index)
        if before != index:
            yield where.problem(
                (("budgets", index, "name"),), f"'{budget.name}' is also the name of {where.of(('budgets', before))}"
            )
        try:
            ZoneInfo(budget.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            near = meant(budget.timezone, available_timezones())
            yield where.problem((("budgets", index, "timezone"),), f"there is no time zone '{budget.timezone}'{near}")
        for position, name in enumerate(budget.routes if names else ()):
            if name not in names:
                yield where.problem(
                    (("budgets", index, "routes", position),), f"there is no route '{name}'{meant(name, names)}"
                )


CHECKS: tuple[Callable[[Settings, Places], Iterator[Problem]], ...] = (
    _route_names,
    _route_topics,
    _route_services,
    _route_regions,
    _packed,
    _route_deadlines,
    _budgets,
)
"""All of them; one that would need a faulty value raises AttributeError."""
