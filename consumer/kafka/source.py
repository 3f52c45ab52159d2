"""Reading records: the consumer group's member behind the engine's `Source`, on aiokafka."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumer.errors import StartError, Stuck
from consumer.kafka.connection import (
    METADATA_CHARACTERS,
    client_options,
    close_within,
    connect,
    metadata_limit,
    require_group,
    require_topics,
)
from consumer.kafka.offsets import GroupOffsets
from consumer.record import Partition, Record


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aiokafka.admin import AIOKafkaAdminClient

    from consumer.engine.ports import Assignments
    from consumer.record import Position
    from consumer.settings.models import Kafka


__all__ = ["PARTITION_FETCH_BYTES", "KafkaSource"]


_log = structlog.get_logger(__name__)

# Small bites: a busy partition cannot starve others, and what is prefetched stays small. A broker sends a larger
# record all the same, alone.
PARTITION_FETCH_BYTES = 256 * 1024
FETCH_BYTES = 8 * 1024 * 1024

# While a broker waits for new records it takes no other fetch from us; a partition just opened should not wait long.
FETCH_WAIT_MS = 100

# A net: the group forgets a member that asks for nothing for so long.
MAX_POLL_INTERVAL_MS = 300_000

# What a rebalance takes beside the engine's own work: two heartbeats until we hear of it, and messages to and fro.
REBALANCE_MARGIN_SECONDS = 10.0


class KafkaSource:
    """A member of a consumer group. It commits and moves only when told to, and reads only what is asked for.

    Args:
        kafka: Brokers, topics, group, and where a new group starts.
        revoke_seconds: How long `Assignments.revoked` may take; the group waits for so long, and a little longer.
        commit_seconds: How long one commit may take before it counts as not done.
        leave_seconds: How long leaving the group may take when it is stopped.
        pause_after_seconds: For how long nothing may be ready before partitions are paused. Pausing throws away what
            was prefetched, so it is not for short stalls.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        revoke_seconds: float = 15.0,
        commit_seconds: float = 5.0,
        leave_seconds: float = 2.0,
        pause_after_seconds: float = 3.0,
    ) -> None:
        self._kafka = kafka
        self._revoke_seconds = revoke_seconds
        self._commit_seconds = commit_seconds
        self._leave_seconds = leave_seconds
        self._pause_after_seconds = pause_after_seconds

        self.expired: Counter[Partition] = Counter()
        """How many offsets of each partition were deleted by its topic's retention before they were read."""

        self.metadata_limit = METADATA_CHARACTERS
        """How many characters of metadata the broker takes with a committed offset; read at start."""

        self._assignments: Assignments
        self._offsets: GroupOffsets
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: Any = None
        self._failure: Exception | None = None
        self._epoch = 0
        self._assigned: set[Partition] = set()
        self._sought: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._buffers: dict[Partition, list[Record]] = {}
        self._positions: dict[Partition, int] = {}
        self._idle_since: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def start(self, assignments: Assignments) -> None:
        """Connect and join the group; the first partitions come later, through `assignments`.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        kafka = self._kafka
        self._assignments = assignments
        session = kafka.session_timeout_seconds
        rebalance = self._revoke_seconds + 2 * kafka.heartbeat_interval_seconds + REBALANCE_MARGIN_SECONDS
        try:
            self._admin = await connect(kafka)
            await require_topics(self._admin, kafka.topics, setting="kafka.topics")
            await require_group(self._admin, kafka.group_id)
            self.metadata_limit = await metadata_limit(self._admin)
            self._consumer = AIOKafkaConsumer(
                **client_options(kafka),
                group_id=kafka.group_id,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                partition_assignment_strategy=(RangePartitionAssignor,),
                session_timeout_ms=round(session * 1000),
                heartbeat_interval_ms=round(kafka.heartbeat_interval_seconds * 1000),
                rebalance_timeout_ms=round(max(session, rebalance) * 1000),
                max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
                max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            self._offsets = GroupOffsets(kafka, self._admin, self._consumer, commit_seconds=self._commit_seconds)
            await self._consumer.start()
            # Subscribed only now: a start with a subscription would wait for the whole group to settle.
            self._consumer.subscribe(list(kafka.topics), listener=_Listener(self))
        except KafkaError as error:
            await self.stop()
            raise StartError(f"the group cannot be joined: {error}", "look at the brokers' logs") from error
        except BaseException:
            await self.stop()
            raise

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """The next records of the partitions in `ready`, or nothing after the time-out.

        It keeps the time-out even while the group is rebalanced. Cancelling it does no harm: what was fetched
        meanwhile comes with the next poll.

        Raises:
            Stuck: the client or the group cannot go on.
        """
        if self._failure is not None:
            raise self._failure
        deadline = time.monotonic() + timeout_seconds
        while True:
            wanted = [partition for partition in ready if partition in self._sought]
            taken = {partition: self._buffers.pop(partition) for partition in wanted if partition in self._buffers}
            left = deadline - time.monotonic()
            if taken or left <= 0:
                return taken
            self._fetching = self._fetching or self._begin_fetch(wanted, left)
            if self._fetching is None:
                await asyncio.sleep(left)
                continue
            # Waited for, never cancelled: aiokafka counts a getmany that does not return normally as one that runs
            # for ever, and then no longer notices a member that has ceased to poll.
            await asyncio.wait({self._fetching}, timeout=left)
            if self._fetching.done():
                fetched, self._fetching = self._fetching, None
                fetched.result()

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        """What the group has committed, asked of the coordinator now; None where it has committed nothing.

        Raises:
            Stuck: the coordinator did not answer within the request's time-out, or refuses us.
        """
        return await self._offsets.committed(partitions)

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        """Set where each partition is read from next, and return these offsets.

        None stands for a partition without a position: it starts where the settings say that a new group starts.
        Partitions that are no longer ours are left out of what is returned.

        Raises:
            Stuck: the brokers do not tell where a partition starts.
        """
        epoch = self._epoch
        starts = await self._offsets.starts([partition for partition, at in positions.items() if at is None])
        if self._epoch != epoch:
            return {}
        offsets = {}
        for partition, position in positions.items():
            if partition in self._assigned:
                offset = starts[partition] if position is None else position.offset
                self._move(partition, offset)
                offsets[partition] = offset
        return offsets

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Record how far each partition is done; never moves a partition backwards.

        Returns:
            False when not all of it is known to be recorded: the group is being rebalanced, a partition is no longer
            ours, or the coordinator did not answer in time. Trying again later is right in each case.

        Raises:
            NoteRefused: the metadata of a position is larger than the broker takes.
            Stuck: the coordinator refuses it for good.
        """
        ours = {partition: at for partition, at in positions.items() if partition in self._assigned}
        return await self._offsets.commit(ours) and len(ours) == len(positions)

    async def stop(self) -> None:
        """Leave the group and disconnect, within `leave_seconds` and about two seconds more where brokers are gone."""
        self._forget()
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await self._offsets.abandon()
            client = consumer._client  # noqa: SLF001  # the only handle on its connections
            await close_within(self._leave_seconds, consumer.stop(), client)
        if self._fetching is not None:
            # Harmless only here: the count that it spoils ends with the consumer.
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
            self._fetching = None
        if admin is not None:
            await close_within(self._leave_seconds, admin.close(), admin._client)  # noqa: SLF001  # as above

    def lag(self) -> Mapping[Partition, int]:
        """How many records each partition holds beyond the position read so far, where that is known."""
        lags = {}
        for partition in self._sought:
            end = self._consumer.highwater(TopicPartition(*partition))
            if end is not None:
                lags[partition] = max(0, end - self._positions[partition])
        return lags

    def _begin_fetch(self, ready: Sequence[Partition], seconds: float) -> asyncio.Task[None] | None:
        """Start asking for these partitions; None when there is nothing to ask for yet."""
        if ready:
            self._idle_since = None
            resumed = self._paused.intersection(ready)
            self._consumer.resume(*(TopicPartition(*partition) for partition in resumed))
            self._paused -= resumed
            asked = list(ready)
        else:
            now = time.monotonic()
            self._idle_since = self._idle_since or now
            if now - self._idle_since < self._pause_after_seconds:
                return None
            # With all of them paused, asking keeps the membership and brings nothing.
            running = self._assigned - self._paused
            self._consumer.pause(*(TopicPartition(*partition) for partition in running))
            self._paused |= running
            asked = list(self._sought)
            if self._assigned and not asked:
                return None
        return asyncio.create_task(self._fetch(asked, round(seconds * 1000)))

    async def _fetch(self, asked: Sequence[Partition], timeout_ms: int) -> None:
        """Ask for records once, and keep what came for partitions whose position we have set."""
        consumer = self._consumer
        try:
            batches = await consumer.getmany(*(TopicPartition(*each) for each in asked), timeout_ms=timeout_ms)
        except NoOffsetForPartitionError:
            return  # a partition whose position is not set yet
        except OffsetOutOfRangeError as error:
            await self._out_of_range(consumer, error.args[0])
            return
        except KafkaError as error:
            raise Stuck(f"records cannot be fetched: {error!r}") from error
        # Nothing may be awaited up to here: these records fit the positions of this very moment.
        for at, records in batches.items():
            partition = Partition(*at)
            if partition in self._sought:
                self._buffers.setdefault(partition, []).extend(_record(partition, each) for each in records)
        for partition in asked:
            if partition in self._sought:
                # The consumer's own, since it also passes over transaction markers, which are no records.
                self._positions[partition] = await consumer.position(TopicPartition(*partition))

    async def _out_of_range(self, consumer: Any, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on at the log's start where retention was faster than we; stop where the log is shorter than it was."""
        epoch = self._epoch
        try:
            starts = await consumer.beginning_offsets(list(offsets))
            ends = await consumer.end_offsets(list(offsets))
        except KafkaError as error:
            raise Stuck(f"the bounds of a partition cannot be had: {error}") from error
        for at, offset in offsets.items():
            partition = Partition(*at)
            if self._epoch != epoch or partition not in self._sought:
                continue
            if offset > ends[at]:
                raise Stuck(
                    f"{partition} ends at {ends[at]}, but we are to read from {offset}: the topic was made anew or has "
                    f"lost records; set the offsets of group {self._kafka.group_id} where it should go on"
                )
            if offset < starts[at]:
                self.expired[partition] += starts[at] - offset
                _log.warning("records_expired", partition=str(partition), first=offset, next=starts[at])
                self._move(partition, starts[at])

    def _move(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(TopicPartition(*partition), offset)
        self._buffers.pop(partition, None)
        self._positions[partition] = offset
        self._sought.add(partition)

    def _take_over(self, partitions: Collection[Partition]) -> None:
        """Called with each new assignment: nothing of it is read until its positions are set."""
        self._forget()
        self._assigned = set(partitions)
        self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))
        self._paused = set(partitions)
        try:
            self._assignments.assigned(partitions)
        except Exception as error:  # noqa: BLE001  # aiokafka would log it and go on; the next poll raises it
            self._failure = error

    async def _give_up(self, partitions: Collection[Partition]) -> None:
        """Called before each rebalance, which waits for it."""
        self._sought.clear()
        self._buffers.clear()
        if partitions:
            try:
                await self._assignments.revoked(partitions)
            except Exception as error:  # noqa: BLE001  # as above
                self._failure = error
        # A commit tried again after the rebalance would carry the new generation, and undo what the next owner did.
        await self._offsets.abandon()
        self._forget()

    def _forget(self) -> None:
        self._epoch += 1
        self._assigned.clear()
        self._sought.clear()
        self._paused.clear()
        self._buffers.clear()
        self._positions.clear()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hands aiokafka's call-backs on; it logs and forgets what they raise, so they must not."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._source._give_up([Partition(*each) for each in revoked])  # noqa: SLF001  # one class in two parts

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._source._take_over([Partition(*each) for each in assigned])  # noqa: SLF001  # one class in two parts


def _record(partition: Partition, raw: Any) -> Record:
    return Record(partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers)
