"""Connecting to a Kafka cluster: the client's options, what must be there at start, and errors in plain words."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from consumer.errors import StartError
from consumer.kafka.mended import mend
from consumer.kafka.refusals import ClosedAtFirstRequest, missing_topics, unreachable
from consumer.kafka.rights import Right, group_rights, topic_rights
from consumer.kafka.security import mend_sasl, secured
from consumer.kafka.tls import mend_tls


if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping, Sequence

    from consumer.settings.models import Kafka


__all__ = [
    "AFTERMATH_SECONDS",
    "FORBIDDEN",
    "HOPELESS",
    "TRANSACTIONAL_RIGHTS",
    "client_options",
    "close_within",
    "connect",
    "metadata_limit",
    "options_to_start",
    "record_size_limits",
    "remedy",
    "require_all",
    "require_group",
    "require_topics",
    "require_transactional_id",
    "topic_settings",
]


# How long a broker may take to accept a connection and to authenticate us.
CONNECT_SECONDS = 10.0

# The kind of coordinator that knows transactional ids.
TRANSACTION = 1

# Kafka's own limit on the metadata of a committed offset.
METADATA_CHARACTERS = 4096

# What a client may take to give up once its connections are cut.
AFTERMATH_SECONDS = 0.5

# Errors that say what our user lacks rights for; trying again is of no use.
FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)

TRANSACTIONAL_RIGHTS = (
    "delivery.guarantee exactly_once needs Write on the transactional id (with kafka.scale share, on all that begin "
    "with the group's name): grant that to our user, or set delivery.guarantee to at_least_once"
)

# What no broker that comes back will mend, and what a person can do about it.
REMEDIES = {
    ClusterAuthorizationFailedError: "grant our user what it lacks on the cluster",
    GroupAuthorizationFailedError: "grant our user Read on the group, or correct kafka.group_id",
    TopicAuthorizationFailedError: "grant our user Describe, and Read or Write, on the topic",
    IncompatibleBrokerVersion: "run brokers of version 2.5 or later",
    InvalidGroupIdError: "correct kafka.group_id",
    InvalidSessionTimeoutError: "keep kafka.session_timeout_seconds within the brokers' group.min.session.timeout.ms "
    "and group.max.session.timeout.ms",
    UnsupportedVersionError: "run brokers of version 2.5 or later",
}
HOPELESS = tuple(REMEDIES)


mend()
mend_sasl()
mend_tls()


def client_options(kafka: Kafka) -> dict[str, Any]:
    """The keyword arguments that every aiokafka client takes.

    Certificates and tokens are looked at again for each connection, and shared by all clients of these settings.

    Raises:
        StartError: a certificate file cannot be used, or SASL lacks a user, a password or the origin of tokens.
    """
    return {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": kafka.client_id,
        "request_timeout_ms": _milliseconds(kafka.request_timeout_seconds),
        **secured(kafka.security).options(),
    }


def remedy(error: BaseException) -> str:
    """What a person can do about one of the HOPELESS errors."""
    return next(remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))


async def options_to_start(kafka: Kafka) -> dict[str, Any]:
    """What `client_options` says, with no bootstrap server but one that takes our connection right now.

    A client asks one after the other in any order, and waits for a whole request's time-out for one that is silent;
    here each is given 10 s. It needs them for its start only.

    Raises:
        StartError: no bootstrap server can be reached, or it refuses us, or there is no token.
    """
    options, security = client_options(kafka), secured(kafka.security)
    try:
        await security.ready()
        found = await _answering(kafka, options)
    except StartError as error:
        security.refused(error)
        raise
    security.let_in()
    return {**options, "bootstrap_servers": [found]}


async def connect(kafka: Kafka, options: Mapping[str, Any] | None = None) -> AIOKafkaAdminClient:
    """A started admin client; the caller closes it.

    Args:
        kafka: The brokers.
        options: What `options_to_start` found, where it was asked before.

    Raises:
        StartError: no bootstrap server can be reached, or it refuses us.
    """
    admin = AIOKafkaAdminClient(**(options or await options_to_start(kafka)))
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise _unreachable(kafka, ", ".join(kafka.bootstrap_servers), error) from error
    except BaseException:
        await admin.close()
        raise
    return admin


async def require_topics(
    admin: AIOKafkaAdminClient, topics: Collection[str], *, setting: str, right: Right | None = None
) -> None:
    """Check that topics exist, without making those that do not, and that our user may do with them what it has to.

    Args:
        admin: A started client.
        topics: What has to be there.
        setting: The setting that names them, for the remedy.
        right: What our user has to be allowed to do, where brokers tell (2.3 or later).

    Raises:
        StartError: at least one is missing, or our user lacks rights on it; all of them are named.
    """
    try:
        missing = sorted(set(topics) - set(await admin.list_topics()))
        told = await topic_rights(admin, topics)
    except (KafkaError, TimeoutError) as error:
        raise StartError(
            f"the brokers do not list their topics: {error}", "look at the brokers' logs, then try again"
        ) from error
    if missing:
        raise missing_topics(missing, setting, [told.get(topic) for topic in missing])
    lacking = sorted(topic for topic, rights in told.items() if isinstance(rights, frozenset) and right not in rights)
    if right is not None and lacking:
        raise StartError(
            f"our user has no right to {right} on the topic {', '.join(lacking)} ({setting})",
            f"grant it {right} on the topic, or correct {setting}",
        )


async def require_all(kafka: Kafka, needed: Mapping[str, str], *, close_seconds: float = 2.0) -> None:
    """Check that all topics exist, before anything is made or joined, so that those that do not are told at once.

    Args:
        kafka: The brokers.
        needed: The topics, and the setting that names each.
        close_seconds: How long closing the connections afterwards may take.

    Raises:
        StartError: the brokers cannot be reached, refuse us, or at least one is missing; all of them are named.
    """
    admin = await connect(kafka)
    try:
        try:
            there = set(await admin.list_topics())
        except (KafkaError, TimeoutError):
            return  # who needs them says so, each with its own
        missing = {topic: setting for topic, setting in sorted(needed.items()) if topic not in there}
        if missing:
            *rest, last = sorted(set(missing.values()))
            settings = f"{', '.join(rest)} and {last}" if rest else last
            await require_topics(admin, missing, setting=settings)
    finally:
        await close_within(close_seconds, admin.close(), admin._client)  # noqa: SLF001  # its connections


async def require_group(admin: AIOKafkaAdminClient, group_id: str) -> None:
    """Check that our user may use a consumer group.

    Raises:
        StartError: it may not.
    """
    # Any other refusal passes by itself: a new cluster first makes the topic that holds its groups.
    with contextlib.suppress(KafkaError, TimeoutError):
        try:
            rights = await group_rights(admin, group_id)
        except GroupAuthorizationFailedError:
            rights = frozenset()
        if rights is not None and "Read" not in rights:
            raise StartError(
                f"our user has no rights on the group {group_id} (kafka.group_id): it may not Read it",
                "grant it Read on the group, or correct kafka.group_id",
            )


async def require_transactional_id(admin: AIOKafkaAdminClient, transactional_id: str) -> None:
    """Check that our user may use a transactional id, as far as that can be seen without taking it over.

    Raises:
        StartError: it may not.
    """
    with contextlib.suppress(KafkaError, TimeoutError):
        try:
            await admin.find_coordinator(transactional_id, TRANSACTION)
        except TransactionalIdAuthorizationFailed as error:
            raise StartError(
                f"our user has no rights on the transactional id {transactional_id}",
                TRANSACTIONAL_RIGHTS,
            ) from error


async def topic_settings(
    admin: AIOKafkaAdminClient, topics: Collection[str], names: Collection[str]
) -> dict[str, dict[str, str]]:
    """These settings of topics; what the brokers do not tell, for want of rights or of the request, is left out."""
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(names)) for topic in sorted(set(topics))
    ]
    try:
        answers = await admin.describe_configs(asked)
    except (KafkaError, TimeoutError):
        return {}
    return {
        topic: {name: value for name, value, *_ in entries if name in names and value is not None}
        for answer in answers
        for code, _, _, topic, entries in answer.resources
        if code == 0
    }


async def record_size_limits(admin: AIOKafkaAdminClient, topics: Collection[str]) -> dict[str, int]:
    """The `max.message.bytes` of topics; those that do not tell are left out."""
    setting = "max.message.bytes"
    found = await topic_settings(admin, topics, {setting})
    return {topic: int(settings[setting]) for topic, settings in found.items() if setting in settings}


async def metadata_limit(admin: AIOKafkaAdminClient) -> int:
    """The broker's `offset.metadata.max.bytes`, which it counts in characters; Kafka's own where it does not tell."""
    setting = "offset.metadata.max.bytes"
    brokers = admin._client.cluster.brokers()  # noqa: SLF001  # a broker's settings are asked for by its number
    asked = [
        ConfigResource(ConfigResourceType.BROKER, str(broker.nodeId), configs={setting: None}) for broker in brokers
    ]
    try:
        answers = await admin.describe_configs(asked)
    except (KafkaError, TimeoutError, IndexError, ValueError):
        return METADATA_CHARACTERS
    limits = [
        int(value)
        for answer in answers
        for code, _, _, _, entries in answer.resources
        for name, value, *_ in entries
        if code == 0 and name == setting and value is not None
    ]
    return min(limits, default=METADATA_CHARACTERS)


async def close_within(seconds: float, closing: Coroutine[Any, Any, None], client: Any) -> None:
    """Run a client's own stop for so long; then cut its connections, which ends what still waits for answers.

    aiokafka waits without bound for brokers that are gone, and its consumer's stop may break off before it comes to
    the connections. When cancelled, the stop is abandoned.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait({task}, timeout=seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AFTERMATH_SECONDS):
                await client.close()
        await asyncio.wait({task}, timeout=AFTERMATH_SECONDS)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AFTERMATH_SECONDS)
        if task.done() and not task.cancelled():
            task.exception()  # it was a farewell: nobody can do anything about its failure


