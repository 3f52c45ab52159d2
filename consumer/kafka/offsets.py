"""Where partitions start: what the group has committed, what it has not, and what their logs still hold."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, KafkaError

from consumer.errors import Stuck
from consumer.kafka.connection import HOPELESS, remedy
from consumer.kafka.list_offsets import EARLIEST, LATEST, list_offsets
from consumer.kafka.offset_fetch import stable_offsets
from consumer.kafka.stamps import stamp, survey, unstamped
from consumer.record import Partition, Position


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from consumer.kafka.membership import Membership
    from consumer.settings.models import Kafka


__all__ = ["GroupOffsets", "Start"]


_log = structlog.get_logger(__name__)

# How long to wait before asking again: doubled each time.
RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 2.0

# How often to say that there still is no answer.
SAY_SECONDS = 30.0

# For how long the bounds of a log are asked for where they are not needed to start: a start beyond them is found out by
# reading as well.
BOUNDS_SECONDS = 5.0

# A leader that was deposed and has not heard of it knows of less: a log that seems to be too short is looked at again.
SECOND_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition is read from. `expired` offsets before it were deleted before they were read.

    Where the log ends before the offset, at `log_end`, there is nothing to be read.
    """

    offset: int
    expired: int = 0
    log_end: int | None = None


