"""Reading records: the consumer group's member behind the engine's `Source`, on aiokafka."""

from __future__ import annotations

import asyncio
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from consumer.errors import StartError
from consumer.kafka.assignors import assignor
from consumer.kafka.commits import Commits
from consumer.kafka.connection import (
    METADATA_CHARACTERS,
    metadata_limit,
    require_group,
    require_topics,
)
from consumer.kafka.keeper import Keeper
from consumer.kafka.membership import PARTITION_FETCH_BYTES, explained
from consumer.kafka.offsets import GroupOffsets
from consumer.kafka.places import Places
from consumer.kafka.reader import Reader
from consumer.kafka.stamps import STAMP_CHARACTERS
from consumer.kafka.watch import Watch
from consumer.metrics import Metrics


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.engine.ports import Assignments
    from consumer.kafka.membership import Membership
    from consumer.record import Partition, Position, Record
    from consumer.settings.models import Kafka


__all__ = ["PARTITION_FETCH_BYTES", "KafkaSource"]


_log = structlog.get_logger(__name__)

# How long the group may take to say whether we are one of its members.
VOUCH_SECONDS = 2.0

# What a rebalance takes beside the engine's own work: two heartbeats until we hear of it, and messages to and fro.
REBALANCE_MARGIN_SECONDS = 10.0

# How long the client may go on failing before it is replaced: what passes by itself takes less.
FAILING_SECONDS = 5.0

# Less than most look at the lag.
LOOK_AHEAD_SECONDS = 5.0

ONE_TOKEN = MappingProxyType({"calls": 1})


