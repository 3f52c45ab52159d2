"""One stay in the consumer group: a consumer and an admin client that come, and go, together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    CommitFailedError,
    InconsistentGroupProtocolError,
    KafkaError,
    NoError,
    RebalanceInProgressError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from consumer.errors import Stuck
from consumer.kafka.connection import AFTERMATH_SECONDS, HOPELESS, close_within, connect, options_to_start, remedy
from consumer.kafka.static_member import member_named
from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor

    from consumer.settings.models import Kafka


__all__ = ["PARTITION_FETCH_BYTES", "Membership", "Owner", "explained", "request_seconds"]


# Small bites: a busy partition cannot starve others, and what is prefetched stays small. A broker sends a larger
# record all the same. An answer is copied several times before its records are taken out.
PARTITION_FETCH_BYTES = 256 * 1024
FETCH_BYTES = 2 * 1024 * 1024

# While a broker waits for new records it takes no other fetch from us; a partition just opened should not wait long.
FETCH_WAIT_MS = 100

# A net: the group forgets a member that asks for nothing for so long.
MAX_POLL_INTERVAL_MS = 300_000

# What a request that others hold up may take beyond the time that they have for it.
ANSWER_MARGIN_SECONDS = 5.0

# No other request may wait for a silent broker for long: the group forgets us before another one is asked. But a
# broker may be busy for a while.
LEAST_REQUEST_SECONDS = 5.0


class Owner(Protocol):
    """Who is told of the group's assignments by the membership that is theirs."""

    def taken_over(self, partitions: Collection[Partition]) -> None:
        """These are all partitions of the membership from now on. It must not raise."""
        ...

    async def given_up(self, partitions: Collection[Partition]) -> None:
        """The group is about to be rebalanced, and waits for this to return. It must not raise."""
        ...

    def failure(self, error: Exception) -> None:
        """The membership is lost, and joining anew would not help."""
        ...


