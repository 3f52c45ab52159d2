"""A plain consumer with our assignor that notes what it is given; as a program, it writes each change as a line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener

from consumer.kafka.assignors import assignor


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from aiokafka import TopicPartition


__all__ = ["LIMITS", "Replica", "joined"]


LIMITS = {"text": 50, "image": 100, "submit": 10}


class Replica(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """What one member has now, and how often it was given something; `changed` is called after each change."""

    def __init__(self, changed: Callable[[Replica], None] = lambda _: None) -> None:
        self.partitions: set[int] = set()
        self.tokens: Mapping[str, int] = {}
        self.assignments = 0
        self._changed = changed

    def handed_out(self, tokens: Mapping[str, int]) -> None:
        self.tokens = dict(tokens)
        self._changed(self)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.partitions, self.tokens = set(), {}
        self._changed(self)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.partitions = {each.partition for each in assigned}
        self.assignments += 1
        self._changed(self)


@contextlib.asynccontextmanager
async def joined(
    servers: list[str], topic: str, group: str, scale: Literal["failover", "share"], replica: Replica
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer of the group; what is polled is the caller's affair."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
        partition_assignment_strategy=(assignor(scale, limits=LIMITS, handed_out=replica.handed_out),),
    )
    await consumer.start()
    try:
        consumer.subscribe([topic], listener=replica)
        yield consumer
    finally:
        await consumer.stop()


async def main(servers: str, topic: str, group: str) -> None:
    """Stand by or work in failover until killed."""

    def say(replica: Replica) -> None:
        print(orjson.dumps([sorted(replica.partitions), replica.tokens]).decode(), flush=True)  # noqa: T201  # a program

    async with joined(servers.split(","), topic, group, "failover", Replica(say)) as consumer:
        while True:
            await consumer.getmany(timeout_ms=200)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
