"""What no single key can tell: values that are right by themselves, but contradict others or name what is not there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from consumer.errors import SettingsError
from consumer.settings.contradictions_routes import CHECKS as ROUTES
from consumer.settings.nodes import Path, Place, Problem, dotted
from consumer.settings.places import Places
from consumer.settings.words import meant


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from consumer.plugins.calling import Kind
    from consumer.settings.formats import Format, SchemaRegistry, TopicFormat
    from consumer.settings.kafka import KafkaSecurity
    from consumer.settings.models import Settings


__all__ = ["contradictions"]


_SECRET_CHARACTERS = 16
_TOPICS: Path = ("kafka", "topics")


def contradictions(settings: Settings, places: Mapping[Path, Place], root: Place) -> Iterator[Problem]:
    """All contradictions in what could be read; one that would need a faulty value is not looked for."""
    where = Places(places, root)
    for check in _CHECKS:
        with suppress(AttributeError):
            yield from check(settings, where)


def _parts(settings: Settings, where: Places) -> Iterator[Problem]:
    """What the parts that use a section say of it: they know regions, services and expressions, we know the lines."""
    from consumer.intake.mapping import Mapper  # noqa: PLC0415  # it brings JMESPath, which only loading needs
    from consumer.moderation.protocol.billing import price_list  # noqa: PLC0415  # the part stands beside us, not below us
    from consumer.moderation.protocol.endpoints import endpoint_for, fallback_for  # noqa: PLC0415  # the same
    from consumer.moderation.protocol.services import resolve  # noqa: PLC0415  # the same

    trials: tuple[Callable[[], object], ...] = (
        lambda: Mapper(settings.mapping),
        lambda: endpoint_for(settings.moderation.region, settings.moderation.network, settings.moderation.endpoint),
        lambda: fallback_for(settings.moderation.fallback_endpoint),
        lambda: resolve(settings.moderation.services),
        lambda: price_list(settings.moderation.prices),
    )
    for trial in trials:
        try:
            with suppress(AttributeError):
                trial()
        except SettingsError as error:
            yield from map(where.locate, error.problems)


def _plugins(settings: Settings, where: Places) -> Iterator[Problem]:
    """Functions of the user's own that cannot be used: they are imported here, where their lines are known."""
    for kind, setting, section in _of_plugins(settings):
        name: str | None = getattr(section, "plugin", None)
        if name is not None:
            from consumer.plugins.loading import load  # noqa: PLC0415  # who has no plugins need not wait for it

            try:
                load(kind, name, setting)
            except SettingsError as error:
                yield from map(where.locate, error.problems)


def _of_plugins(settings: Settings) -> Iterator[tuple[Kind, str, object]]:
    """Every section that may name a plugin, with the key that does; what is faulty may be missing anywhere."""
    yield "mapping", "mapping.plugin", getattr(settings, "mapping", None)
    for index, route in enumerate(getattr(settings, "routes", ())):
        yield "rule", f"routes[{index}].when.plugin", getattr(route, "when", None)
    yield "policy", "policy.plugin", getattr(settings, "policy", None)
    for path, section in _formats(settings):
        yield "codec", f"{dotted(path)}.plugin", section


def _formats(settings: Settings) -> Iterator[tuple[Path, Format | TopicFormat]]:
    """Every section that says how records are written, with its path."""
    yield ("format",), settings.format
    for topic, section in settings.format.topics.items():
        yield ("format", "topics", topic), section


def _encodings(settings: Settings, where: Places) -> Iterator[Problem]:
    registry, url = settings.format.schema_registry, ("format", "schema_registry", "url")
    with_schema: Path | None = None
    for path, section in _formats(settings):
        encoding = (*path, "encoding")
        if section.plugin is not None and where.given(encoding):
            yield where.problem(
                ((*path, "plugin"),), f"set beside {where.of(encoding)}; values are read by one of them"
            )
        elif section.encoding in {"avro", "protobuf"}:
            with_schema = with_schema or encoding
            if registry.url is None:
                yield where.problem(
                    (url, encoding), f"not set, but needed with {where.of(encoding)}, {section.encoding}"
                )
                return
    if registry.url is not None and with_schema is None:
        yield where.problem((url,), "set, but nothing is asked of it: no encoding is avro or protobuf")