class KafkaSource:
    """A member of a consumer group. It commits and moves only when told to, and reads only what is asked for.

    After a successful start no outage of brokers ends it. Where the client does not recover by itself it is replaced:
    the partitions are revoked, the group is left, and joined anew.

    Args:
        kafka: Brokers, topics, group, how its members share the work, and where a new group starts.
        limits: The account's limits by bucket, in calls a second, for the assignor to hand out.
        handed_out: Called with each assignment, before its partitions are announced: this member's whole tokens.
        metrics: Where trouble is counted.
        revoke_seconds: How long `Assignments.revoked` may take; the group waits for so long, and a little longer.
        commit_seconds: How long one commit may take before it counts as not done.
        leave_seconds: How long leaving the group may take when it is stopped.
        pause_after_seconds: For how long a partition may not be wanted before it is paused. Pausing throws away what
            was prefetched, so it is not for short stalls.
        stall_seconds: For how long the client may get nothing done although the brokers are there; after about twice
            as long it is replaced.
        metadata_max_age_seconds: How old the list of partitions may become: new ones are read after so long.
        look_ahead_seconds: How often it is asked how far the partitions reach, for `lag`.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        limits: Mapping[str, int] = ONE_TOKEN,
        handed_out: Callable[[Mapping[str, int]], None] = lambda _: None,
        metrics: Metrics | None = None,
        revoke_seconds: float = 15.0,
        commit_seconds: float = 5.0,
        leave_seconds: float = 2.0,
        pause_after_seconds: float = 3.0,
        stall_seconds: float = 30.0,
        metadata_max_age_seconds: float = 30.0,
        look_ahead_seconds: float = LOOK_AHEAD_SECONDS,
    ) -> None:
        self._kafka = kafka
        self._metrics = metrics or Metrics()
        self._stall_seconds = stall_seconds
        self._look_ahead_seconds = look_ahead_seconds
        rebalance = revoke_seconds + 2 * kafka.heartbeat_interval_seconds + REBALANCE_MARGIN_SECONDS
        self._rebalance_seconds = max(kafka.session_timeout_seconds, rebalance)

        self.metadata_limit = METADATA_CHARACTERS - STAMP_CHARACTERS
        """How many characters of metadata may be committed with an offset; read from a broker at start."""

        self._assignments: Assignments
        self._reader = Reader(self, pause_after_seconds=pause_after_seconds)
        self._places = Places(kafka.group_id, self._reader, self._metrics)
        self._commits = Commits(commit_seconds=commit_seconds)
        self._offsets = GroupOffsets(kafka)
        self._watch = Watch(kafka, stall_seconds=stall_seconds, coordinator_answers=self._offsets.answers)
        self._keeper = Keeper(
            kafka,
            parts=(self._reader, self._commits, self._offsets),
            owner=self,
            give_up=self._give_up_all,
            assignor=assignor(kafka.scale, limits=limits, handed_out=handed_out),
            rebalance_seconds=self._rebalance_seconds,
            metadata_max_age_seconds=metadata_max_age_seconds,
            leave_seconds=leave_seconds,
            metrics=self._metrics,
        )
        self._keeping: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._handing_over = asyncio.Lock()
        self._epoch = 0
        self._unjoined_since: float | None = None
        self._failure: Exception | None = None
        self._last_failure = ""

    async def start(self, assignments: Assignments) -> None:
        """Connect and join the group; the first partitions come later, through `assignments`.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        self._assignments = assignments
        try:
            membership = await self._keeper.begin()
            admin = membership.admin
            await require_topics(admin, self._kafka.topics, setting="kafka.topics", right="Read")
            await require_group(admin, self._kafka.group_id)
            limit = await metadata_limit(admin)
        except KafkaError as error:
            await self.stop()
            raise StartError(f"the group cannot be joined: {error}", "look at the brokers' logs") from error
        except BaseException:
            await self.stop()
            raise
        self.metadata_limit = max(0, limit - STAMP_CHARACTERS)
        self._offsets.stamping = limit >= STAMP_CHARACTERS
        self._unjoined_since = time.monotonic()
        membership.join(self)
        self._keeping = asyncio.create_task(self._keep_joined(), name="membership")
        self._looking = asyncio.create_task(self._look_ahead(), name="lag")

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """The next records of the partitions in `ready`, or nothing after the time-out.

        It keeps the time-out even while the group is rebalanced, or joined anew. Cancelling it does no harm: what was
        fetched meanwhile comes with the next poll.

        Raises:
            Stuck: joining anew does not help either: we lack rights, or another process has our name.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            if self._failure is not None:
                raise self._failure
            taken = self._reader.take(ready)
            left = deadline - time.monotonic()
            if taken or left <= 0:
                return taken
            await self._reader.wait(ready, left)

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        """What the group has committed, asked of the coordinator now; None where it has committed nothing.

        It asks for as long as the brokers are away. When cancelled nothing has happened.

        Raises:
            Stuck: we may not read the group's offsets.
        """
        return await self._offsets.committed(partitions)

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        """Set where each partition is read from next, and return these offsets.

        None stands for a partition without a position: it starts where the settings say that a new group starts, or at
        the start of its log if `committed` has found that it is new to a topic that the group knows. It waits for as
        long as the leaders of those are away. When cancelled nothing is moved.

        Partitions that are no longer ours are left out of what is returned, and those that are held: whose log ends
        before their position.

        Raises:
            Stuck: we may not read a topic.
        """
        epoch = self._epoch
        ours = {partition: at for partition, at in positions.items() if partition in self._reader.assigned}
        starts = await self._offsets.starts(ours, wanted=lambda: self._epoch == epoch)
        if self._epoch != epoch:
            return {}
        for partition, start in starts.items():
            self._places.place(partition, start)
        return {partition: start.offset for partition, start in starts.items() if partition not in self.held}

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Record how far each partition is done; never moves a partition backwards.

        Returns:
            False when not all of it is known to be recorded: the group is being rebalanced, a partition is no longer
            ours, or the coordinator did not answer in time. Trying again later is right in each case.

        Raises:
            NoteRefused: the metadata of a position is larger than the broker takes.
            Stuck: we may not commit.
        """
        ours = {partition: at for partition, at in positions.items() if partition in self._reader.assigned}
        done = await self._commits.commit(self._offsets.stamped(ours))
        if done and ours:
            self._offsets.recorded(ours)
            self._watch.moved()
        return done and len(ours) == len(positions)

    def stamped(self, positions: Mapping[Partition, Position]) -> Mapping[Partition, Position]:
        """What `commit` writes for these positions, for somebody else who commits them: see `committed`."""
        return self._offsets.stamped(positions)

    async def stop(self) -> None:
        """Leave the group and disconnect, within `leave_seconds` and about two seconds more where brokers are gone."""
        tasks = {task for task in (self._keeping, self._looking) if task is not None}
        self._keeping = self._looking = None
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._forget()
        await self._keeper.leave()

    async def rejoin(self) -> None:
        """Leave the group and join it anew: another member has taken over, though the group did not say so yet.

        Returns at once; the partitions are revoked and assigned later, as in any rebalance.
        """
        self._keeper.ask()

    @property
    def member(self) -> bool:
        """Whether the group still counts us among its members, as far as it has told us."""
        membership = self._keeper.membership
        return membership is not None and membership.known_to_the_group

    async def vouch(self) -> bool:
        """Ask the group now whether we are one of its members; False where it says no, or nothing in time.

        When cancelled nothing has happened.
        """
        membership = self._keeper.membership
        return membership is not None and await membership.vouch(VOUCH_SECONDS)

    def positions(self) -> Mapping[Partition, int]:
        """Up to where `poll` has handed out all there is: past the last record, and past what is no record.

        Only of partitions of which nothing that was fetched still waits to be polled.
        """
        return self._reader.positions()

    def lag(self) -> Mapping[Partition, int]:
        """How many records each partition holds beyond the position read so far, where that is known."""
        return self._reader.lag()

    @property
    def held(self) -> Mapping[Partition, str]:
        """Partitions of ours that are not read, and why, with what to do about it."""
        return self._places.held

    # What the membership tells us

    def taken_over(self, partitions: Collection[Partition]) -> None:
        """These are all our partitions; nothing of them is read until their positions are set."""
        self._unjoined_since = None
        self._last_failure = ""
        self._forget()
        self._reader.assign(partitions)
        try:
            self._assignments.assigned(partitions)
        except Exception as error:  # noqa: BLE001  # aiokafka would log it and go on; the next poll raises it
            self.failure(error)

    async def given_up(self, partitions: Collection[Partition]) -> None:
        """All partitions are about to be assigned anew: have them revoked, unless they were before."""
        async with self._handing_over:
            self._reader.close()
            ours = self._reader.assigned.intersection(partitions)
            if ours:
                try:
                    await self._assignments.revoked(ours)
                except Exception as error:  # noqa: BLE001  # as above
                    self.failure(error)
            # A commit tried again after the rebalance would carry the new generation, and undo what the next owner did.
            await self._commits.abandon()
            self._forget()
            self._watch.forget()
            self._unjoined_since = time.monotonic()

    def failure(self, error: Exception) -> None:
        """Nothing can go on: the next poll raises this."""
        self._failure = self._failure or error

    # What the reader tells us

    def asked(self, partition: Partition, position: int, seconds: float) -> None:
        """A partition was asked for records for so long, and is read up to this position now."""
        self._watch.asked(partition, position, seconds)

    async def out_of_range(self, offsets: Mapping[Partition, int]) -> None:
        """Go on at a log's start where retention was faster than we; hold where the log is shorter than it was."""
        epoch = self._epoch
        try:
            starts = await self._offsets.bounded(offsets)
        except KafkaError as error:
            await self.failed(error)
            return
        if self._epoch == epoch:
            for partition, start in starts.items():
                if start.offset != offsets[partition] or start.log_end is not None:
                    self._places.place(partition, start)

    def unreadable(self, partition: Partition, position: int, error: Exception) -> None:
        """Hold a partition whose next records cannot be read; the others go on."""
        self._places.unreadable(partition, position, error)

    async def failed(self, error: KafkaError) -> None:
        """Go on after what may pass by itself; a client that goes on failing is replaced."""
        membership = self._keeper.membership
        stuck = None if membership is None else await membership.stuck(error)
        if stuck is not None:
            self.failure(stuck)
        elif repr(error) != self._last_failure:
            self._last_failure = repr(error)
            _log.warning("polls_fail", reason=explained(error))

    async def _give_up_all(self) -> None:
        await self.given_up(self._reader.assigned)

    async def _complaint(self, membership: Membership) -> str | None:
        """Why the membership should be replaced by another one."""
        limits = {
            "polls_fail": (self._reader.failing_since, FAILING_SECONDS),
            "commits_fail": (self._commits.failing_since, 2 * self._stall_seconds),
            "not_joined": (self._unjoined_since, self._stall_seconds + 2 * self._rebalance_seconds),
        }
        failing = {what: (since, seconds) for what, (since, seconds) in limits.items() if since is not None}
        return await self._watch.complaint(membership, failing)

    async def _keep_joined(self) -> None:
        try:
            await self._keeper.run(self._complaint, every_seconds=self._stall_seconds / 6)
        except Exception as error:  # noqa: BLE001  # the next poll raises it
            self.failure(error)

    async def _look_ahead(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._look_ahead_seconds)
                await self._reader.look_ahead()
        except Exception as error:  # noqa: BLE001  # the next poll raises it
            self.failure(error)

    def _forget(self) -> None:
        """Nothing is ours any more."""
        self._epoch += 1
        self._places.release(self._reader.assigned)
        self._reader.clear()
