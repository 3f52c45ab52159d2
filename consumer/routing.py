"""Event → route: the first rule that takes an event says which services judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.plugins.calling import RAISED


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event
    from consumer.plugins import RuleFunction
    from consumer.plugins.calling import Plugin


__all__ = ["ANY", "Route", "Router", "When", "WhenPlugin"]


@dataclass(frozen=True, slots=True)
class When:
    """What a route takes; an empty condition takes everything, several are joined by "and"."""

    kinds: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    has_text: bool | None = None
    has_images: bool | None = None

    def takes(self, event: Event, topic: str) -> bool:
        """Whether all conditions hold. A language condition `zh` also takes `zh-Hant`."""
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.origins and event.origin not in self.origins:
            return False
        if self.topics and topic not in self.topics:
            return False
        if self.languages:
            tag = (event.language or "").lower()
            if tag not in self.languages and tag.split("-", 1)[0] not in self.languages:
                return False
        if self.has_text is not None and self.has_text != bool(event.text or event.title):
            return False
        return self.has_images is None or self.has_images == bool(event.images)

    def takes_from(self, topic: str) -> bool:
        """Whether it takes any event of this topic."""
        return not self.topics or topic in self.topics

    @property
    def by_topic_only(self) -> bool:
        """Whether it takes every event of the topics that it takes from."""
        conditions = self.kinds or self.origins or self.languages
        return not conditions and self.has_text is None and self.has_images is None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhenPlugin(When):
    """What a route takes that asks a function of the user's as well, last of all its conditions."""

    rule: Plugin[RuleFunction]

    def takes(self, event: Event, topic: str) -> bool:
        """Whether all conditions hold, and the plugin says so, too.

        Raises:
            RouteError: the plugin raised an error, or returned something else than true or false.
        """
        if not When.takes(self, event, topic):
            return False
        try:
            found = self.rule.call(event, topic)
        except RAISED as error:
            raise self.rule.raised(error) from None
        if found is True or found is False:
            return found
        raise self.rule.returned(found, "True or False")

    @property
    def by_topic_only(self) -> bool:
        """Whether it takes every event of the topics that it takes from; nobody knows what the plugin will say."""
        return False


@dataclass(frozen=True, slots=True)
class Route:
    """One rule: a name for metrics and verdicts, a condition, and the services that judge what it takes.

    Text goes to the route's text services, each image to its image services; the verdicts are merged. Where routes
    compete for the quota, each gets its part by `weight`. An event that is older than `deadline_seconds` before
    anything is sent for it goes the way of the route named `on_deadline`, or, where that is `review`, unjudged to a
    person.
    """

    name: str
    services: tuple[str, ...]
    when: When = When()
    weight: int = 1
    deadline_seconds: float | None = None
    on_deadline: str = "review"


ANY = Route("", ())
"""The route of calls that no event's route stands behind."""


class Router:
    """The rules in their order."""

    __slots__ = ("routes",)

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)

    def replace(self, routes: Sequence[Route]) -> None:
        """Route by these rules from now on."""
        self.routes = tuple(routes)

    def route(self, event: Event, topic: str) -> Route | None:
        """The first rule that takes this event, or None."""
        for route in self.routes:
            if route.when.takes(event, topic):
                return route
        return None

    def may_take(self, event: Event, topic: str) -> list[Route]:
        """The rules that can be the first one to take this event, whatever their plugins will say."""
        found: list[Route] = []
        for route in self.routes:
            if When.takes(route.when, event, topic):
                found.append(route)
                if not isinstance(route.when, WhenPlugin):
                    break
        return found

    def weight(self, topic: str) -> int:
        """The greatest weight of the routes that can take an event of this topic; 1 where none can."""
        weight = 0
        for route in self.routes:
            if route.when.takes_from(topic):
                weight = max(weight, route.weight)
                if route.when.by_topic_only:
                    break
        return weight or 1
