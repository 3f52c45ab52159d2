"""The state topic's log in the memory Kafka: keys and values by partition, read uncommitted from the beginning on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consumer.moderation.tasks.state import StateRecord
from tests.simulation.logs import Raw
from tests.simulation.network import Disconnected
from tests.simulation.writers import Producer


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.record import Partition
    from tests.simulation.kafka import MemoryKafka


__all__ = ["SimStateLog"]


RETRY_SECONDS = 0.1
WAIT_SECONDS = 0.5


class SimStateLog:
    """One process's view of the topic, behind `consumer.moderation.tasks.state.StateLog`."""

    def __init__(self, kafka: MemoryKafka, client: str, topic: str) -> None:
        self._kafka = kafka
        self._client = client
        self._topic = topic
        self._producer = Producer(kafka, f"{client}/state", "state")
        self._positions: dict[Partition, int] = {}

    async def start(self) -> None:
        """Connect."""
        if not self._kafka.partitions(self._topic):
            self._kafka.create(self._topic, 3)
        self._positions = dict.fromkeys(self._kafka.partitions(self._topic), 0)
        self._producer.start()

    async def append(self, key: bytes, value: bytes | None) -> asyncio.Future[None]:
        """Hand one record over; the future ends when it is acknowledged."""
        return self._producer.send(self._topic, Raw(key, value))

    async def read(self) -> Sequence[StateRecord]:
        """The next records; none after a short while."""
        try:
            answer: dict[Partition, Any] = await self._kafka.network.request(
                self._client, "state", self._kafka.fetch, dict(self._positions), 500, WAIT_SECONDS, committed=False
            )
        except Disconnected:
            await asyncio.sleep(RETRY_SECONDS)
            return []
        found = []
        for partition, (entries, position, _) in answer.items():
            self._positions[partition] = position
            found += [StateRecord(entry.raw.key, entry.raw.value, entry.timestamp / 1000) for entry in entries]
        return found

    def positions(self) -> Mapping[int, int]:
        """Up to where each partition was read."""
        return {partition.partition: position for partition, position in self._positions.items()}

    async def ends(self) -> Mapping[int, int]:
        """Where each partition ends, records of open transactions included."""
        while True:
            try:
                bounds: dict[Partition, tuple[int, int]] = await self._kafka.network.request(
                    self._client, "state", self._kafka.bounds, list(self._positions)
                )
            except Disconnected:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return {partition.partition: end for partition, (_, end) in bounds.items()}

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()
