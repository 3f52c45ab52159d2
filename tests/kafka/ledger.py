"""What tests of transactions look up from outside: what is committed, and what readers of committed records see."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumer.kafka.offset_fetch import stable_offsets
from consumer.record import Partition, Position


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.broker.cluster import Broker


__all__ = ["administering", "published", "stored"]


LIMIT_SECONDS = 30
RETRY_SECONDS = 0.02


@contextlib.asynccontextmanager
async def administering(broker: Broker, group: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client; the group has a coordinator."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            # A new cluster first makes the topic that holds its groups.
            while True:
                with contextlib.suppress(KafkaError):
                    await admin.find_coordinator(group)
                    break
                await asyncio.sleep(RETRY_SECONDS)
        yield admin
    finally:
        await admin.close()


async def stored(admin: AIOKafkaAdminClient, group: str, *partitions: Partition) -> list[Position]:
    """What the group has committed for each partition, when that is certain."""
    wanted = [TopicPartition(*partition) for partition in partitions]
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                found = await stable_offsets(admin, group, wanted)
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return [Position(found[each].offset, found[each].metadata) for each in wanted]


async def published(broker: Broker, topic: str, *, isolation: str = "read_committed") -> list[bytes]:
    """The values that a reader finds in a topic, partition by partition, when no transaction is open any more."""
    options = {
        "bootstrap_servers": broker.bootstrap_servers,
        "auto_offset_reset": "earliest",
        # The embedded broker takes the mark of a transaction off a batch, and leaves its checksum as it was.
        "check_crcs": False,
    }
    async with AIOKafkaConsumer(topic, **options) as consumer:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
    values: list[bytes] = []
    async with AIOKafkaConsumer(topic, isolation_level=isolation, **options) as consumer:
        async with asyncio.timeout(LIMIT_SECONDS):
            for partition, end in ends.items():
                # A commit is answered before all can see it. A position also passes over what is no record.
                while await consumer.position(partition) < end:
                    for batch in (await consumer.getmany(partition, timeout_ms=100)).values():
                        values += [record.value for record in batch]
    return values
