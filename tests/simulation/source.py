"""A member of a group in the memory Kafka, behind the engine's `Source`; it behaves as the real one on aiokafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from consumer.errors import NoteRefused, Stuck
from consumer.kafka.assignors import assignor
from consumer.record import Partition, Record
from tests.simulation.membership import Given, Timing, divided
from tests.simulation.network import Disconnected, Refused
from tests.virtual_time import EPOCH


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.engine.ports import Assignments
    from consumer.record import Position
    from tests.simulation.groups import Joined
    from tests.simulation.kafka import MemoryKafka
    from tests.simulation.logs import Entry


__all__ = ["SimSource"]


RETRY_SECONDS = 0.1
FETCH_WAIT_SECONDS = 0.5
# Errors after which a member has to join under another id.
_FORGOTTEN = frozenset({"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION"})


class SimSource:
    """A consumer group's member. `client` is unique for each life of a process, as a connection is."""

    def __init__(
        self,
        kafka: MemoryKafka,
        client: str,
        *,
        group_id: str,
        topics: Sequence[str],
        scale: Literal["failover", "share"] = "failover",
        limits: Mapping[str, int] | None = None,
        handed_out: Callable[[Mapping[str, int]], None] = lambda _: None,
        timing: Timing | None = None,
        chunk: int = 10,
    ) -> None:
        self.client = client
        self.metadata_limit = kafka.metadata_characters
        self._kafka = kafka
        self._group_id = group_id
        self._group = kafka.groups[group_id]
        self._topics = topics
        self._timing = timing or Timing()
        self._chunk = chunk
        self._loop = kafka.network.loop
        self._assignor: Any = assignor(
            scale, limits=limits or {"text": 50}, handed_out=handed_out, now=lambda: EPOCH + self._loop.time()
        )
        self._assignments: Assignments
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: Exception | None = None
        self._member_id = ""
        self._generation = -1
        self._again = asyncio.Event()
        self._leaves = False
        self._epoch = 0
        self._assigned: set[Partition] = set()
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._buffers: dict[Partition, list[Record]] = {}
        self._moves: dict[Partition, int] = {}
        self._asked: dict[Partition, int] = {}
        self._fetching: asyncio.Future[Any] | None = None
        self._lock = asyncio.Lock()
        self._attempt: asyncio.Task[bool] | None = None
        self._committed: dict[Partition, int] = {}

    # The port

    async def start(self, assignments: Assignments) -> None:
        """Join the group; the first partitions come later."""
        self._assignments = assignments
        await self._ask("log", self._kafka.bounds, [])
        self._tasks = [asyncio.create_task(self._membership()), asyncio.create_task(self._heartbeats())]

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """The next records of the partitions in `ready`, or nothing after the time-out."""
        deadline = self._loop.time() + timeout_seconds
        while True:
            if self._failure is not None:
                raise self._failure
            wanted = [partition for partition in ready if partition in self._positions]
            taken = {partition: self._buffers.pop(partition) for partition in wanted if partition in self._buffers}
            left = deadline - self._loop.time()
            if taken or left <= 0:
                return taken
            if self._fetching is None:
                if not wanted:
                    await asyncio.sleep(left)
                    continue
                self._asked = {partition: self._moves[partition] for partition in wanted}
                self._fetching = self._kafka.network.request(
                    self.client,
                    "log",
                    self._kafka.fetch,
                    {partition: self._positions[partition] for partition in wanted},
                    self._chunk,
                    min(left, FETCH_WAIT_SECONDS),
                )
            await asyncio.wait({self._fetching}, timeout=left)
            if self._fetching.done():
                fetched, self._fetching = self._fetching, None
                await self._take(fetched)

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        """What the group has committed, of which no open transaction can change anything."""
        found: dict[Partition, Position | None] = await self._ask(
            "group", self._group.offset_fetch, list(partitions), require_stable=True
        )
        return found

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        """Set where each partition is read from next; a new group starts at the earliest."""
        epoch = self._epoch
        new = [partition for partition, at in positions.items() if at is None]
        starts = await self._ask("log", self._kafka.bounds, new) if new else {}
        if epoch != self._epoch:
            return {}
        offsets = {}
        for partition, position in positions.items():
            if partition in self._assigned:
                offsets[partition] = starts[partition][0] if position is None else position.offset
                self._move(partition, offsets[partition])
        return offsets

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Commit positions of partitions that are ours, one commit after the other, and none backwards."""
        epoch = self._epoch
        try:
            async with asyncio.timeout(self._timing.commit), self._lock:
                if self._attempt is not None:
                    await asyncio.wait({self._attempt})
                if self._epoch != epoch:
                    return False
                ours = {
                    partition: at
                    for partition, at in positions.items()
                    if partition in self._assigned and at.offset >= self._committed.get(partition, 0)
                }
                if ours:
                    # A task of its own: tried again without end, and what is on its way cannot be called back.
                    attempt = self._attempt = asyncio.create_task(self._commit(ours))
                    await asyncio.wait({attempt})
                    if attempt.cancelled() or not attempt.result():
                        return False
        except TimeoutError:
            return False
        return all(partition in self._assigned for partition in positions)

    async def stop(self) -> None:
        """Leave the group, within a bounded time."""
        tasks, self._tasks = self._tasks, []
        await self._abandon()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._forget()
        if self._member_id:
            try:
                async with asyncio.timeout(self._timing.leave):
                    await self._request("group", self._group.leave, self._member_id)
            except (TimeoutError, Refused, Disconnected):
                pass  # its session will end instead

    async def vouch(self) -> bool:
        """Ask the group now whether we are one of its members."""
        if not self._member_id or self._generation < 0:
            return False
        try:
            await self._request("group", self._group.heartbeat, self._member_id, self._generation)
        except Disconnected:
            return False
        except Refused as refused:
            self._heard(refused.code)
            return refused.code == "REBALANCE_IN_PROGRESS"
        return True

    async def rejoin(self) -> None:
        """Leave the group and join it anew."""
        self._leaves = True
        self._again.set()

    @property
    def member(self) -> bool:
        """Whether the group still counts us among its members, as far as it has told us."""
        return bool(self._member_id) and self._generation >= 0

    def positions(self) -> Mapping[Partition, int]:
        """Up to where `poll` has handed out all there is."""
        return {partition: at for partition, at in self._positions.items() if partition not in self._buffers}

    def lag(self) -> Mapping[Partition, int]:
        """How many records each partition holds beyond the position."""
        return {partition: max(0, self._ends.get(partition, at) - at) for partition, at in self._positions.items()}

    # Membership

    async def _membership(self) -> None:
        try:
            while True:
                await self._join()
                await self._again.wait()
                self._again.clear()
                await self._give_up()
                if self._leaves:
                    await self._leave()
        except Exception as error:  # noqa: BLE001  # the next poll raises it, as the real source does
            self._failure = error

    async def _join(self) -> None:
        """Take part in rebalances until one ends with an assignment."""
        timing = self._timing
        while True:
            told = self._assignor.metadata(self._topics)
            try:
                if not self._member_id:
                    self._generation = -1
                    self._member_id = await self._request(
                        "group", self._group.join, "", timing.session, timing.rebalance, told.user_data
                    )
                joined: Joined = await self._request(
                    "group", self._group.join, self._member_id, timing.session, timing.rebalance, told.user_data
                )
                self._generation = joined.generation
                given: Given = await self._request(
                    "group", self._group.sync, self._member_id, joined.generation, self._divided(joined)
                )
            except Refused as refused:
                if refused.code in _FORGOTTEN:
                    self._member_id = ""
                continue
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            break
        self._again.clear()
        self._assignor.on_assignment(given.raw)
        self._forget()
        self._assigned = set(given.partitions)
        self._assignments.assigned(given.partitions)

    def _divided(self, joined: Joined) -> dict[str, Given] | None:
        if joined.leader != self._member_id:
            return None
        return divided(self._assignor, joined, self._topics, self._kafka)

    async def _heartbeats(self) -> None:
        """Keep the session, also while partitions are given up."""
        while True:
            await asyncio.sleep(self._timing.heartbeat)
            if not self._member_id or self._generation < 0:
                continue
            try:
                await self._request("group", self._group.heartbeat, self._member_id, self._generation)
            except Disconnected:
                continue
            except Refused as refused:
                self._heard(refused.code)

    def _heard(self, code: str) -> None:
        """The group says that it is being rebalanced, or knows us no more."""
        if code in _FORGOTTEN and self._assigned:
            self._member_id, self._generation = "", -1
        self._again.set()

    async def _give_up(self) -> None:
        self._positions.clear()
        self._buffers.clear()
        if self._assigned:
            await self._assignments.revoked(sorted(self._assigned))
        await self._abandon()
        self._forget()

    async def _leave(self) -> None:
        self._leaves = False
        member_id, self._member_id = self._member_id, ""
        self._generation = -1
        try:
            if member_id:
                await self._request("group", self._group.leave, member_id)
        except (Refused, Disconnected):
            pass  # its session will end instead

    def _forget(self) -> None:
        self._epoch += 1
        for gone in (self._assigned, self._positions, self._buffers, self._ends, self._committed):
            gone.clear()

    # Records

    async def _take(self, fetched: asyncio.Future[Any]) -> None:
        """Keep what came for partitions that were not moved since."""
        try:
            answer: dict[Partition, tuple[list[Entry], int, int]] = fetched.result()
        except Disconnected:
            await asyncio.sleep(RETRY_SECONDS)
            return
        except Refused:
            await self._out_of_range()
            return
        for partition, (entries, position, end) in answer.items():
            if partition in self._positions and self._moves[partition] == self._asked[partition]:
                self._positions[partition] = position
                self._ends[partition] = end
                if entries:
                    self._buffers.setdefault(partition, []).extend(_record(partition, entry) for entry in entries)

    async def _out_of_range(self) -> None:
        asked = dict(self._positions)
        bounds = await self._ask("log", self._kafka.bounds, list(asked))
        for partition, (start, end) in bounds.items():
            if self._positions.get(partition) != asked[partition]:
                continue
            if asked[partition] > end:
                raise Stuck(f"{partition} ends at {end}, but we are to read from {asked[partition]}")
            if asked[partition] < start:
                self._move(partition, start)

    def _move(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset
        self._moves[partition] = self._moves.get(partition, 0) + 1
        self._buffers.pop(partition, None)

    # Offsets

    async def _commit(self, positions: Mapping[Partition, Position]) -> bool:
        self._committed.update({partition: at.offset for partition, at in positions.items()})
        while True:
            try:
                await self._request("group", self._group.commit, self._member_id, self._generation, positions)
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            except Refused as refused:
                if refused.code == "OFFSET_METADATA_TOO_LARGE":
                    raise NoteRefused("the broker takes no metadata of this length") from None
                self._heard(refused.code)
                return False
            else:
                return True

    async def _abandon(self) -> None:
        self._epoch += 1
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
            await asyncio.wait({attempt})

    # Requests

    def _request(self, node: Literal["log", "group"], serve: Callable[..., None], *args: Any) -> asyncio.Future[Any]:
        return self._kafka.network.request(self.client, node, serve, *args)

    async def _ask(self, node: Literal["log", "group"], serve: Callable[..., None], *args: Any, **more: Any) -> Any:
        """Ask for something that changes nothing, until there is an answer."""
        while True:
            try:
                return await self._kafka.network.request(self.client, node, serve, *args, **more)
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            except Refused as refused:
                if refused.code != "UNSTABLE_OFFSET_COMMIT":
                    raise
                await asyncio.sleep(RETRY_SECONDS)


def _record(partition: Partition, entry: Entry) -> Record:
    raw = entry.raw
    assert raw is not None
    return Record(partition, entry.offset, entry.timestamp, raw.key, raw.value, raw.headers)
