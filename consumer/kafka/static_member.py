"""Static membership: finding out that another process has joined the group under our name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String


if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient


__all__ = ["member_named"]


DESCRIBE_GROUPS = 15


async def member_named(admin: AIOKafkaAdminClient, group_id: str, instance_id: str) -> str | None:
    """The member id that the group knows for a `group.instance.id`; None where it has no such member.

    Brokers say FENCED_INSTANCE_ID to whom another process has replaced, but only in answers to requests that carry the
    name, and aiokafka knows neither that error nor such heartbeats: all that it sees is a member that is not known any
    more, as after a session that has expired.

    Raises:
        KafkaError: the coordinator does not answer, or does not know of static members (before 2.4).
    """
    coordinator = await admin.find_coordinator(group_id)
    answer = await admin._client.send(coordinator, _DescribeGroupsRequest(group_id))  # noqa: SLF001  # no public call
    for _, _, _, _, _, members, _ in answer.groups:
        for member_id, name, *_ in members:
            if name == instance_id:
                return str(member_id)
    return None


class _DescribeResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 4."""

    API_KEY = DESCRIBE_GROUPS
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", String("utf-8")),
                ("state", String("utf-8")),
                ("protocol_type", String("utf-8")),
                ("protocol", String("utf-8")),
                (
                    "members",
                    Array(
                        ("member_id", String("utf-8")),
                        ("group_instance_id", String("utf-8")),
                        ("client_id", String("utf-8")),
                        ("client_host", String("utf-8")),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _DescribeRequest(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 4: the first that tells the members' own names."""

    API_KEY = DESCRIBE_GROUPS
    API_VERSION = 4
    RESPONSE_TYPE = _DescribeResponse
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class _DescribeGroupsRequest(Request[_DescribeRequest]):  # type: ignore[misc]  # aiokafka ships no types
    """The request in the one version that is of use."""

    API_KEY = DESCRIBE_GROUPS

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([self._group_id], False)
