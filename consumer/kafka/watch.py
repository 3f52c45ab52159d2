"""Finding out that a client no longer gets on although the brokers are there: aiokafka does not always recover."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from consumer.errors import StartError
from consumer.kafka.connection import options_to_start
from consumer.kafka.list_offsets import LATEST, list_offsets
from consumer.kafka.membership import request_seconds


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from consumer.kafka.membership import Membership
    from consumer.record import Partition
    from consumer.settings.models import Kafka


__all__ = ["Watch"]


# What a question to a broker that is well may take.
PROBE_SECONDS = 5.0


class Watch:
    """Gathers what does not get on, and says when that is the client's own fault.

    While brokers are away a client is left alone: another one could not do more, and to leave the group costs what is
    in flight. Only what still fails some time after the brokers answer somebody else is a complaint.

    Args:
        kafka: The brokers, and how long a request may take.
        stall_seconds: For how long something has to fail.
        coordinator_answers: Asks the group's coordinator for something, not through the consumer.
        now: The monotonic clock.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        stall_seconds: float,
        coordinator_answers: Callable[[], Awaitable[bool]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._stall_seconds = stall_seconds
        self._coordinator_answers = coordinator_answers
        # A request may be waiting for a broker that is silent while the others are well.
        self._silence_seconds = max(stall_seconds, request_seconds(kafka) + PROBE_SECONDS)
        self._now = now
        self._moved = False
        self._positions: dict[Partition, int] = {}
        self._in_vain: dict[Partition, float] = {}
        self._behind: dict[Partition, int] = {}
        self._reaching_since: float | None = None
        self._answering_since: float | None = None

    def forget(self) -> None:
        """Begin anew: with other partitions, or another client."""
        self._moved = False
        self._positions.clear()
        self._in_vain.clear()
        self._behind.clear()
        self._reaching_since = self._answering_since = None

    def moved(self) -> None:
        """The client has got something done."""
        self._moved = True

    def asked(self, partition: Partition, position: int, seconds: float) -> None:
        """A partition was asked for records for so long, and is read up to this position now."""
        if self._positions.get(partition) == position:
            self._in_vain[partition] = self._in_vain.get(partition, 0.0) + seconds
        else:
            self._moved = True
            self._positions[partition] = position
            self._in_vain[partition] = 0.0
            self._behind.pop(partition, None)

    async def complaint(self, membership: Membership, failing: Mapping[str, tuple[float, float]]) -> str | None:
        """Why this client should be replaced; None while it need not be. To be asked every few seconds.

        Args:
            membership: Whose client it is.
            failing: What has failed since when, on the monotonic clock, and for how many seconds it may.
        """
        moved, self._moved = self._moved, False
        now = self._now()
        if not moved and not await membership.reaches_brokers(PROBE_SECONDS):
            self._reaching_since = None
            self._behind.clear()
            if not await self._brokers_answer():
                self._answering_since = None
                return None
            self._answering_since = self._answering_since or now
            return "unreachable" if now - self._answering_since >= self._silence_seconds else None
        self._answering_since = None
        self._reaching_since = self._reaching_since or now
        if await self._stalled(membership):
            return "stalled"
        for what, (since, seconds) in failing.items():
            if now - max(since, self._reaching_since) >= seconds and await self._coordinator_answers():
                return what
        return None

    async def _stalled(self, membership: Membership) -> bool:
        """Whether records of a partition were asked for in vain, twice for as long as it may take, and are there."""
        waiting = {
            partition: self._positions[partition]
            for partition, seconds in self._in_vain.items()
            if seconds >= self._stall_seconds
        }
        if not waiting:
            return False
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                ends = await list_offsets(membership.consumer, waiting, LATEST, committed_only=True)
        except (KafkaError, TimeoutError):
            return False
        # The brokers may have come back just now: one more period shows whether the client has noticed.
        stalled = False
        for partition, position in waiting.items():
            if self._positions.get(partition) != position:
                continue
            self._in_vain[partition] = 0.0
            if ends.get(partition, position) <= position:
                self._behind.pop(partition, None)
            else:
                stalled = stalled or self._behind.get(partition) == position
                self._behind[partition] = position
        return stalled

    async def _brokers_answer(self) -> bool:
        """Whether any broker takes a connection of its own."""
        try:
            await options_to_start(self._kafka)
        except StartError:
            return False
        return True
