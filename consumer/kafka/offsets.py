"""A consumer group's offsets: what it has committed, committing, and where a partition without any starts."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from consumer.errors import NoteRefused, Stuck
from consumer.kafka.connection import FORBIDDEN
from consumer.record import Partition, Position


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiokafka.admin import AIOKafkaAdminClient

    from consumer.settings.models import Kafka


__all__ = ["GroupOffsets"]


_log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.1

REBALANCED = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class GroupOffsets:
    """The offsets of one group, through the clients of one member.

    Args:
        kafka: The group, and where a new group starts.
        admin: Asks the coordinator; a consumer tells only what it knew before, and no metadata.
        consumer: The member that commits.
        commit_seconds: How long one commit may take before it counts as not done.
    """

    def __init__(self, kafka: Kafka, admin: AIOKafkaAdminClient, consumer: Any, *, commit_seconds: float) -> None:
        self._kafka = kafka
        self._admin = admin
        self._consumer = consumer
        self._commit_seconds = commit_seconds
        self._lock = asyncio.Lock()
        self._committing: asyncio.Task[bool] | None = None
        self._epoch = 0
        self._committed: dict[Partition, int] = {}

    async def committed(self, partitions: Collection[Partition]) -> dict[Partition, Position | None]:
        """What the group has committed, asked of the coordinator now; None where it has committed nothing.

        Raises:
            Stuck: the coordinator did not answer within the request's time-out, or refuses us.
        """
        if not partitions:
            return {}
        wanted = [TopicPartition(*partition) for partition in partitions]
        seconds = self._kafka.request_timeout_seconds
        reason: object = "it is still loading"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        found = await self._admin.list_consumer_group_offsets(self._kafka.group_id, partitions=wanted)
                    except FORBIDDEN as error:
                        raise Stuck(f"we may not read the group's offsets: {error}") from error
                    except KafkaError as error:
                        reason = error
                    else:
                        # A coordinator that is still loading answers without the partitions; that is not "none".
                        if all(partition in found for partition in wanted):
                            break
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError as error:
            raise Stuck(f"the coordinator did not tell the group's offsets for {seconds:.0f} s: {reason}") from error
        return {
            Partition(*partition): Position(at.offset, at.metadata or "") if at.offset >= 0 else None
            for partition, at in found.items()
        }

    async def starts(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Where the settings have partitions start that have no position.

        Raises:
            Stuck: the brokers do not tell.
        """
        if not partitions:
            return {}
        wanted = [TopicPartition(*partition) for partition in partitions]
        start = self._kafka.start
        try:
            if start == "earliest":
                offsets = await self._consumer.beginning_offsets(wanted)
            else:
                offsets = await self._consumer.end_offsets(wanted)
                if start != "latest":
                    # A time without a zone is taken as UTC, as Kafka's own timestamps are.
                    moment = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
                    since = round(moment.timestamp() * 1000)
                    found = await self._consumer.offsets_for_times(dict.fromkeys(wanted, since))
                    offsets |= {at: first.offset for at, first in found.items() if first is not None}
        except KafkaError as error:
            raise Stuck(f"the brokers do not tell where to start: {error}") from error
        return {Partition(*at): offset for at, offset in offsets.items()}

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Commit positions of partitions that are ours, one commit after the other, and none backwards.

        Cancelling it does not call back what is on its way.

        Returns:
            False when it is not known to be recorded: the group is being rebalanced, or there was no answer in time.

        Raises:
            NoteRefused: the metadata of a position is larger than the broker takes.
            Stuck: the coordinator refuses it for good.
        """
        epoch = self._epoch
        try:
            async with asyncio.timeout(self._commit_seconds), self._lock:
                if self._committing is not None:
                    await asyncio.wait({self._committing})
                if self._epoch != epoch:
                    return False
                wanted = {
                    partition: at
                    for partition, at in positions.items()
                    if at.offset >= self._committed.get(partition, 0)
                }
                if not wanted:
                    return True
                # A task of its own: aiokafka tries again without end, and an attempt on its way cannot be called back,
                # so the next commit waits for this one instead of overtaking it.
                attempt = self._committing = asyncio.create_task(self._attempt(wanted))
                attempt.add_done_callback(_heard)
                await asyncio.wait({attempt})
                return not attempt.cancelled() and attempt.result()
        except TimeoutError:
            _log.warning("commit_unanswered", seconds=self._commit_seconds)
            return False

    async def abandon(self) -> None:
        """Let go of a commit that is still being tried, and of what was committed: the partitions change hands.

        Tried again after a rebalance it would carry the new generation, and undo what the next owner did.
        """
        self._epoch += 1
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.cancel()
            await asyncio.wait({committing})
        self._committed.clear()

    async def _attempt(self, positions: Mapping[Partition, Position]) -> bool:
        self._committed.update({partition: at.offset for partition, at in positions.items()})
        try:
            await self._consumer.commit(
                {TopicPartition(*partition): OffsetAndMetadata(*at) for partition, at in positions.items()}
            )
        except REBALANCED:
            return False
        except OffsetMetadataTooLargeError as error:
            raise NoteRefused("the broker takes no metadata of this length") from error
        except KafkaError as error:
            raise Stuck(f"offsets cannot be committed: {error}") from error
        return True


def _heard(attempt: asyncio.Task[bool]) -> None:
    """Take note of an attempt's failure even when nobody waits for it any more."""
    if not attempt.cancelled():
        attempt.exception()