class GroupOffsets:
    """The offsets of one group, asked through one membership after the other.

    Args:
        kafka: The group, and where a new group starts.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._membership: Membership | None = None
        self._attached = asyncio.Event()
        self._counts: dict[str, int] = {}
        self._new: set[Partition] = set()
        self._known: set[str] = set()
        self.stamping = True
        """Whether the brokers take metadata that is long enough for a stamp."""

    def attach(self, membership: Membership) -> None:
        """Ask through this membership from now on."""
        self._membership = membership
        self._attached.set()

    async def detach(self) -> None:
        """The membership is over; who asks waits for the next one."""
        self._membership = None
        self._attached.clear()

    async def committed(self, partitions: Collection[Partition]) -> dict[Partition, Position | None]:
        """What the group has committed, asked of the coordinator now; None where it has committed nothing.

        It asks for as long as the coordinator is away, or a transaction may still change an offset. When cancelled
        nothing has happened.

        Raises:
            Stuck: we may not read the group's offsets.
        """
        patience = _Patience("offsets_unavailable")
        while True:
            await self._attached.wait()
            try:
                found = await self._fetch(partitions)
                await self._survey(found)
            except HOPELESS as error:
                raise Stuck(f"the group's offsets cannot be read: {error}; {remedy(error)}") from error
            except (KafkaError, TimeoutError) as error:
                await patience.wait(error)
            else:
                return {
                    partition: None if at is None else Position(at.offset, unstamped(at.metadata)[1])
                    for partition, at in found.items()
                }

    def recorded(self, positions: Mapping[Partition, Position]) -> None:
        """These were committed: their topics are known to the group."""
        self._known.update(partition.topic for partition in positions)

    def stamped(self, positions: Mapping[Partition, Position]) -> dict[Partition, Position]:
        """Positions with the count of their topic's partitions in front of the metadata; `committed` takes it off.

        The count is known once `committed` was asked for a partition of the topic.
        """
        return {
            partition: Position(at.offset, stamp(self._counts[partition.topic], at.metadata))
            if self.stamping and partition.topic in self._counts
            else at
            for partition, at in positions.items()
        }

    async def answers(self) -> bool:
        """Whether the coordinator tells us offsets now."""
        if self._membership is None:
            return False
        try:
            async with asyncio.timeout(BOUNDS_SECONDS):
                await self._fetch([Partition(self._kafka.topics[0], 0)], stable=False)
        except (KafkaError, TimeoutError):
            return False
        return True

    async def starts(
        self, positions: Mapping[Partition, Position | None], *, wanted: Callable[[], bool]
    ) -> dict[Partition, Start]:
        """Where to read from: the positions, as far as their logs hold them, and a start where there is none.

        A partition without a position starts where the settings say, or at its log's start where `committed` has found
        that it is new to a topic that the group knows. It asks until the leaders of those have answered, or until it is
        not `wanted` any more: then it returns nothing. When cancelled nothing has happened.

        Raises:
            Stuck: we may not read a topic.
        """
        patience = _Patience("starts_unavailable")
        give_up = time.monotonic() + BOUNDS_SECONDS
        known: dict[Partition, Start] = {}
        while wanted():
            left = {partition: at for partition, at in positions.items() if partition not in known}
            error: Exception | None = None
            if self._membership is not None:
                try:
                    known |= await self._placed({each: at.offset for each, at in left.items() if at is not None})
                    known |= await self._begun([each for each, at in left.items() if at is None])
                except HOPELESS as refusal:
                    raise Stuck(f"the bounds of a partition cannot be had: {refusal}; {remedy(refusal)}") from refusal
                except KafkaError as failure:
                    error = failure
            missing = positions.keys() - known.keys()
            if not missing:
                return known
            if time.monotonic() >= give_up and all(positions[partition] is not None for partition in missing):
                return known | {each: Start(at.offset) for each in missing if (at := positions[each]) is not None}
            await patience.wait(error or f"no leader for {', '.join(map(str, sorted(missing)))}")
        return {}

    async def bounded(self, offsets: Mapping[Partition, int]) -> dict[Partition, Start]:
        """Where partitions go on whose logs do not hold these offsets; without those whose leaders do not answer.

        When cancelled nothing has happened.

        Raises:
            KafkaError: we may not read a topic.
        """
        return await self._placed(offsets)

    async def _placed(self, offsets: Mapping[Partition, int]) -> dict[Partition, Start]:
        placed = await self._bounds(offsets)
        short = {partition: offsets[partition] for partition, start in placed.items() if start.log_end is not None}
        if short and self._membership is not None:
            await self._membership.reaches_brokers(BOUNDS_SECONDS)
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            placed = {each: start for each, start in placed.items() if each not in short} | await self._bounds(short)
        return placed

    async def _bounds(self, offsets: Mapping[Partition, int]) -> dict[Partition, Start]:
        if self._membership is None or not offsets:
            return {}
        consumer = self._membership.consumer
        # In this order: a log that is deleted from the front meanwhile must not look as if it ended before its start.
        first = await list_offsets(consumer, offsets, EARLIEST)
        end = await list_offsets(consumer, offsets, LATEST)
        return {
            partition: _start(offsets[partition], first[partition], end[partition])
            for partition in first.keys() & end.keys()
        }

    async def _begun(self, partitions: Collection[Partition]) -> dict[Partition, Start]:
        if self._membership is None or not partitions:
            return {}
        consumer, start = self._membership.consumer, self._kafka.start
        early = partitions if start == "earliest" else self._new.intersection(partitions)
        offsets = await list_offsets(consumer, early, EARLIEST)
        others = set(partitions).difference(early)
        if others:
            offsets |= await list_offsets(consumer, others, LATEST, committed_only=True)
        if others and not isinstance(start, str):
            # A time without a zone is taken as UTC, as Kafka's own timestamps are.
            moment = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
            found = await list_offsets(consumer, others, round(moment.timestamp() * 1000))
            # Without a record from then on it is the end; without an answer it is not known yet.
            offsets = {each: at for each, at in offsets.items() if each not in others or each in found}
            offsets |= {each: at for each, at in found.items() if at >= 0 and each in offsets}
        return {partition: Start(offset) for partition, offset in offsets.items()}

    async def _fetch(
        self, partitions: Collection[Partition], *, stable: bool = True
    ) -> dict[Partition, Position | None]:
        if self._membership is None or not partitions:
            return {}
        admin, group = self._membership.admin, self._kafka.group_id
        asked = [TopicPartition(*partition) for partition in partitions]
        if stable:
            found = await stable_offsets(admin, group, asked)
        else:
            found = await admin.list_consumer_group_offsets(group, partitions=asked)
            if len(found) < len(asked):
                # What a coordinator that is still loading does not know is no proof that there is nothing.
                raise GroupLoadInProgressError(group)
        return {
            Partition(*partition): Position(at.offset, at.metadata or "") if at.offset >= 0 else None
            for partition, at in found.items()
        }

    async def _survey(self, committed: Mapping[Partition, Position | None]) -> None:
        """Find out which partitions are new to a topic that the group knows, and how many it had before them."""
        for topic in {partition.topic for partition in committed}:
            ours = {partition.partition: at for partition, at in committed.items() if partition.topic == topic}
            if all(at is not None and unstamped(at.metadata)[0] is not None for at in ours.values()):
                found = survey(ours)
            else:
                # Offsets that another member's transaction is about to change are as good: only stamps are looked for.
                others = [Partition(topic, number) for number in range(self._size(topic, ours)) if number not in ours]
                theirs = await self._fetch(others, stable=False)
                found = survey(ours | {partition.partition: at for partition, at in theirs.items()})
            self._counts[topic] = found.count
            self._new = {each for each in self._new if each.topic != topic}
            self._new |= {Partition(topic, number) for number in found.new}
            if not found.unknown:
                self._known.add(topic)
            elif topic in self._known:
                # Its offsets went with it when it was deleted: whatever it holds now came since.
                self._new |= {Partition(topic, number) for number in ours}

    def _size(self, topic: str, ours: Collection[int]) -> int:
        """How many partitions a topic has, as far as is known here."""
        known: Collection[int] = ()
        if self._membership is not None:
            known = self._membership.consumer.partitions_for_topic(topic) or ()
        return 1 + max([*known, *ours])


class _Patience:
    """Waits between attempts, longer each time, and says now and then that there was no answer yet."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._seconds = RETRY_SECONDS
        self._said_at = time.monotonic() - SAY_SECONDS + LONGEST_RETRY_SECONDS

    async def wait(self, reason: object) -> None:
        if time.monotonic() - self._said_at >= SAY_SECONDS:
            self._said_at = time.monotonic()
            _log.warning(self._event, reason=repr(reason) if isinstance(reason, Exception) else str(reason))
        await asyncio.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, LONGEST_RETRY_SECONDS)


def _start(offset: int, first: int, end: int) -> Start:
    if offset < first:
        return Start(first, expired=first - offset)
    return Start(offset, log_end=end if offset > end else None)