async def _answering(kafka: Kafka, options: dict[str, Any]) -> str:
    """Find one bootstrap server that takes our connection and answers, or say why the first one does not.

    aiokafka's own bootstrap tells only its log why it failed.
    """
    single = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    single["request_timeout_ms"] = min(single["request_timeout_ms"], _milliseconds(CONNECT_SECONDS))
    failures: list[StartError] = []
    for server in kafka.bootstrap_servers:
        ((host, port, _),) = collect_hosts([server])
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await _try(host, port, single)
        except UnsupportedSaslMechanismError as error:
            offered = await _mechanisms(host, port, single)
            failures.append(_unreachable(kafka, f"{host}:{port}", error, offered))
        except (OSError, KafkaError, TimeoutError) as error:
            failures.append(_unreachable(kafka, f"{host}:{port}", error))
        else:
            return str(server)
    raise failures[0]


async def _try(host: str, port: int, options: Mapping[str, Any]) -> None:
    """Connect and ask for something: some listeners refuse us only then."""
    connection = await create_conn(host, port, **options)
    try:
        await connection.send(MetadataRequest([]))
    except KafkaConnectionError as error:
        if isinstance(error.__cause__, asyncio.IncompleteReadError):
            raise ClosedAtFirstRequest from error
        raise
    finally:
        await connection.close()


async def _mechanisms(host: str, port: int, options: Mapping[str, Any]) -> Sequence[str]:
    """The SASL mechanisms that a listener offers; none where it does not tell."""
    protocol = options["security_protocol"].removeprefix("SASL_")
    plain = {name: value for name, value in options.items() if not name.startswith("sasl_")}
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await create_conn(host, port, **{**plain, "security_protocol": protocol})
            try:
                answer = await connection.send(SaslHandShakeRequest(options["sasl_mechanism"]))
            finally:
                await connection.close()
    except (OSError, KafkaError, TimeoutError):
        return ()
    return sorted(answer.enabled_mechanisms)


def _unreachable(kafka: Kafka, server: str, error: BaseException, mechanisms: Sequence[str] = ()) -> StartError:
    certificates = secured(kafka.security).certificates
    return unreachable(server, error, kafka.security, certificates, mechanisms=mechanisms, seconds=CONNECT_SECONDS)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
