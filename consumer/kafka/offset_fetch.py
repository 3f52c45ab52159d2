"""Asking a group's coordinator for committed offsets that no open transaction can still change."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import BrokerResponseError, GroupLoadInProgressError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v1, OffsetFetchRequest_v2, OffsetFetchRequest_v3
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields


if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka.admin import AIOKafkaAdminClient


__all__ = ["UnstableOffsetError", "stable_offsets"]


OFFSET_FETCH = 9
UNSTABLE_OFFSET_COMMIT = 88


class UnstableOffsetError(BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """A transaction that is still open, or not quite ended, is about to change a committed offset."""

    errno = UNSTABLE_OFFSET_COMMIT
    message = "UNSTABLE_OFFSET_COMMIT"
    retriable = True


async def stable_offsets(
    admin: AIOKafkaAdminClient, group_id: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a group has committed for these partitions, every one of them; -1 where it has committed nothing.

    Offsets that a transaction has not committed yet, or not so that all can see it, are not told but reported. Brokers
    before 2.5 and the embedded one cannot do that, and tell what was committed before.

    It asks once, and waits no longer than two requests may take. When cancelled nothing has happened.

    Raises:
        UnstableOffsetError: a transaction is about to change one of the offsets; asking again later is right.
        KafkaError: anything else; its `retriable` says whether asking again may help, as it does where the coordinator
            has moved or is still loading.
    """
    if not partitions:
        return {}
    request = _OffsetFetchRequest(group_id, partitions)
    coordinator = await admin.find_coordinator(group_id)
    answer = await admin._client.send(coordinator, request)  # noqa: SLF001  # admin has no call for this version
    if answer.API_VERSION > 1:
        _check(answer.error_code, f"the offsets of group {group_id}")
    found = {}
    for topic, entries, *_ in answer.topics:
        for entry in entries:
            # The offset's leader epoch came in between with version 5, and tagged fields at the end with version 6.
            partition, offset = entry[:2]
            metadata, code = entry[3:5] if answer.API_VERSION >= 5 else entry[2:4]
            _check(code, f"the offset of {topic}/{partition} in group {group_id}")
            found[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata or "")
    missing = sorted(set(partitions) - set(found))
    if missing:
        # What a coordinator that is still loading does not know is no proof that there is nothing.
        topic, partition = missing[0]
        raise GroupLoadInProgressError(
            f"the coordinator of group {group_id} says nothing of {topic}/{partition} and {len(missing) - 1} others"
        )
    return found


def _check(code: int, subject: str) -> None:
    """Raise what a code stands for; `subject` is what was asked for."""
    if code == 0:
        return
    error = UnstableOffsetError if code == UNSTABLE_OFFSET_COMMIT else for_code(code)
    raise error(f"{subject} cannot be had (code {code})")


class _StableResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    """OffsetFetch, version 7."""

    API_KEY = OFFSET_FETCH
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class _StableRequest(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """OffsetFetch, version 7: the first that can ask for stable offsets only."""

    FLEXIBLE_VERSION = True
    API_KEY = OFFSET_FETCH
    API_VERSION = 7
    RESPONSE_TYPE = _StableResponse
    SCHEMA = Schema(
        ("consumer_group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class _OffsetFetchRequest(
    Request[  # type: ignore[misc]  # aiokafka ships no types
        OffsetFetchRequest_v1 | OffsetFetchRequest_v2 | OffsetFetchRequest_v3 | _StableRequest
    ]
):
    """The request in the highest version that the broker takes; the client picks it for each connection."""

    API_KEY = OFFSET_FETCH

    def __init__(self, group_id: str, partitions: Collection[TopicPartition]) -> None:
        self._group_id = group_id
        self._topics: dict[str, list[int]] = defaultdict(list)
        for topic, partition in partitions:
            self._topics[topic].append(partition)

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is _StableRequest:
            return _StableRequest(self._group_id, [(*each, {}) for each in self._topics.items()], True, {})
        return request_struct_class(self._group_id, list(self._topics.items()))
