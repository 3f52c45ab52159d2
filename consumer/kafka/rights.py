"""What our user may do, asked of the brokers before it is tried: on topics, groups and transactional ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from consumer.kafka.describe_groups import DescribeGroupRights


if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka.admin import AIOKafkaAdminClient


__all__ = ["Right", "group_rights", "topic_rights"]


Right = Literal["Read", "Write"]

# Kafka's own numbers of operations, which are the bits of an answer.
_BITS: Final[dict[Right, int]] = {"Read": 3, "Write": 4}

# What a broker says that was not asked, or does not know: the embedded one.
_UNTOLD: Final = -(2**31)

_METADATA: Final = 3


async def topic_rights(admin: AIOKafkaAdminClient, topics: Collection[str]) -> dict[str, frozenset[Right] | KafkaError]:
    """Our rights on topics, or why the brokers do not tell of one; those of which they tell nothing are left out.

    No topic is made by asking. When cancelled nothing has happened.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: the same.
    """
    try:
        answer = await admin._send_request(_MetadataRequest(topics))  # noqa: SLF001  # no public call for this version
    except NotImplementedError:
        return {}
    found: dict[str, frozenset[Right] | KafkaError] = {}
    for code, topic, _, _, operations in answer.topics:
        if code:
            found[topic] = for_code(code)(topic)
        elif operations != _UNTOLD:
            found[topic] = _rights(operations)
    return found


async def group_rights(admin: AIOKafkaAdminClient, group_id: str) -> frozenset[Right] | None:
    """Our rights on a group; None where the brokers do not tell.

    When cancelled nothing has happened.

    Raises:
        KafkaError: the brokers do not answer, or we may not even see the group.
        TimeoutError: the same.
    """
    coordinator = await admin.find_coordinator(group_id)
    try:
        answer = await admin._client.send(coordinator, DescribeGroupRights(group_id))  # noqa: SLF001  # as above
    except NotImplementedError:
        return None
    for code, *_, operations in answer.groups:
        if code:
            raise for_code(code)(group_id)
        if operations != _UNTOLD:
            return _rights(operations)
    return None


def _rights(operations: int) -> frozenset[Right]:
    return frozenset(right for right, bit in _BITS.items() if operations >> bit & 1)


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    """Metadata, version 8."""

    API_KEY = _METADATA
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataRequestV8(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """Metadata, version 8: the first that tells what we may do."""

    API_KEY = _METADATA
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataRequestV8]):  # type: ignore[misc]  # aiokafka ships no types
    """The request in the one version that is of use."""

    API_KEY = _METADATA

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = sorted(set(topics))

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._topics, False, False, True)
