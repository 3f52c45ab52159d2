"""What no single key can tell: values that are right by themselves, but contradict others or name what is not there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from consumer.errors import SettingsError
from consumer.settings.nodes import DEFAULT, Path, Place, Problem, dotted
from consumer.settings.words import meant


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from consumer.settings.models import Settings


__all__ = ["contradictions"]


class _Places:
    """Says where a contradiction is to be mended, and where the other value comes from."""

    def __init__(self, places: Mapping[Path, Place], root: Place) -> None:
        self._places = places
        self._root = root

    def given(self, path: Path) -> bool:
        """Whether a source gives this key."""
        return self._places.get(path, DEFAULT) != DEFAULT

    def problem(self, keys: tuple[Path, ...], text: str) -> Problem:
        """A problem of the first of `keys`, at the first of them that is given, else where their section begins."""
        for path in keys:
            if self.given(path):
                return Problem(self._places[path], keys[0], text)
        parents = (keys[0][:end] for end in range(len(keys[0]), 0, -1))
        return Problem(next((self._places[p] for p in parents if self.given(p)), self._root), keys[0], text)

    def locate(self, line: str) -> Problem:
        """A part's own line, `section.key: what is wrong`, as a problem with its place."""
        key, _, text = line.partition(": ")
        path = next((path for path in self._places if dotted(path) == key), tuple(key.split(".")))
        return self.problem((path,), text)

    def of(self, path: Path) -> str:
        """A key and its place, for the middle of a sentence."""
        place = self._places.get(path, DEFAULT)
        return f"{dotted(path)} ({place})"


def contradictions(settings: Settings, places: Mapping[Path, Place], root: Place) -> Iterator[Problem]:
    """All contradictions in what could be read; one that would need a faulty value is not looked for."""
    where = _Places(places, root)
    for check in _CHECKS:
        with suppress(AttributeError):
            yield from check(settings, where)


def _parts(settings: Settings, where: _Places) -> Iterator[Problem]:
    """What the parts that use a section say of it: they know regions, services and expressions, we know the lines."""
    from consumer.intake.mapping import Mapper  # noqa: PLC0415  # it brings JMESPath, which only loading needs
    from consumer.moderation.protocol.endpoints import endpoint_for  # noqa: PLC0415  # the part stands beside us, not below us
    from consumer.moderation.protocol.services import resolve  # noqa: PLC0415  # the same

    trials: tuple[Callable[[], object], ...] = (
        lambda: Mapper(settings.mapping),
        lambda: endpoint_for(settings.moderation.region, settings.moderation.network, settings.moderation.endpoint),
        lambda: resolve(settings.moderation.services),
    )
    for trial in trials:
        try:
            with suppress(AttributeError):
                trial()
        except SettingsError as error:
            yield from map(where.locate, error.problems)


def _heartbeat(settings: Settings, where: _Places) -> Iterator[Problem]:
    beat, session = ("kafka", "heartbeat_interval_seconds"), ("kafka", "session_timeout_seconds")
    kafka = settings.kafka
    most = kafka.session_timeout_seconds / 3
    if kafka.heartbeat_interval_seconds > most:
        yield where.problem(
            (beat, session),
            f"{kafka.heartbeat_interval_seconds:g} is over a third of {where.of(session)}, "
            f"{kafka.session_timeout_seconds:g}; expected at most {most:g}",
        )


def _authentication(settings: Settings, where: _Places) -> Iterator[Problem]:
    at = ("kafka", "security")
    security = settings.kafka.security
    if not security.protocol.startswith("SASL_"):
        return
    mechanism = (*at, "sasl_mechanism")
    if security.sasl_mechanism != "OAUTHBEARER":
        decides, found = (*at, "protocol"), str(security.protocol)
        wanted = {"sasl_username": security.sasl_username, "sasl_password": security.sasl_password}
    elif security.oauth_token_file is not None and security.oauth_token_endpoint is not None:
        keys = ((*at, "oauth_token_file"), (*at, "oauth_token_endpoint"))
        yield where.problem(keys, f"set beside {where.of(keys[1])}; a token comes from one of them")
        return
    elif security.oauth_token_file is not None:
        return
    elif security.oauth_token_endpoint is not None:
        decides, found = (*at, "oauth_token_endpoint"), security.oauth_token_endpoint
        wanted = {"oauth_client_id": security.oauth_client_id, "oauth_client_secret": security.oauth_client_secret}
    else:
        text = f"neither it nor oauth_token_endpoint is set, but one is needed with {where.of(mechanism)}, OAUTHBEARER"
        yield where.problem(((*at, "oauth_token_file"), mechanism), text)
        return
    for name, value in wanted.items():
        if value is None:
            yield where.problem(((*at, name), decides), f"not set, but needed with {where.of(decides)}, {found}")


