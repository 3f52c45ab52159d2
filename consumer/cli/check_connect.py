"""What a configuration needs from outside: the broker, the topics, and one answer to a signed call."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from consumer.building import needed_topics
from consumer.engine.letters import HEADERS_BYTES
from consumer.errors import CallError, StartError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping

    from consumer.certificates import CertificateFiles
    from consumer.moderation.protocol.services import Service
    from consumer.settings.models import Kafka, Settings


__all__ = ["Finding", "TopicConfigs", "connect", "expiring", "list_topics", "rights", "signed_call", "topic_configs"]


TopicConfigs = dict[str, dict[str, str]]
"""What topics are configured as, by their names and Kafka's own."""


# A call with these is as good as any: it shows whether the service takes our signature.
_TEXT = "hello"
_NO_IMAGE = "https://images.invalid/none.png"
_NO_TASK = "moderation-consumer-check"

_SIZE, _CLEANUP, _RETENTION = "max.message.bytes", "cleanup.policy", "retention.ms"
_DAY_MS = 24 * 60 * 60 * 1000
_SOON_SECONDS = 14 * 24 * 60 * 60

_IN_VAIN = {"hold", "reload_credentials", "clock"}


class Finding(NamedTuple):
    """One thing that was tried, what came of it, and what to do where it failed, or works but not well."""

    name: str
    ok: bool
    said: str
    remedy: str = ""

    @property
    def word(self) -> str:
        """The finding in a word."""
        if not self.ok:
            return "FAILED"
        return "warning" if self.remedy else "ok"


async def connect(
    settings: Settings,
    *,
    topics: Callable[[Kafka], Awaitable[Collection[str]]],
    configs: Callable[[Kafka, Collection[str]], Awaitable[TopicConfigs]],
    call: Callable[[Settings], Awaitable[str]],
    rights: Callable[[Settings, Mapping[str, str]], Awaitable[Mapping[str, Finding]]] | None = None,
    registry: Callable[[Settings], Awaitable[Iterable[Finding]]] | None = None,
) -> list[Finding]:
    """Try all that a start would need; nothing is read or written, one call is made. Cancelling it ends what it tries.

    Args:
        settings: what to connect to.
        topics: lists the cluster's topics, or raises StartError.
        configs: tells how topics that exist are configured, as far as the brokers tell, or raises StartError.
        call: makes one call and says what was answered, or raises StartError.
        rights: finds what our user lacks rights on, by its name, given the topics that it needs and the keys that name
            them, or raises StartError; not asked for when None.
        registry: tries the schema registry, where there is to be one; not asked for when None.
    """
    findings: list[Finding] = []
    try:
        there = await topics(settings.kafka)
    except StartError as error:
        findings.append(Finding("broker", ok=False, said=str(error), remedy=error.remedy))
    else:
        findings.append(Finding("broker", ok=True, said=", ".join(settings.kafka.bootstrap_servers)))
        needed, lacking = needed_topics(settings), dict[str, Finding]()
        if rights is not None:
            try:
                lacking |= await rights(settings, needed)
            except StartError as error:
                findings.append(Finding("rights", ok=False, said=str(error), remedy=error.remedy))
        findings += [lacking[topic] if topic in lacking else _topic(topic, key, there) for topic, key in needed.items()]
        findings += [finding for name, finding in lacking.items() if name not in needed]
        findings += await _dead_letters(settings, there, configs)
    if registry is not None:
        findings += await registry(settings)
    try:
        findings.append(Finding("signed call", ok=True, said=await call(settings)))
    except StartError as error:
        findings.append(Finding("signed call", ok=False, said=str(error), remedy=error.remedy))
    return findings


async def list_topics(kafka: Kafka) -> Collection[str]:
    """The topics that our user may see, once the broker has taken its credentials and its group.

    Raises:
        StartError: no broker can be reached, or it refuses us.
    """
    from aiokafka.errors import KafkaError

    from consumer.kafka.connection import close_within, require_group
    from consumer.kafka.connection import connect as connect_to_broker

    admin = await connect_to_broker(kafka)
    try:
        await require_group(admin, kafka.group_id)
        return set(await admin.list_topics())
    except (KafkaError, TimeoutError) as error:
        raise StartError(f"the brokers do not list their topics: {error}", "look at the brokers' logs") from error
    finally:
        await close_within(1.0, admin.close(), admin._client)  # noqa: SLF001  # only the client can cut its connections


