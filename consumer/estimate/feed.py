"""Where a replay's records come from, and where its verdicts go: the engine's source and sink, without brokers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.engine.limits import Limits


if TYPE_CHECKING:
    from array import array
    from collections.abc import Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.ports import Assignments
    from consumer.estimate.corpus import Corpus, Given
    from consumer.record import OutRecord, Partition, Position
    from consumer.settings import Settings


__all__ = ["FETCH_BYTES", "Alone", "Feed", "Nowhere", "limits_without_brokers"]


FETCH_BYTES = 256 * 1024
"""What one poll brings of a partition, as it does from a broker."""

_LONGEST_METADATA = 4096
_POLL_SECONDS = 5.0


def limits_without_brokers(settings: Settings, *, commit_interval_seconds: float) -> Limits:
    """The configured limits of the engine, where it reads and writes nothing but this process's memory."""
    delivery, shutdown = settings.delivery, settings.shutdown
    return Limits(
        max_in_flight=delivery.max_in_flight,
        memory_budget_bytes=delivery.memory_budget_bytes,
        commit_interval_seconds=commit_interval_seconds,
        drain_seconds=shutdown.drain_seconds,
        flush_seconds=shutdown.flush_seconds,
        skip_null=delivery.on_null == "skip",
        fetch_bytes=FETCH_BYTES,
        poll_seconds=_POLL_SECONDS,
        ordering=delivery.order,
    )


class Alone:
    """What a source without brokers has in common: nobody else reads its partitions, and nobody reads its commits."""

    metadata_limit = _LONGEST_METADATA
    member = True

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        """Nothing is."""
        return dict.fromkeys(partitions)

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        """Each partition begins at its first record."""
        return dict.fromkeys(positions, 0)

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:  # noqa: ARG002  # the engine's call
        """Nobody reads it."""
        return True

    async def stop(self) -> None:
        """There is nothing to leave."""

    async def rejoin(self) -> None:
        """There is nobody to take over."""

    async def vouch(self) -> bool:
        """There is nobody else."""
        return True

    def positions(self) -> Mapping[Partition, int]:
        """Nothing but records is in a partition."""
        return {}

    def lag(self) -> Mapping[Partition, int]:
        """Nobody asks."""
        return {}


class Feed(Alone):
    """Hands out the records of some partitions: all there are, or, where they are `dated`, each when its time comes."""

    def __init__(self, corpus: Corpus, lanes: Mapping[Partition, array[int]], *, clock: Clock, dated: bool) -> None:
        self._corpus = corpus
        self._lanes = lanes
        self._next = dict.fromkeys(lanes, 0)
        self._clock = clock
        self._dated = dated

    @property
    def exhausted(self) -> bool:
        """Whether all has been handed out."""
        return all(self._next[partition] == len(numbers) for partition, numbers in self._lanes.items())

    async def start(self, assignments: Assignments) -> None:
        """All partitions are the engine's from now on."""
        assignments.assigned(list(self._lanes))

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Given]]:
        """What is there of these partitions, or what comes first within the time."""
        if (found := self._there(ready)) or not timeout_seconds:
            return found
        await asyncio.sleep(min(timeout_seconds, self._next_in(ready)))
        return self._there(ready)

    def _there(self, ready: Collection[Partition]) -> dict[Partition, list[Given]]:
        now_ms = self._clock.now() * 1000
        found: dict[Partition, list[Given]] = {}
        for partition in ready:
            numbers = self._lanes[partition]
            at, size_bytes = self._next[partition], 0
            records: list[Given] = []
            while at < len(numbers) and size_bytes < FETCH_BYTES:
                if self._dated and self._corpus.timestamp(numbers[at]) > now_ms:
                    break
                record = self._corpus.read(numbers[at], at)
                size_bytes += record.size_bytes
                records.append(record)
                at += 1
            if records:
                self._next[partition] = at
                found[partition] = records
        return found

    def _next_in(self, ready: Collection[Partition]) -> float:
        """How many seconds until there is another record; forever where there is none."""
        times = [
            self._corpus.timestamp(numbers[self._next[partition]])
            for partition in ready
            if self._next[partition] < len(numbers := self._lanes[partition])
        ]
        return min(times) / 1000 - self._clock.now() if times else float("inf")


class Nowhere:
    """A sink that takes everything at once and keeps nothing."""

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def send(self, record: OutRecord) -> asyncio.Future[None]:  # noqa: ARG002  # it is not looked at
        """It is acknowledged."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def flush(self) -> None:
        """All is acknowledged."""

    async def stop(self) -> None:
        """There is nothing to disconnect from."""