class Membership:
    """A consumer that is in the group, or on its way into it, and an admin client for what it cannot ask itself.

    aiokafka looks its bootstrap servers up only once, and some of its failures last: a membership that no longer gets
    on is left, and another one begun.
    """

    def __init__(self, kafka: Kafka, admin: AIOKafkaAdminClient, consumer: Any) -> None:
        self.admin = admin
        self.consumer = consumer
        self.deaf = False
        """Whether its owner hears nothing of it any more."""
        self._kafka = kafka
        self._member_id = ""
        self._replaced = False

    @classmethod
    async def begin(
        cls,
        kafka: Kafka,
        *,
        assignor: type[AbstractPartitionAssignor],
        rebalance_seconds: float,
        metadata_max_age_seconds: float,
    ) -> Self:
        """Connect; `join` comes next, and `leave` in the end.

        Args:
            kafka: Brokers and group.
            assignor: The one assignor; aiokafka would join once for each if there were more.
            rebalance_seconds: How long the group waits for its members in a rebalance.
            metadata_max_age_seconds: How old the list of partitions may become.

        Raises:
            StartError: the brokers cannot be reached, or refuse us.
            KafkaError: they stopped answering while we connected.
        """
        options = await options_to_start(kafka)
        admin = await connect(kafka, options)
        consumer = AIOKafkaConsumer(
            **{**options, "request_timeout_ms": round(request_seconds(kafka) * 1000)},
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=(assignor,),
            session_timeout_ms=round(kafka.session_timeout_seconds * 1000),
            heartbeat_interval_ms=round(kafka.heartbeat_interval_seconds * 1000),
            rebalance_timeout_ms=round(rebalance_seconds * 1000),
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            metadata_max_age_ms=round(metadata_max_age_seconds * 1000),
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        membership = cls(kafka, admin, consumer)
        try:
            await consumer.start()
        except BaseException:
            await membership.leave(AFTERMATH_SECONDS)
            raise
        membership._mend_requests(rebalance_seconds + ANSWER_MARGIN_SECONDS)
        return membership

    def join(self, owner: Owner) -> None:
        """Begin to join the group; the owner hears of the first assignment later."""
        # Subscribed only now: a start with a subscription would wait for the whole group to settle.
        self.consumer.subscribe(list(self._kafka.topics), listener=_Listener(self, owner))

    async def leave(self, seconds: float) -> None:
        """Leave the group and disconnect, within about so long and two seconds more where brokers are gone.

        The owner hears of nothing any more. When cancelled, the connections are cut all the same.
        """
        self.deaf = True
        coordinator, fetcher = self.consumer._coordinator, self.consumer._fetcher  # noqa: SLF001  # no public handles
        client = self.consumer._client  # noqa: SLF001  # as above
        try:
            if self._replaced:
                # Its last act would be to join, and to replace the process that has replaced us.
                await _end({coordinator._coordination_task})  # noqa: SLF001  # as above
            await close_within(seconds, self.consumer.stop(), client)
        finally:
            # A stop that breaks off leaves tasks behind.
            tasks = {client._sync_task}  # noqa: SLF001  # as above
            if coordinator is not None:
                tasks |= {
                    coordinator._coordination_task,  # noqa: SLF001  # as above
                    coordinator._heartbeat_task,  # noqa: SLF001  # as above
                    coordinator._commit_refresh_task,  # noqa: SLF001  # as above
                }
            if fetcher is not None:
                tasks |= {fetcher._fetch_task, *fetcher._pending_tasks}  # noqa: SLF001  # as above
            await _end({task for task in tasks if task is not None})
            await close_within(seconds, self.admin.close(), self.admin._client)  # noqa: SLF001  # as above

    async def reaches_brokers(self, seconds: float) -> bool:
        """Whether the consumer can ask any broker for anything; False when it takes longer than this."""
        try:
            async with asyncio.timeout(seconds):
                return bool(await self.consumer._client.force_metadata_update())  # noqa: SLF001  # no public call
        except TimeoutError:
            return False

    async def replaced(self) -> bool:
        """Whether another process has joined the group under our `group_instance_id` since we did."""
        if self._kafka.group_instance_id is None or not self._member_id:
            return False
        try:
            async with asyncio.timeout(LEAST_REQUEST_SECONDS):
                named = await member_named(self.admin, self._kafka.group_id, self._kafka.group_instance_id)
        except (KafkaError, NotImplementedError, TimeoutError):
            return False
        self._replaced = named is not None and named != self._member_id
        return self._replaced

    async def stuck(self, error: KafkaError) -> Stuck | None:
        """What an error means that neither waiting nor joining anew will mend; None for any other."""
        if isinstance(error, HOPELESS):
            return Stuck(f"records cannot be read: {error}; {remedy(error)}")
        return self.replacement() if await self.replaced() else None

    def replacement(self) -> Stuck:
        """What `replaced` means, and what to do about it."""
        return Stuck(
            f"another process has joined group {self._kafka.group_id} under kafka.group_instance_id "
            f"{self._kafka.group_instance_id!r}, and has this one's partitions now: give each replica a name of its "
            "own, such as its StatefulSet pod's"
        )

    def _mend_requests(self, seconds: float) -> None:
        """Give requests whose answers come when all members have joined the time for that; aiokafka knows but one.

        And send no commit as nobody's: an empty group takes those, so that a member that was replaced, and has lost its
        name, would undo what the last owner did before it left.
        """
        coordinator = self.consumer._coordinator  # noqa: SLF001  # no public handle
        client = self.consumer._client  # noqa: SLF001  # as above
        send = coordinator._send_req  # noqa: SLF001  # as above

        async def send_and_wait(request: Any) -> Any:
            if isinstance(request, OffsetCommitRequest) and not coordinator.member_id:
                raise CommitFailedError
            node = coordinator.coordinator_id
            if node is None or not isinstance(request, JoinGroupRequest | SyncGroupRequest):
                return await send(request)
            connection = await client._get_conn(node, group=ConnectionGroup.COORDINATION)  # noqa: SLF001  # as above
            if connection is None:
                return await send(request)
            usual = connection._request_timeout  # noqa: SLF001  # as above
            connection._request_timeout = seconds  # noqa: SLF001  # as above
            try:
                return await send(request)
            finally:
                connection._request_timeout = usual  # noqa: SLF001  # as above

        coordinator._send_req = send_and_wait  # noqa: SLF001  # as above

    @property
    def known_to_the_group(self) -> bool:
        """Whether the group has not told us yet that it does not know us any more."""
        return bool(self.consumer._coordinator.member_id)  # noqa: SLF001  # no public call

    async def vouch(self, seconds: float) -> bool:
        """Send a heartbeat of our own, and say whether the group has taken it within so long.

        When cancelled, it may have been taken.
        """
        coordinator = self.consumer._coordinator  # noqa: SLF001  # no public call
        node = coordinator.coordinator_id
        if node is None or not self.known_to_the_group:
            return False
        # Not the client's own heartbeat: answered after a rebalance, that one would make it leave its new generation.
        request = HeartbeatRequest(coordinator.group_id, coordinator.generation, coordinator.member_id)
        try:
            async with asyncio.timeout(seconds):
                answer = await self.consumer._client.send(node, request, group=ConnectionGroup.COORDINATION)  # noqa: SLF001  # as above
        except (KafkaError, TimeoutError):
            return False
        return for_code(answer.error_code) in {NoError, RebalanceInProgressError}

    def joined(self) -> None:
        """Remember under which id; called with each assignment."""
        self._member_id = self.consumer._coordinator.member_id  # noqa: SLF001  # no public call


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hands aiokafka's call-backs on."""

    def __init__(self, membership: Membership, owner: Owner) -> None:
        self._membership = membership
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        membership = self._membership
        if membership.deaf:
            return
        await self._owner.given_up([Partition(*each) for each in revoked])
        if not membership.known_to_the_group and await membership.replaced():
            self._owner.failure(membership.replacement())
            # When this returns aiokafka joins again under the same name; `leave` ends the wait.
            await asyncio.Event().wait()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        if self._membership.deaf:
            return
        self._membership.joined()
        self._owner.taken_over([Partition(*each) for each in assigned])


def explained(error: KafkaError) -> str:
    """What an error means, where it says too little itself."""
    if isinstance(error, InconsistentGroupProtocolError):
        return "the group has members of another kafka.scale, or of another program: they have to leave it first"
    return repr(error)


def request_seconds(kafka: Kafka) -> float:
    """How long a member's request may take, unless it waits for other members."""
    return min(kafka.request_timeout_seconds, max(LEAST_REQUEST_SECONDS, kafka.session_timeout_seconds / 3))


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks of aiokafka's that are still running, and wait a moment for them to end."""
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=AFTERMATH_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # nobody needs what they did any more