async def rights(settings: Settings, needed: Mapping[str, str]) -> dict[str, Finding]:
    """What our user lacks rights on, and certificates that expire soon; what brokers do not tell is left out.

    Raises:
        StartError: no broker can be reached, or it refuses us.
    """
    from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

    from consumer.kafka.connection import close_within, require_transactional_id
    from consumer.kafka.connection import connect as connect_to_broker
    from consumer.kafka.refusals import missing_topics
    from consumer.kafka.rights import topic_rights
    from consumer.kafka.security import secured
    from consumer.kafka.state_topic import name_for

    kafka = settings.kafka
    state = settings.state.topic or name_for(kafka.group_id)
    lacking: dict[str, Finding] = {}
    admin = await connect_to_broker(kafka)
    try:
        told = await topic_rights(admin, {*needed, state})
        for topic, key in {**needed, state: "state.topic"}.items():
            reads, writes = topic in kafka.topics or topic == state, topic not in kafka.topics
            found = told.get(topic)
            if isinstance(found, frozenset):
                missing = [
                    right for right, wanted in (("Read", reads), ("Write", writes)) if wanted and right not in found
                ]
                if missing:
                    said = f"our user has no right to {' or '.join(missing)} on {topic} ({key})"
                    remedy = f"grant it {' and '.join(missing)} on the topic, or correct {key}"
                    lacking[topic] = Finding("rights", ok=False, said=said, remedy=remedy)
            elif isinstance(found, TopicAuthorizationFailedError):
                error = missing_topics([topic], key, [found])
                lacking[topic] = Finding("topic", ok=False, said=str(error), remedy=error.remedy)
        if settings.delivery.guarantee == "exactly_once" and kafka.scale == "failover":
            try:
                await require_transactional_id(admin, kafka.group_id)
            except StartError as error:
                lacking["transactional id"] = Finding("rights", ok=False, said=str(error), remedy=error.remedy)
    except (KafkaError, TimeoutError) as error:
        raise StartError(f"the brokers do not tell our rights: {error}", "look at the brokers' logs") from error
    finally:
        await close_within(1.0, admin.close(), admin._client)  # noqa: SLF001  # only the client can cut its connections
    files = secured(kafka.security).certificates
    return lacking | ({} if files is None else expiring(files))


def expiring(files: CertificateFiles) -> dict[str, Finding]:
    """Certificates of ours, or of authorities, that expire within two weeks."""
    soon = {key: moment for key, moment in files.expiry().items() if moment < time.time() + _SOON_SECONDS}
    return {
        key: Finding(
            "certificate",
            ok=True,
            said=f"a certificate in {files.path(key)} ({files.section}.{key}) expires at "
            f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(moment))}",
            remedy="have it renewed; a new one is used as soon as it is in the file",
        )
        for key, moment in soon.items()
    }


async def topic_configs(kafka: Kafka, topics: Collection[str]) -> TopicConfigs:
    """How topics are configured, in what matters for dead letters; those that the brokers do not tell are left out.

    Raises:
        StartError: no broker can be reached, or it refuses us.
    """
    from consumer.kafka.connection import close_within, topic_settings
    from consumer.kafka.connection import connect as connect_to_broker

    admin = await connect_to_broker(kafka)
    try:
        return await topic_settings(admin, topics, {_SIZE, _CLEANUP, _RETENTION})
    finally:
        await close_within(1.0, admin.close(), admin._client)  # noqa: SLF001  # only the client can cut its connections


