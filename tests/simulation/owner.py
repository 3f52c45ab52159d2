"""An owner of partitions for tests of a source, on any Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from consumer.engine.ports import Source
    from consumer.record import Partition
    from tests.simulation.worlds import World


__all__ = ["Owner", "owner"]


class Owner:
    """Who is told what a source owns; it gives everything up at once, or does `on_revoked` first."""

    def __init__(self, source: Source) -> None:
        self.source: Any = source
        self.partitions: set[Partition] = set()
        self.told: list[str] = []
        self.on_revoked: Callable[[], Any] | None = None
        self._changed = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None

    def assigned(self, partitions: Collection[Partition]) -> None:
        self.partitions = set(partitions)
        self.told.append(f"assigned {len(partitions)}")
        self._changed.set()

    async def revoked(self, partitions: Collection[Partition]) -> None:
        if self.on_revoked is not None:
            await self.on_revoked()
        self.partitions.clear()
        self.told.append("revoked")

    async def assignment(self, count: int) -> None:
        """Return when it owns so many partitions."""
        while len(self.partitions) != count or not self._changed.is_set():
            self._changed.clear()
            await self._changed.wait()

    async def read(self, count: int, *ready: Partition) -> list[bytes]:
        values: list[bytes] = []
        while len(values) < count:
            polled = await self.source.poll(ready or self.partitions, 0.5)
            values += [record.value for records in polled.values() for record in records]
        return values

    def keep_polling(self) -> None:
        async def poll() -> None:
            while True:
                await self.source.poll([], 0.2)

        self._polling = asyncio.create_task(poll())

    async def stop(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})
        await self.source.stop()


@contextlib.asynccontextmanager
async def owner(
    world: World, topic: str, group: str, scale: Any = "failover", *, polls: bool = False
) -> AsyncIterator[Owner]:
    """A member of a group that has joined; `polls` keeps it turning beside the test."""
    made = Owner(world.source(topic, group, scale))
    await made.source.start(made)
    if polls:
        made.keep_polling()
    try:
        yield made
    finally:
        await made.stop()