def _envelopes(settings: Settings, where: Places) -> Iterator[Problem]:
    operations = ("format", "operations")
    if where.given(operations) and all(section.envelope != "debezium" for _, section in _formats(settings)):
        yield where.problem((operations,), "set, but no envelope is debezium, so no record has an operation")


def _format_topics(settings: Settings, where: Places) -> Iterator[Problem]:
    for topic in settings.format.topics:
        if topic not in settings.kafka.topics:
            near = meant(topic, settings.kafka.topics)
            yield where.problem(
                (("format", "topics", topic),),
                f"no such topic is read: it is not in {where.of(('kafka', 'topics'))}{near}",
            )


def _registry(settings: Settings, where: Places) -> Iterator[Problem]:
    registry, at = settings.format.schema_registry, ("format", "schema_registry")
    user, password, token = ((*at, name) for name in ("username", "password", "token"))
    if registry.token is not None and registry.username is not None:
        yield where.problem((token, user), f"set beside {where.of(user)}; a registry is told one of them")
    if registry.username is not None and registry.password is None:
        yield where.problem((password, user), f"not set, but {where.of(user)} is; one needs the other")
    if registry.password is not None and registry.username is None:
        yield where.problem((user, password), f"not set, but {where.of(password)} is; one needs the other")
    if (registry.url or "").startswith("http:"):
        for name in ("ca_file", "certificate_file", "key_file"):
            if getattr(registry, name) is not None:
                text = f"set, but {where.of((*at, 'url'))} is no https address, so it is never used"
                yield where.problem(((*at, name),), text)
    yield from _pair(registry, at, where)


def _heartbeat(settings: Settings, where: Places) -> Iterator[Problem]:
    beat, session = ("kafka", "heartbeat_interval_seconds"), ("kafka", "session_timeout_seconds")
    kafka = settings.kafka
    most = kafka.session_timeout_seconds / 3
    if kafka.heartbeat_interval_seconds > most:
        yield where.problem(
            (beat, session),
            f"{kafka.heartbeat_interval_seconds:g} is over a third of {where.of(session)}, "
            f"{kafka.session_timeout_seconds:g}; expected at most {most:g}",
        )


def _authentication(settings: Settings, where: Places) -> Iterator[Problem]:
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


def _not_authenticated(settings: Settings, where: Places) -> Iterator[Problem]:
    """Whom to authenticate as is said, but the protocol authenticates nobody: most likely it was forgotten."""
    at, protocol = ("kafka", "security"), settings.kafka.security.protocol
    if protocol.startswith("SASL_"):
        return
    for name in ("sasl_mechanism", "sasl_username", "oauth_token_file", "oauth_token_endpoint"):
        if where.given((*at, name)) and getattr(settings.kafka.security, name) is not None:
            right = "SASL_SSL" if protocol == "SSL" else "SASL_SSL or SASL_PLAINTEXT"
            text = f"set, but {where.of((*at, 'protocol'))} is {protocol}, which authenticates nobody; expected {right}"
            yield where.problem(((*at, name),), text)
            return


def _certificate(settings: Settings, where: Places) -> Iterator[Problem]:
    yield from _pair(settings.kafka.security, ("kafka", "security"), where)


def _pair(section: KafkaSecurity | SchemaRegistry, at: Path, where: Places) -> Iterator[Problem]:
    """A certificate of ours without its key, or a key alone."""
    certificate, key = (*at, "certificate_file"), (*at, "key_file")
    if section.certificate_file is not None and section.key_file is None:
        yield where.problem((key, certificate), f"not set, but {where.of(certificate)} is; one needs the other")
    if section.key_file is not None and section.certificate_file is None:
        yield where.problem((certificate, key), f"not set, but {where.of(key)} is; one needs the other")


def _retry(settings: Settings, where: Places) -> Iterator[Problem]:
    retry = settings.moderation.retry
    base, longest = ("moderation", "retry", "base_seconds"), ("moderation", "retry", "max_seconds")
    if retry.base_seconds > retry.max_seconds:
        yield where.problem(
            (base, longest), f"{retry.base_seconds:g} is over {where.of(longest)}, {retry.max_seconds:g}"
        )