def _certificate(settings: Settings, where: _Places) -> Iterator[Problem]:
    security = settings.kafka.security
    certificate, key = ("kafka", "security", "certificate_file"), ("kafka", "security", "key_file")
    if security.certificate_file is not None and security.key_file is None:
        yield where.problem((key, certificate), f"not set, but {where.of(certificate)} is; one needs the other")
    if security.key_file is not None and security.certificate_file is None:
        yield where.problem((certificate, key), f"not set, but {where.of(key)} is; one needs the other")


def _retry(settings: Settings, where: _Places) -> Iterator[Problem]:
    retry = settings.moderation.retry
    base, longest = ("moderation", "retry", "base_seconds"), ("moderation", "retry", "max_seconds")
    if retry.base_seconds > retry.max_seconds:
        yield where.problem(
            (base, longest), f"{retry.base_seconds:g} is over {where.of(longest)}, {retry.max_seconds:g}"
        )


def _timeouts(settings: Settings, where: _Places) -> Iterator[Problem]:
    timeouts = settings.moderation.timeouts
    total, connect = ("moderation", "timeouts", "total_seconds"), ("moderation", "timeouts", "connect_seconds")
    if timeouts.total_seconds < timeouts.connect_seconds:
        yield where.problem(
            (total, connect), f"{timeouts.total_seconds:g} is under {where.of(connect)}, {timeouts.connect_seconds:g}"
        )


def _sts(settings: Settings, where: _Places) -> Iterator[Problem]:
    from consumer.moderation.protocol.endpoints import Endpoint  # noqa: PLC0415  # the part stands beside us, not below us

    given = settings.moderation.credentials.sts_endpoint
    try:
        Endpoint.parse(given or "sts.aliyuncs.com")
    except ValueError as error:
        yield where.problem((("moderation", "credentials", "sts_endpoint"),), str(error))


def _loops(settings: Settings, where: _Places) -> Iterator[Problem]:
    outputs: dict[Path, str] = {("output", "topic"): settings.output.topic}
    outputs |= {("output", "topics", action): topic for action, topic in settings.output.topics.items()}
    outputs[("output", "dead_letters")] = settings.output.dead_letters
    for path, topic in outputs.items():
        if topic in settings.kafka.topics:
            read = where.of(("kafka", "topics"))
            yield where.problem(
                (path, ("kafka", "topics")), f"{topic} is also in {read}: what is written would be read again"
            )


def _route_names(settings: Settings, where: _Places) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, route in enumerate(settings.routes):
        before = first.setdefault(route.name, index)
        if before != index:
            yield where.problem(
                (("routes", index, "name"),), f"'{route.name}' is also the name of {where.of(('routes', before))}"
            )


def _route_topics(settings: Settings, where: _Places) -> Iterator[Problem]:
    for index, route in enumerate(settings.routes):
        for position, topic in enumerate(route.when.topic):
            if topic not in settings.kafka.topics:
                yield where.problem(
                    (("routes", index, "when", "topic", position),),
                    f"'{topic}' is not in {where.of(('kafka', 'topics'))}{meant(topic, settings.kafka.topics)}",
                )


def _route_services(settings: Settings, where: _Places) -> Iterator[Problem]:
    from consumer.moderation.protocol.services import KNOWN  # noqa: PLC0415  # the table stands beside us, not below us

    known = {*KNOWN, *settings.moderation.services}
    for index, route in enumerate(settings.routes):
        for position, name in enumerate(route.services):
            if name not in known:
                hint = meant(name, known) or "; a copy made in the console is declared in moderation.services"
                yield where.problem((("routes", index, "services", position),), f"there is no service '{name}'{hint}")


def _packed(settings: Settings, where: _Places) -> Iterator[Problem]:
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


def _route_deadlines(settings: Settings, where: _Places) -> Iterator[Problem]:
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


def _budgets(settings: Settings, where: _Places) -> Iterator[Problem]:
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


_CHECKS: tuple[Callable[[Settings, _Places], Iterator[Problem]], ...] = (
    _parts,
    _heartbeat,
    _authentication,
    _certificate,
    _retry,
    _timeouts,
    _sts,
    _loops,
    _route_names,
    _route_topics,
    _route_services,
    _packed,
    _route_deadlines,
    _budgets,
)
