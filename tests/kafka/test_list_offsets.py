"""What leaders say of their logs, those that do not answer, and those that refuse."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from consumer.kafka.list_offsets import LATEST, list_offsets
from consumer.record import Partition


class Cluster:
    """A consumer's view of brokers that lead one partition each; `answers` has an error or an offset by broker."""

    def __init__(self, leaders: dict[int, int | None], answers: dict[int, Exception | type[Any] | int]) -> None:
        self._client = self
        self.cluster = SimpleNamespace(leader_for_partition=lambda at: leaders[at.partition])
        self.answers = answers
        self.updates = 0

    def force_metadata_update(self) -> None:
        self.updates += 1

    async def send(self, node: int, request: Any) -> Any:
        ((topic, ((partition, at),)),) = request._topics
        assert at == LATEST
        answer = self.answers[node]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return SimpleNamespace(topics=[(topic, [(partition, 0, -1, answer)])])
        return SimpleNamespace(topics=[(topic, [(partition, answer.errno, -1, -1)])])


def offsets(cluster: Cluster, count: int) -> dict[Partition, int]:
    return asyncio.run(list_offsets(cluster, [Partition("t", number) for number in range(count)], LATEST))


def test_those_that_answer_are_heard_without_the_others() -> None:
    """No answer, a leader that is not known, or not one any more, cost their own partitions only."""
    leaders = {0: 10, 1: None, 2: -1, 3: 13, 4: 14, 5: 15}
    cluster = Cluster(
        leaders, {10: 7, 13: RequestTimedOutError(), 14: NotLeaderForPartitionError, 15: LeaderNotAvailableError}
    )
    assert offsets(cluster, 6) == {Partition("t", 0): 7}
    assert cluster.updates == 4, "the leaders are looked up again"


def test_a_silent_leader_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that does not answer in time holds nobody else up."""
    monkeypatch.setattr("consumer.kafka.list_offsets.ANSWER_SECONDS", 0.05)

    class Silent(Cluster):
        async def send(self, node: int, request: Any) -> Any:
            if node == 11:
                await asyncio.sleep(60)
            return await super().send(node, request)

    assert offsets(Silent({0: 10, 1: 11}, {10: 7, 11: 8}), 2) == {Partition("t", 0): 7}


def test_rights_that_are_missing_are_told() -> None:
    """A topic that we may not describe is no leader that is away."""
    with pytest.raises(TopicAuthorizationFailedError):
        offsets(Cluster({0: 10}, {10: TopicAuthorizationFailedError}), 1)


def test_what_is_wrong_with_us_is_not_swallowed() -> None:
    """An error that is none of Kafka's comes through."""
    with pytest.raises(ZeroDivisionError):
        offsets(Cluster({0: 10}, {10: ZeroDivisionError()}), 1)
