"""Committing offsets: one commit after the other, none backwards, and each within a bounded time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    InvalidCommitOffsetSizeError,
    KafkaError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from consumer.errors import NoteRefused, Stuck
from consumer.kafka.connection import HOPELESS, remedy


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.kafka.membership import Membership
    from consumer.record import Partition, Position


__all__ = ["Commits"]


_log = structlog.get_logger(__name__)

# The coordinator writes the offsets of one request as one batch, for which a mebibyte is too much; there may be 4 KiB
# of metadata with each.
OFFSETS_AT_ONCE = 100

REBALANCED = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
REFUSED_NOTES = (InvalidCommitOffsetSizeError, OffsetMetadataTooLargeError)


class Commits:
    """The commits of one member, through one membership after the other.

    Args:
        commit_seconds: How long one commit may take before it counts as not done.
    """

    def __init__(self, *, commit_seconds: float) -> None:
        self.failing_since: float | None = None
        """Since when no commit has succeeded that was tried, on the monotonic clock; None where none has failed."""
        self._commit_seconds = commit_seconds
        self._consumer: Any = None
        self._lock = asyncio.Lock()
        self._committing: asyncio.Task[bool] | None = None
        self._epoch = 0
        self._committed: dict[Partition, int] = {}

    def attach(self, membership: Membership) -> None:
        """Commit through this membership from now on."""
        self._consumer = membership.consumer

    async def detach(self) -> None:
        """The membership is over: nothing can be committed until there is another one."""
        self._consumer = None
        await self.abandon()

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Commit positions of partitions that are ours.

        Cancelling it does not call back what is on its way.

        Returns:
            False when it is not known to be recorded: the group is being rebalanced, the brokers are away, or there was
            no answer in time.

        Raises:
            NoteRefused: the metadata of a position is larger than the broker takes.
            Stuck: we may not commit.
        """
        epoch = self._epoch
        try:
            async with asyncio.timeout(self._commit_seconds), self._lock:
                if self._committing is not None:
                    await asyncio.wait({self._committing})
                if self._epoch != epoch or self._consumer is None:
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
            self._failed("no answer yet")
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
        self.failing_since = None

    async def _attempt(self, positions: Mapping[Partition, Position]) -> bool:
        self._committed.update({partition: at.offset for partition, at in positions.items()})
        offsets = [(TopicPartition(*partition), OffsetAndMetadata(*at)) for partition, at in positions.items()]
        try:
            for first in range(0, len(offsets), OFFSETS_AT_ONCE):
                await self._consumer.commit(dict(offsets[first : first + OFFSETS_AT_ONCE]))
        except REBALANCED:
            return False
        except REFUSED_NOTES as error:
            raise NoteRefused("the broker takes no metadata of this length") from error
        except HOPELESS as error:
            raise Stuck(f"offsets cannot be committed: {error}; {remedy(error)}") from error
        except KafkaError as error:
            self._failed(repr(error))
            return False
        self.failing_since = None
        return True

    def _failed(self, reason: str) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            _log.warning("commits_fail", reason=reason)


def _heard(attempt: asyncio.Task[bool]) -> None:
    """Take note of an attempt's failure even when nobody waits for it any more."""
    if not attempt.cancelled():
        attempt.exception()