def _timeouts(settings: Settings, where: Places) -> Iterator[Problem]:
    timeouts = settings.moderation.timeouts
    total, connect = ("moderation", "timeouts", "total_seconds"), ("moderation", "timeouts", "connect_seconds")
    if timeouts.total_seconds < timeouts.connect_seconds:
        yield where.problem(
            (total, connect), f"{timeouts.total_seconds:g} is under {where.of(connect)}, {timeouts.connect_seconds:g}"
        )


def _sts(settings: Settings, where: Places) -> Iterator[Problem]:
    from consumer.moderation.protocol.endpoints import Endpoint  # noqa: PLC0415  # the part stands beside us, not below us

    given = settings.moderation.credentials.sts_endpoint
    try:
        Endpoint.parse(given or "sts.aliyuncs.com")
    except ValueError as error:
        yield where.problem((("moderation", "credentials", "sts_endpoint"),), str(error))


def _loops(settings: Settings, where: Places) -> Iterator[Problem]:
    outputs: dict[Path, str] = {("output", "topic"): settings.output.topic}
    outputs |= {("output", "topics", action): topic for action, topic in settings.output.topics.items()}
    outputs[("output", "dead_letters")] = settings.output.dead_letters
    for path, topic in outputs.items():
        if topic in settings.kafka.topics:
            read = where.of(("kafka", "topics"))
            yield where.problem(
                (path, ("kafka", "topics")), f"{topic} is also in {read}: what is written would be read again"
            )


def _one_topic_for_two(settings: Settings, where: Places) -> Iterator[Problem]:
    """Topics that are written for two purposes: whoever reads one would meet the other."""
    verdicts: dict[str, Path] = {settings.output.topic: ("output", "topic")}
    verdicts |= {topic: ("output", "topics", action) for action, topic in settings.output.topics.items()}
    letters, state = ("output", "dead_letters"), ("state", "topic")
    if settings.output.dead_letters in verdicts:
        other = verdicts[settings.output.dead_letters]
        yield where.problem(
            (letters, other), f"{settings.output.dead_letters} is also {where.of(other)}; give it its own"
        )
    own = settings.state.topic or f"{settings.kafka.group_id}.state"
    others = {**verdicts, settings.output.dead_letters: letters, **dict.fromkeys(settings.kafka.topics, _TOPICS)}
    if own in others:
        keys = (state, others[own])
        yield where.problem(keys, f"{own} is also {where.of(others[own])}; the state needs a topic of its own")


def _callbacks(settings: Settings, where: Places) -> Iterator[Problem]:
    at, own = ("callbacks",), settings.callbacks
    if own.url is None:
        return
    for name, value in {"account_id": own.account_id, "secret": own.secret}.items():
        if value is None:
            text = (
                f"not set, but needed with {where.of((*at, 'url'))}; without it no callback can be told to be authentic"
            )
            yield where.problem(((*at, name), (*at, "url")), text)
    if own.secret is not None and len(own.secret.get_secret_value()) < _SECRET_CHARACTERS:
        text = f"shorter than {_SECRET_CHARACTERS} characters; `openssl rand -hex 32` makes a good one"
        yield where.problem(((*at, "secret"),), text)
    ports = settings.admin.port, own.port
    if ports[0] == ports[1] != 0:
        port, admin = (*at, "port"), ("admin", "port")
        yield where.problem((port, admin), f"{own.port} is also {where.of(admin)}; give each a port of its own")


def _tasks(settings: Settings, where: Places) -> Iterator[Problem]:
    first, deadline = ("tasks", "first_poll_seconds"), ("tasks", "deadline_seconds")
    tasks = settings.tasks
    if tasks.first_poll_seconds >= tasks.deadline_seconds:
        yield where.problem(
            (first, deadline),
            f"{tasks.first_poll_seconds:g} is not before {where.of(deadline)}, {tasks.deadline_seconds:g}",
        )


_CHECKS: tuple[Callable[[Settings, Places], Iterator[Problem]], ...] = (
    _parts,
    _plugins,
    _encodings,
    _envelopes,
    _format_topics,
    _registry,
    _heartbeat,
    _authentication,
    _not_authenticated,
    _certificate,
    _retry,
    _timeouts,
    _sts,
    _loops,
    _one_topic_for_two,
    _callbacks,
    _tasks,
    *ROUTES,
)
