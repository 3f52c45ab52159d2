"""A consumer group's coordinator in memory: members, generations, rebalances (eager), and committed offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tests.simulation.logs import Fate


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from consumer.record import Partition, Position
    from tests.simulation.network import Call, Network


__all__ = ["METADATA_CHARACTERS", "Group", "Joined"]


METADATA_CHARACTERS = 4096

# How long the first rebalance of an empty group waits for others.
_INITIAL_DELAY_SECONDS = 0.1


class _State(Enum):
    EMPTY = auto()
    PREPARING = auto()
    COMPLETING = auto()
    STABLE = auto()


@dataclass(slots=True, eq=False)
class _Member:
    id: str
    client: str
    session_seconds: float
    rebalance_seconds: float
    user_data: bytes
    deadline: float = 0.0
    joining: Call | None = None
    syncing: Call | None = None
    assignment: Any = None


@dataclass(frozen=True, slots=True)
class Joined:
    """What a member learns when a rebalance begins its second half. Only the leader is told of all members."""

    generation: int
    leader: str
    members: dict[str, bytes]


@dataclass(slots=True)
class _Pending:
    """The offsets of one producer's open transaction, and its epoch."""

    epoch: int
    offsets: dict[Partition, Position] = field(default_factory=dict)


class Group:
    """One group. An assignment is whatever the leader hands in; `owners` understands what it says of partitions."""

    def __init__(self, network: Network, *, metadata_characters: int = METADATA_CHARACTERS) -> None:
        self.generation = 0
        self.offsets: dict[Partition, Position] = {}
        self.metadata_characters = metadata_characters
        self.rebalances = 0
        self.evicted: Callable[[str], None] = lambda _: None
        """Told of each client that is put out of the group because it was silent for too long."""
        self._network = network
        self._state = _State.EMPTY
        self._members: dict[str, _Member] = {}
        self._known_ids: set[str] = set()
        self._leader = ""
        self._numbers = 0
        self._round = 0
        self._pending: dict[int, _Pending] = {}
        self._epochs: dict[int, int] = {}

    # Membership

    def join(
        self, call: Call, member_id: str, session_seconds: float, rebalance_seconds: float, user_data: bytes
    ) -> None:
        """JoinGroup: answered when all members have joined, or the others' time is over."""
        if not member_id:
            self._numbers += 1
            new = f"{call.client}-{self._numbers}"
            self._known_ids.add(new)
            call.answer(new)
            return
        member = self._members.get(member_id)
        if member is None:
            if member_id not in self._known_ids:
                call.refuse("UNKNOWN_MEMBER_ID")
                return
            self._known_ids.discard(member_id)
            member = self._members[member_id] = _Member(
                member_id, call.client, session_seconds, rebalance_seconds, user_data
            )
            self._touch(member)
            self._watch(member)
        elif self._state is _State.COMPLETING and user_data == member.user_data and member_id != self._leader:
            # It did not hear the answer to its first try.
            call.answer(self._joined(member))
            return
        member.user_data = user_data
        member.joining = call
        if self._state is not _State.PREPARING:
            self._prepare()
        self._complete_if_all_joined()

    def sync(self, call: Call, member_id: str, generation: int, assignments: Mapping[str, Any] | None) -> None:
        """SyncGroup: answered with the member's own assignment when the leader has handed all of them in."""
        member = self._checked(call, member_id, generation)
        if member is None:
            return
        if self._state is _State.PREPARING:
            call.refuse("REBALANCE_IN_PROGRESS")
            return
        self._touch(member)
        member.syncing = call
        if assignments is not None and self._state is _State.COMPLETING and member_id == self._leader:
            for one in self._members.values():
                one.assignment = assignments.get(one.id)
            self._state = _State.STABLE
        if self._state is _State.STABLE:
            for one in self._members.values():
                if one.syncing is not None:
                    self._touch(one)
                    one.syncing.answer(one.assignment)
                    one.syncing = None

    def heartbeat(self, call: Call, member_id: str, generation: int) -> None:
        """Heartbeat: keeps the session, and says that a rebalance has begun."""
        member = self._checked(call, member_id, generation)
        if member is None:
            return
        self._touch(member)
        if self._state is _State.PREPARING:
            call.refuse("REBALANCE_IN_PROGRESS")
        else:
            call.answer()

    def leave(self, call: Call, member_id: str) -> None:
        """LeaveGroup: the others need not wait for its session to end."""
        member = self._members.get(member_id)
        if member is None:
            call.refuse("UNKNOWN_MEMBER_ID")
            return
        call.answer()
        self._remove(member)

    def owner(self, partition: Partition) -> str | None:
        """The client that the group has given a partition to, as far as the group knows."""
        for member in self._members.values():
            if member.assignment is not None and partition in member.assignment.partitions:
                return member.client
        return None

    def clients(self) -> list[str]:
        """The clients that are members now."""
        return [member.client for member in self._members.values()]

    def came_back(self) -> None:
        """The coordinator is back: nobody is to blame for the silence while it was away."""
        for member in self._members.values():
            self._touch(member)
        if self._state is _State.PREPARING:
            self._wait_for_all()

    # Offsets

    def commit(self, call: Call, member_id: str, generation: int, offsets: Mapping[Partition, Position]) -> None:
        """OffsetCommit: from a member of this generation only; it also keeps the session."""
        member = self._checked(call, member_id, generation)
        if member is None:
            return
        if self._state is _State.COMPLETING:
            call.refuse("REBALANCE_IN_PROGRESS")
            return
        self._touch(member)
        fitting = {at: to for at, to in offsets.items() if len(to.metadata) <= self.metadata_characters}
        self.offsets.update(fitting)
        if len(fitting) < len(offsets):
            call.refuse("OFFSET_METADATA_TOO_LARGE")
        else:
            call.answer()

    def commit_in_transaction(
        self, call: Call, producer: int, epoch: int, offsets: Mapping[Partition, Position]
    ) -> None:
        """TxnOffsetCommit of a client that names no generation: whoever has the epoch may."""
        if epoch < self._epochs.get(producer, -1):
            call.refuse("INVALID_PRODUCER_EPOCH")
        elif any(len(to.metadata) > self.metadata_characters for to in offsets.values()):
            call.refuse("OFFSET_METADATA_TOO_LARGE")
        else:
            self._epochs[producer] = epoch
            self._pending.setdefault(producer, _Pending(epoch)).offsets.update(offsets)
            call.answer()

    def mark(self, producer: int, epoch: int, fate: Fate) -> None:
        """The marker of a transaction: its offsets count from now on, or never."""
        self._epochs[producer] = max(epoch, self._epochs.get(producer, -1))
        pending = self._pending.pop(producer, None)
        if pending is not None and fate is Fate.COMMITTED:
            self.offsets.update(pending.offsets)

    def offset_fetch(self, call: Call, partitions: Collection[Partition], *, require_stable: bool) -> None:
        """OffsetFetch: what is committed; with `require_stable` not while a transaction's offsets are undecided."""
        if require_stable and any(at in pending.offsets for pending in self._pending.values() for at in partitions):
            call.refuse("UNSTABLE_OFFSET_COMMIT")
        else:
            call.answer({partition: self.offsets.get(partition) for partition in partitions})

    # Inside

    def _checked(self, call: Call, member_id: str, generation: int) -> _Member | None:
        member = self._members.get(member_id)
        if member is None:
            call.refuse("UNKNOWN_MEMBER_ID")
            return None
        if generation != self.generation:
            call.refuse("ILLEGAL_GENERATION")
            return None
        return member

    def _touch(self, member: _Member) -> None:
        member.deadline = self._network.loop.time() + member.session_seconds

    def _watch(self, member: _Member) -> None:
        self._network.loop.call_at(member.deadline, self._expire, member, context=self._network.world)

    def _expire(self, member: _Member) -> None:
        if self._members.get(member.id) is not member:
            return
        if member.joining is not None or self._network.away("", "group"):
            self._touch(member)
        if member.deadline > self._network.loop.time():
            self._watch(member)
        else:
            self.evicted(member.client)
            self._remove(member)

    def _remove(self, member: _Member) -> None:
        del self._members[member.id]
        for call in (member.joining, member.syncing):
            if call is not None:
                call.refuse("UNKNOWN_MEMBER_ID")
        if self._state is _State.PREPARING:
            self._complete_if_all_joined()
        else:
            self._prepare()

    def _prepare(self) -> None:
        first = self._state is _State.EMPTY
        self._state = _State.PREPARING
        self.rebalances += 1
        for member in self._members.values():
            if member.syncing is not None:
                member.syncing.refuse("REBALANCE_IN_PROGRESS")
                member.syncing = None
        if not self._members:
            self._state = _State.EMPTY
            return
        self._wait_for_all(_INITIAL_DELAY_SECONDS if first else None)

    def _wait_for_all(self, seconds: float | None = None) -> None:
        self._round += 1
        if seconds is None:
            seconds = max(member.rebalance_seconds for member in self._members.values())
        self._network.loop.call_later(seconds, self._time_is_over, self._round, context=self._network.world)

    def _time_is_over(self, number: int) -> None:
        if self._state is _State.PREPARING and self._round == number and not self._network.away("", "group"):
            self._complete()

    def _complete_if_all_joined(self) -> None:
        joined = [member for member in self._members.values() if member.joining is not None]
        if self._state is _State.PREPARING and len(joined) == len(self._members) and (self.generation or not joined):
            self._complete()

    def _complete(self) -> None:
        for member in [member for member in self._members.values() if member.joining is None]:
            self.evicted(member.client)
            del self._members[member.id]
        self.generation += 1
        self._round += 1
        if not self._members:
            self._state = _State.EMPTY
            return
        self._state = _State.COMPLETING
        if self._leader not in self._members:
            self._leader = next(iter(self._members))
        for member in self._members.values():
            member.assignment = None
            self._touch(member)
            if member.joining is not None:
                member.joining.answer(self._joined(member))
                member.joining = None

    def _joined(self, member: _Member) -> Joined:
        members = {one.id: one.user_data for one in self._members.values()} if member.id == self._leader else {}
        return Joined(self.generation, self._leader, members)
