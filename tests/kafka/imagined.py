"""An imagined group whose members have our assignor: it is rebalanced without a broker, and through any history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from consumer.kafka.assignors import assignor
from consumer.record import Partition
from tests.kafka.replica import LIMITS


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


__all__ = ["Member", "Scale", "Share", "Step", "Told", "World", "play"]


Scale = Literal["failover", "share"]
# What each member tells, by its name: the topics it subscribes to, and its user data.
Told = dict[str, tuple[list[str], bytes | None]]
# What happens, to which member, and who does not hear of the assignment that follows.
Step = tuple[str, int, set[int]]


@dataclass(frozen=True, slots=True)
class Share:
    """What one member gets in one assignment."""

    partitions: frozenset[Partition]
    tokens: Mapping[str, int]


@dataclass
class World:
    """A cluster, a clock, and what all members are configured with."""

    topics: Mapping[str, int]
    scale: Scale
    limits: Mapping[str, int] = field(default_factory=lambda: LIMITS)
    seconds: float = 1000.0

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """All that an assignor asks of aiokafka's cluster."""
        return set(range(self.topics[topic])) if topic in self.topics else None

    def readable(self, subscription: Iterable[str]) -> set[Partition]:
        return {Partition(topic, number) for topic in subscription for number in range(self.topics.get(topic, 0))}

    def decided(self, told: Told) -> dict[str, Share]:
        """What a leader makes of what the members tell."""
        members = {name: ConsumerProtocolMemberMetadata(0, *each) for name, each in told.items()}
        return {name: Member(self).hear(data) for name, data in self.assigned(members).items()}

    def rebalance(self, members: Mapping[str, Member], deaf: Collection[str] = ()) -> dict[str, Share]:
        """All join, and hear what was decided; but for the deaf, for whom the next rebalance comes too early."""
        self.seconds += 1
        assigned = self.assigned({name: member.told(self.topics) for name, member in members.items()})
        return {name: (Member(self) if name in deaf else members[name]).hear(assigned[name]) for name in members}

    def assigned(self, members: Mapping[str, ConsumerProtocolMemberMetadata]) -> dict[str, bytes]:
        """What a leader has the broker send to each member."""
        assigned = Member(self).assignor.assign(self, members)
        assert assigned.keys() == members.keys()
        return {name: assignment.encode() for name, assignment in assigned.items()}


class Member:
    """One consumer's assignor."""

    def __init__(self, world: World) -> None:
        self._tokens: list[Mapping[str, int]] = []
        self.assignor: Any = assignor(
            world.scale, limits=world.limits, handed_out=self._tokens.append, now=lambda: world.seconds
        )

    def told(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata.decode(self.assignor.metadata(topics).encode())

    def hear(self, assignment: bytes) -> Share:
        heard = ConsumerProtocolMemberAssignment.decode(assignment)
        self.assignor.on_assignment(heard)
        (tokens,) = self._tokens
        self._tokens.clear()
        return Share(frozenset(Partition(*each) for each in heard.partitions()), tokens)


def play(world: World, steps: Iterable[Step], check: Callable[[dict[Member, Share], Collection[Member]], None]) -> None:
    """Rebalance a group after each step of its history; `check` sees what was decided, and who heard it."""
    awake: dict[str, Member] = {}
    frozen: list[Member] = []
    names = iter("abcdefghijklmnopqrstuvwxyz")
    for action, which, deaf in [("join", 0, set[int]()), *steps]:
        if action == "join":
            awake[next(names)] = Member(world)
        elif action == "wake" and frozen:
            # The group has forgotten it and takes it for a new member; it still claims what it had.
            awake[next(names)] = frozen.pop(which % len(frozen))
        elif action in {"leave", "freeze"} and len(awake) > 1:
            gone = awake.pop(sorted(awake)[which % len(awake)])
            if action == "freeze":
                frozen.append(gone)
        order = sorted(awake)
        not_hearing = {order[number % len(order)] for number in deaf}
        shares = world.rebalance(awake, not_hearing)
        check(
            {awake[name]: share for name, share in shares.items()}, [awake[name] for name in set(order) - not_hearing]
        )
