"""Static membership: finding out that another process has joined the group under our name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.kafka.describe_groups import DescribeGroupNames


if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient


__all__ = ["member_named"]


async def member_named(admin: AIOKafkaAdminClient, group_id: str, instance_id: str) -> str | None:
    """The member id that the group knows for a `group.instance.id`; None where it has no such member.

    Brokers say FENCED_INSTANCE_ID to whom another process has replaced, but only in answers to requests that carry the
    name, and aiokafka knows neither that error nor such heartbeats: all that it sees is a member that is not known any
    more, as after a session that has expired.

    Raises:
        KafkaError: the coordinator does not answer, or does not know of static members (before 2.4).
    """
    coordinator = await admin.find_coordinator(group_id)
    answer = await admin._client.send(coordinator, DescribeGroupNames(group_id))  # noqa: SLF001  # no public call
    for _, _, _, _, _, members, _ in answer.groups:
        for member_id, name, *_ in members:
            if name == instance_id:
                return str(member_id)
    return None