async def signed_call(settings: Settings) -> str:
    """Make one call of a service that the routes use, and a second one only for a wrong clock.

    One short text may be billed; where there are only services that judge by tasks, the result of a task that does not
    exist is asked for, which is free.

    Returns:
        The answer's code and what it means, where the service took our signature.

    Raises:
        StartError: there are no credentials, no answer came, or one that holds the consumer until a person has acted.
    """
    from consumer.building import routes
    from consumer.clock import SystemClock
    from consumer.event import Event, Image
    from consumer.metrics import Metrics
    from consumer.moderation.calling.choice import transport_for
    from consumer.moderation.calling.service_time import ServiceTime
    from consumer.moderation.credentials import source_from
    from consumer.moderation.protocol.codes import UNREADABLE, look_up
    from consumer.moderation.protocol.endpoints import endpoint_for
    from consumer.moderation.protocol.multimodal import result_query
    from consumer.moderation.protocol.requests import calls
    from consumer.moderation.protocol.responses import read
    from consumer.moderation.protocol.services import resolve
    from consumer.moderation.protocol.signing import Signer
    from consumer.quota import OpenGuard

    table = resolve(settings.moderation.services)
    service = _cheapest([table[name] for route in routes(settings) for name in route.services])
    if service.media == "multimodal":
        request = result_query(service, _NO_TASK)
    else:
        words = Event("check", "message", text=_TEXT)
        picture = Event("check", "image", images=(Image(url=_NO_IMAGE),))
        (request,) = calls(words if service.media == "text" else picture, [service])
    moderation = settings.moderation
    endpoint = service.endpoint or endpoint_for(moderation.region, moderation.network, moderation.endpoint)
    source = source_from(moderation, clock=SystemClock(), metrics=Metrics())
    await source.start()
    signer = Signer(endpoint.host, source.current)
    url = f"{endpoint.url}?{request.query}" if request.query else endpoint.url
    now = ServiceTime(SystemClock())
    try:
        async with transport_for(moderation, OpenGuard()) as transport:
            for _ in range(2):
                headers = signer.sign(
                    request.service.operation,
                    date=now.stamp(),
                    nonce=secrets.token_hex(16),
                    body=request.body,
                    query=request.query,
                )
                raw = await transport.post(url, headers, request.body)
                answer = read(raw.body, raw.status)
                code = look_up(answer)
                if code.outcome != "clock":
                    break
                now.hear(raw.headers.get("date"))  # as the consumer does: it signs by the service's time
    except CallError as error:
        raise StartError(
            f"{endpoint.url} does not answer: {error}", "check moderation.region, moderation.endpoint and the network"
        ) from error
    said = f"{service.name} at {endpoint.url} answers {answer.code or f'HTTP {raw.status}'}: {code.meaning}"
    if code.outcome in _IN_VAIN or code is UNREADABLE:
        raise StartError(said, code.remedy)
    return said


def _cheapest(services: list[Service]) -> Service:
    """A text service where there is one, since it needs nothing but a text; else one that can be asked for nothing."""
    rank = {"text": 0, "multimodal": 1, "image": 2}
    return min(services, key=lambda service: rank[service.media])


def _topic(topic: str, key: str, there: Collection[str]) -> Finding:
    if topic in there:
        return Finding("topic", ok=True, said=f"{topic} ({key})")
    remedy = f"create it, or correct {key}; if it exists, grant our user Describe, and Read or Write, on it"
    return Finding("topic", ok=False, said=f"{topic} ({key}) does not exist", remedy=remedy)


async def _dead_letters(
    settings: Settings,
    there: Collection[str],
    configs: Callable[[Kafka, Collection[str]], Awaitable[TopicConfigs]],
) -> list[Finding]:
    """Whether the topic of dead letters takes and keeps all that may come."""
    letters = settings.output.dead_letters
    if letters not in there:
        return []
    try:
        found = await configs(settings.kafka, {letters, *settings.kafka.topics} & set(there))
    except StartError as error:
        return [Finding("dead letters", ok=False, said=str(error), remedy=error.remedy)]
    if letters not in found:
        said = f"the brokers do not tell how {letters} is configured, so its size limit and retention are not checked"
        return [Finding("dead letters", ok=True, said=said, remedy="grant our user DescribeConfigs on all topics")]
    problems = list(_doubts(letters, found, settings.kafka.topics))
    return problems or [Finding("dead letters", ok=True, said=f"{letters} takes and keeps them whole")]


def _doubts(letters: str, found: Mapping[str, Mapping[str, str]], topics: Collection[str]) -> Iterator[Finding]:
    """What may go wrong with dead letters, by how their topic and those that are read are configured."""
    own = found[letters]
    limits = {topic: int(found[topic][_SIZE]) for topic in topics if _SIZE in found.get(topic, {})}
    largest = max(limits, key=lambda topic: limits[topic], default="")
    least = limits.get(largest, 0) + HEADERS_BYTES
    if limits and _SIZE in own and int(own[_SIZE]) < least:
        yield Finding(
            "dead letters",
            ok=True,
            said=f"{letters} takes {own[_SIZE]} bytes, but a record of {largest} may have {limits[largest]}, and its "
            "dead letter adds headers: it would be cut, and could not be replayed",
            remedy=f"set {_SIZE} of {letters} to at least {least}",
        )
    if "compact" in own.get(_CLEANUP, ""):
        yield Finding(
            "dead letters",
            ok=True,
            said=f"{letters} is compacted: it refuses letters without a key, and keeps only the last one of each key",
            remedy=f"set {_CLEANUP} of {letters} to delete",
        )
    if 0 <= int(own.get(_RETENTION, "-1")) < _DAY_MS:
        yield Finding(
            "dead letters",
            ok=True,
            said=f"{letters} keeps them for {int(own[_RETENTION]) / 3_600_000:.1f} hours only",
            remedy=f"set {_RETENTION} of {letters} to as long as people need to look at them and to mend the cause",
        )
