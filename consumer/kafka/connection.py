"""Connecting to a Kafka cluster: the client's options, what must be there at start, and errors in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)

from consumer.errors import StartError
from consumer.kafka.mended import mend


if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping

    from consumer.settings.models import Kafka, KafkaSecurity


__all__ = [
    "AFTERMATH_SECONDS",
    "FORBIDDEN",
    "HOPELESS",
    "client_options",
    "close_within",
    "connect",
    "metadata_limit",
    "options_to_start",
    "record_size_limits",
    "remedy",
    "require_group",
    "require_topics",
    "topic_settings",
]


# How long a broker may take to accept a connection and to authenticate us.
CONNECT_SECONDS = 10.0

# Kafka's own limit on the metadata of a committed offset.
METADATA_CHARACTERS = 4096

# What a client may take to give up once its connections are cut.
AFTERMATH_SECONDS = 0.5

BAD_CREDENTIALS = (
    AuthenticationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

# Errors that say what our user lacks rights for; trying again is of no use.
FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)

# What no broker that comes back will mend, and what a person can do about it.
REMEDIES = {
    ClusterAuthorizationFailedError: "grant our user what it lacks on the cluster",
    GroupAuthorizationFailedError: "grant our user Read on the group, or correct kafka.group_id",
    TopicAuthorizationFailedError: "grant our user Describe, and Read or Write, on the topic",
    IncompatibleBrokerVersion: "run brokers of version 2.5 or later",
    InvalidGroupIdError: "correct kafka.group_id",
    InvalidSessionTimeoutError: "keep kafka.session_timeout_seconds within the brokers' group.min.session.timeout.ms "
    "and group.max.session.timeout.ms",
    UnsupportedCodecError: "the topic holds records compressed by lz4, snappy or zstd: install cramjam",
    UnsupportedVersionError: "run brokers of version 2.5 or later",
}
HOPELESS = tuple(REMEDIES)


mend()


def client_options(kafka: Kafka) -> dict[str, Any]:
    """The keyword arguments that every aiokafka client takes.

    Raises:
        StartError: a certificate file cannot be used, or SASL lacks a user or password.
    """
    security = kafka.security
    options: dict[str, Any] = {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": kafka.client_id,
        "request_timeout_ms": _milliseconds(kafka.request_timeout_seconds),
        "security_protocol": security.protocol,
    }
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(security)
    if security.protocol.startswith("SASL"):
        if security.sasl_username is None or security.sasl_password is None:
            raise StartError(
                f"kafka.security.protocol is {security.protocol}, but there is no user or no password",
                "set kafka.security.sasl_username and kafka.security.sasl_password",
            )
        options["sasl_mechanism"] = security.sasl_mechanism
        options["sasl_plain_username"] = security.sasl_username
        options["sasl_plain_password"] = security.sasl_password.get_secret_value()
    return options


def remedy(error: BaseException) -> str:
    """What a person can do about one of the HOPELESS errors."""
    return next(remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))


async def options_to_start(kafka: Kafka) -> dict[str, Any]:
    """What `client_options` says, with no bootstrap server but one that takes our connection right now.

    A client asks one after the other in any order, and waits for a whole request's time-out for one that is silent;
    here each is given 10 s. It needs them for its start only.

    Raises:
        StartError: no bootstrap server can be reached, or it refuses us.
    """
    options = client_options(kafka)
    return {**options, "bootstrap_servers": [await _answering(options)]}


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
        raise _unreachable(", ".join(kafka.bootstrap_servers), error) from error
    except BaseException:
        await admin.close()
        raise
    return admin


async def require_topics(admin: AIOKafkaAdminClient, topics: Collection[str], *, setting: str) -> None:
    """Check that topics exist, without making those that do not.

    Args:
        admin: A started client.
        topics: What has to be there.
        setting: The setting that names them, for the remedy.

    Raises:
        StartError: at least one is missing, or hidden from our user; all of them are named.
    """
    try:
        missing = sorted(set(topics) - set(await admin.list_topics()))
    except (KafkaError, TimeoutError) as error:
        raise StartError(
            f"the brokers do not list their topics: {error}", "look at the brokers' logs, then try again"
        ) from error
    if missing:
        names = ", ".join(missing)
        raise StartError(
            f"no such topic: {names}",
            f"create it, or correct {setting}; if it exists, grant our user Describe, and Read or Write, on it",
        )


async def require_group(admin: AIOKafkaAdminClient, group_id: str) -> None:
    """Check that our user may use a consumer group.

    Raises:
        StartError: it may not.
    """
    # Any other refusal passes by itself: a new cluster first makes the topic that holds its groups.
    with contextlib.suppress(KafkaError, TimeoutError):
        try:
            await admin.find_coordinator(group_id)
        except GroupAuthorizationFailedError as error:
            raise StartError(
                f"our user has no rights on the group {group_id}",
                "grant it Read on the group, or correct kafka.group_id",
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


async def _answering(options: dict[str, Any]) -> str:
    """Find one bootstrap server that takes our connection, or say why the first one does not.

    aiokafka's own bootstrap tells only its log why it failed.
    """
    single = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    single["request_timeout_ms"] = min(single["request_timeout_ms"], _milliseconds(CONNECT_SECONDS))
    failures: list[StartError] = []
    for server in options["bootstrap_servers"]:
        ((host, port, _),) = collect_hosts([server])
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await create_conn(host, port, **single)
        except (OSError, KafkaError, TimeoutError) as error:
            failures.append(_unreachable(f"{host}:{port}", error))
        else:
            await connection.close()
            return str(server)
    raise failures[0]


def _unreachable(server: str, error: BaseException) -> StartError:
    """Why a broker cannot be used, and what to do about it."""
    if isinstance(error, BAD_CREDENTIALS):
        return StartError(
            f"{server} refuses our credentials: {error}",
            "check sasl_mechanism, sasl_username and sasl_password under kafka.security",
        )
    if isinstance(error, ssl.SSLError):
        return StartError(
            f"{server} and we do not agree on TLS: {error}",
            "check protocol, ca_file, certificate_file and key_file under kafka.security",
        )
    if isinstance(error, socket.gaierror):
        return StartError(f"the name of {server} cannot be resolved: {error}", "correct kafka.bootstrap_servers")
    reason = f"no answer within {CONNECT_SECONDS:.0f} s" if isinstance(error, TimeoutError) else str(error)
    return StartError(
        f"the Kafka broker {server} cannot be reached: {reason}",
        "check kafka.bootstrap_servers and kafka.security.protocol, that the broker runs, and that it may be reached "
        "from here",
    )


def _ssl_context(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.certificate_file is not None:
            context.load_cert_chain(security.certificate_file, security.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StartError(
            f"a certificate file cannot be used: {error}",
            "check ca_file, certificate_file and key_file under kafka.security: they must exist and be PEM",
        ) from error
    return context


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
