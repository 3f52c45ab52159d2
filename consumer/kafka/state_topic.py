"""Making the state topic where it is missing, and saying what is wrong with one that is there."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from consumer.errors import StartError
from consumer.kafka.connection import topic_settings
from consumer.moderation.tasks.remembered import KEPT_SECONDS


if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.admin import AIOKafkaAdminClient

    from consumer.settings.models import Kafka, State


__all__ = ["made", "name_for"]


_log = structlog.get_logger(__name__)

# However many partitions the inputs have: each costs every process a little, always.
PARTITIONS: Final = 3

# Small segments: only closed ones are compacted, and a process that starts reads all there is.
CONFIG: Final[Mapping[str, str]] = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(48 * 3_600_000),
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": str(10 * 60_000),
}

LONGEST_NAME: Final = 249
SUFFIX: Final = ".state"

# How long a topic may take to be known after it was made.
KNOWN_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.2


def name_for(group_id: str) -> str:
    """The name of a group's state topic: the group's own with `.state`.

    Characters that topics cannot have are replaced; a few digits then keep such groups apart.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", group_id)
    if name == group_id and len(name) <= LONGEST_NAME - len(SUFFIX):
        return name + SUFFIX
    mark = "." + hashlib.blake2b(group_id.encode(), digest_size=4).hexdigest()
    return name[: LONGEST_NAME - len(mark) - len(SUFFIX)] + mark + SUFFIX


async def made(admin: AIOKafkaAdminClient, topic: str, kafka: Kafka, state: State) -> int:
    """Have the topic there, and return how many partitions it has. What is wrong with it otherwise is logged.

    When cancelled, it may have been made.

    Raises:
        StartError: it is not there, and we may not make it; the remedy is the command that does.
    """
    reason: object = "no leader of its partitions"
    try:
        async with asyncio.timeout(KNOWN_SECONDS):
            while True:
                try:
                    ours = topic not in await admin.list_topics() and await _has_controller(admin)
                    if ours:
                        await _make(admin, topic, kafka, state)
                    count = await _partitions(admin, topic)
                    break
                except KafkaError as error:
                    # One of several brokers may be away.
                    if not error.retriable:
                        raise
                    reason = repr(error)
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError as error:
        raise _not_made(topic, kafka, state, f"within {KNOWN_SECONDS:.0f} s: {reason}") from error
    except KafkaError as error:
        raise _not_made(topic, kafka, state, repr(error)) from error
    if not ours:
        await _check(admin, topic, kafka)
    return count


async def _has_controller(admin: AIOKafkaAdminClient) -> bool:
    """Whether there is a broker that makes topics; the embedded one makes each that is asked for."""
    cluster = await admin.describe_cluster()
    return cluster["controller_id"] in {broker["node_id"] for broker in cluster["brokers"]}


async def _make(admin: AIOKafkaAdminClient, topic: str, kafka: Kafka, state: State) -> None:
    # Without assignments by hand the client takes -1, which stands for the brokers' default.
    copies = -1 if state.replication_factor is None else state.replication_factor
    wanted = NewTopic(topic, PARTITIONS, copies, {} if copies == -1 else None, topic_configs=dict(CONFIG))
    answer = await admin.create_topics([wanted])
    for _, code, *message in answer.topic_errors:
        if code in {0, TopicAlreadyExistsError.errno}:  # another process of the group may have been quicker
            continue
        said = "; ".join(one for one in message if one)
        raise _not_made(topic, kafka, state, f"{for_code(code).__name__} {said}".strip())
    _log.info("state_topic_made", topic=topic)


async def _partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    """How many partitions it has; waits until it is known and each of them has a leader."""
    while True:
        [described] = await admin.describe_topics([topic])
        partitions: list[dict[str, Any]] = described["partitions"]
        if not described["error_code"] and all(one["leader"] >= 0 for one in partitions):
            return len(partitions)
        await asyncio.sleep(RETRY_SECONDS)


async def _check(admin: AIOKafkaAdminClient, topic: str, kafka: Kafka) -> None:
    """Log what of the topic's settings loses tasks, or keeps them for ever."""
    found = (await topic_settings(admin, [topic], {"cleanup.policy", "retention.ms"})).get(topic, {})
    policy, retention = found.get("cleanup.policy") or "", int(found.get("retention.ms") or -1)
    remedy = _command("kafka-configs.sh", kafka, f"--alter --entity-type topics --entity-name {topic} --add-config")
    settings = ",".join(f"{name}=[{value}]" if "," in value else f"{name}={value}" for name, value in CONFIG.items())
    if policy and "compact" not in policy:
        reason = "it is not compacted: every task that was ever submitted is read again at each start"
        _log.warning("state_topic_settings", topic=topic, reason=reason, remedy=f"{remedy} '{settings}'")
    if "delete" in policy and 0 <= retention < KEPT_SECONDS * 1000:
        reason = f"it keeps records for {retention / 3_600_000:.1f} h; results may be had for 24 h, and are lost"
        _log.warning("state_topic_settings", topic=topic, reason=reason, remedy=f"{remedy} '{settings}'")


def _not_made(topic: str, kafka: Kafka, state: State, reason: str) -> StartError:
    copies = "" if state.replication_factor is None else f" --replication-factor {state.replication_factor}"
    configs = " ".join(f"--config {name}={value}" for name, value in CONFIG.items())
    command = _command(
        "kafka-topics.sh", kafka, f"--create --topic {topic} --partitions {PARTITIONS}{copies} {configs}"
    )
    return StartError(
        f"the state topic {topic} is not there and cannot be made: {reason}",
        f"make it with: {command}; then grant our user Describe, Read and Write on it",
    )


def _command(tool: str, kafka: Kafka, rest: str) -> str:
    return f"{tool} --bootstrap-server {kafka.bootstrap_servers[0]} {rest}"
