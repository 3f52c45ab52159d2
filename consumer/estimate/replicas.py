"""Which replica reads which partitions, with which part of the quota: as the group's leader would say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.building import limits
from consumer.kafka.assignors import assignor
from consumer.record import Partition


if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Mapping

    from consumer.settings import Settings


__all__ = ["divided"]


class _Cluster:
    """What the leader knows of the topics."""

    def __init__(self, partitions: Mapping[Partition, object]) -> None:
        self.topics: dict[str, set[int]] = {}
        for topic, number in partitions:
            self.topics.setdefault(topic, set()).add(number)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self.topics[topic]


def divided(
    settings: Settings, lanes: Mapping[Partition, array[int]], replicas: int
) -> Iterator[tuple[Mapping[Partition, array[int]], Mapping[str, int]]]:
    """The partitions of each replica that has any, and its whole tokens of each bucket."""
    handed_out: dict[str, Mapping[str, int]] = {}
    cluster = _Cluster(lanes)
    names = [f"replica-{number}" for number in range(replicas)]
    members = {
        name: assignor(
            settings.kafka.scale,
            limits=limits(settings),
            handed_out=lambda tokens, name=name: handed_out.update({name: tokens}),  # type: ignore[misc]  # bound to this turn's
        )
        for name in names
    }
    told = {name: member.metadata(cluster.topics) for name, member in members.items()}
    given = members[names[0]].assign(cluster, told)
    for name, member in members.items():
        member.on_assignment(given[name])
        ours = {Partition(*each): lanes[Partition(*each)] for each in given[name].partitions()}
        if ours:
            yield ours, handed_out[name]
