"""Asking the leaders of partitions for offsets: where a log begins and ends, and what it held at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.offset import OffsetRequest

from consumer.kafka.connection import FORBIDDEN
from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["EARLIEST", "LATEST", "list_offsets"]


# Places that have no time of their own.
EARLIEST = -2
LATEST = -1

REPLICA = -1
"""What an ordinary client calls itself."""


# What a leader that is well may take to answer.
ANSWER_SECONDS = 5.0


async def list_offsets(
    consumer: Any, partitions: Iterable[Partition], at: int, *, committed_only: bool = False
) -> dict[Partition, int]:
    """The offsets of a place in each log, of those partitions whose leader tells them within 5 s.

    It asks once: to try again is for the caller. aiokafka's own calls answer for all partitions or for none, and never
    tell where a log ends that has an open transaction. When cancelled nothing has happened.

    Args:
        consumer: A started consumer that knows the topics.
        partitions: Of which partitions.
        at: EARLIEST, LATEST, or a time in milliseconds since the epoch, for the first record from then on; -1 is told
            where there is no such record.
        committed_only: Whether LATEST is where an open transaction begins.

    Raises:
        KafkaError: our user has no rights on a topic.
    """
    client = consumer._client  # noqa: SLF001  # aiokafka has no public call for any request
    asked: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic, number in partitions:
        leader = client.cluster.leader_for_partition(TopicPartition(topic, number))
        if leader in (None, -1):
            client.force_metadata_update()
        else:
            asked[leader][topic].append((number, at))

    async def ask(leader: int, topics: Any) -> Any:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await client.send(leader, OffsetRequest(REPLICA, int(committed_only), list(topics.items())))

    answers = await asyncio.gather(*(ask(*each) for each in asked.items()), return_exceptions=True)
    offsets = {}
    for answer in answers:
        if isinstance(answer, KafkaError | TimeoutError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        for topic, entries in answer.topics:
            for number, code, _, offset in entries:
                error = for_code(code)
                if error is NoError:
                    offsets[Partition(topic, number)] = offset
                elif issubclass(error, FORBIDDEN):
                    raise error(topic)
                elif error.invalid_metadata:
                    client.force_metadata_update()
    return offsets
