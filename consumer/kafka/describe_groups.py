"""The request DescribeGroups in the two versions that aiokafka lacks: what we may do, and the members' own names."""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String


__all__ = ["DescribeGroupNames", "DescribeGroupRights"]


_DESCRIBE_GROUPS = 15


def _answer(*names: str) -> Schema:
    """An answer in which each member begins with these names."""
    return Schema(
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
                        *((name, String("utf-8")) for name in names),
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


_ASKED = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class _ResponseV3(Response):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 3."""

    API_KEY = _DESCRIBE_GROUPS
    API_VERSION = 3
    SCHEMA = _answer("member_id")


class _RequestV3(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 3: the first that tells what we may do."""

    API_KEY = _DESCRIBE_GROUPS
    API_VERSION = 3
    RESPONSE_TYPE = _ResponseV3
    SCHEMA = _ASKED


class _ResponseV4(Response):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 4."""

    API_KEY = _DESCRIBE_GROUPS
    API_VERSION = 4
    SCHEMA = _answer("member_id", "group_instance_id")


class _RequestV4(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """DescribeGroups, version 4: the first that tells the members' own names."""

    API_KEY = _DESCRIBE_GROUPS
    API_VERSION = 4
    RESPONSE_TYPE = _ResponseV4
    SCHEMA = _ASKED


class DescribeGroupRights(Request[_RequestV3]):  # type: ignore[misc]  # aiokafka ships no types
    """What we may do with a group, asked in version 3."""

    API_KEY = _DESCRIBE_GROUPS

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, request_struct_class: Any) -> Any:
        """The request in the version that the broker knows."""
        return request_struct_class([self._group_id], True)


class DescribeGroupNames(Request[_RequestV4]):  # type: ignore[misc]  # aiokafka ships no types
    """The members of a group with their own names, asked in version 4."""

    API_KEY = _DESCRIBE_GROUPS

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, request_struct_class: Any) -> Any:
        """The request in the version that the broker knows."""
        return request_struct_class([self._group_id], False)
