"""What members of a group agree on: their times, and how the leader divides the partitions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.groups import Joined
    from tests.simulation.kafka import MemoryKafka


__all__ = ["Given", "Timing", "divided"]


class Timing:
    """A member's times, in seconds: short ones, so that much happens in little time."""

    def __init__(
        self,
        *,
        session: float = 2.0,
        heartbeat: float = 0.3,
        rebalance: float = 4.0,
        commit: float = 2.0,
        leave: float = 0.5,
    ) -> None:
        self.session = session
        self.heartbeat = heartbeat
        self.rebalance = rebalance
        self.commit = commit
        self.leave = leave


class Given:
    """What the leader gives one member: partitions, and what the assignor says beside them."""

    __slots__ = ("partitions", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.partitions = [Partition(*each) for each in raw.partitions()]


def divided(assignor: Any, joined: Joined, topics: Sequence[str], kafka: MemoryKafka) -> dict[str, Given]:
    """What the program's own assignor gives each member; called in the leader."""
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: {each.partition for each in kafka.partitions(topic)})
    members = {
        name: SimpleNamespace(subscription=list(topics), user_data=told) for name, told in joined.members.items()
    }
    return {name: Given(raw) for name, raw in assignor.assign(cluster, members).items()}
