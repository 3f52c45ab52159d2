"""Where each partition is read from next, and which are not read, since only a person can say where they go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import UnsupportedCodecError


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from consumer.kafka.offsets import Start
    from consumer.kafka.reader import Reader
    from consumer.metrics import Metrics
    from consumer.record import Partition


__all__ = ["Places"]


_log = structlog.get_logger(__name__)


class Places:
    """Moves a reader's partitions, or holds them: then it is said once in the log, and counted.

    Args:
        group_id: Whose offsets a person would have to set.
        reader: Reads the partitions.
        metrics: Where partitions are counted that are held, and records that expired.
    """

    def __init__(self, group_id: str, reader: Reader, metrics: Metrics) -> None:
        self.held: Mapping[Partition, str] = {}
        """Why each partition is not read, in plain words, with what to do about it."""
        self._group_id = group_id
        self._reader = reader
        self._metrics = metrics

    def place(self, partition: Partition, start: Start) -> None:
        """Read on from here; hold the partition where its log ends before."""
        # Seen at zero: to Prometheus, a counter that begins above it has not grown.
        expired = self._metrics.counter("records_expired").labels(partition.topic)
        if start.expired:
            expired.inc(start.expired)
            _log.warning("records_expired", partition=str(partition), expired=start.expired, next=start.offset)
        if start.log_end is None:
            self.release({partition})
            self._reader.move(partition, start.offset)
            return
        self._hold(
            partition,
            f"{partition} ends at {start.log_end}, but group {self._group_id} is to read on from {start.offset}: the "
            "topic was made anew, or has lost records. Stop the whole group, set its offset where it should go on, and "
            "start it again",
        )

    def unreadable(self, partition: Partition, position: int, error: Exception) -> None:
        """Hold a partition of which the next records are damaged, or compressed by what is not installed here."""
        if isinstance(error, UnsupportedCodecError):
            self._hold(
                partition,
                f"{partition} cannot be read from {position} on: {error}. Its records are compressed by snappy, lz4 or "
                "zstd: pip install 'moderation-consumer[formats]', and start again",
            )
            return
        self._hold(
            partition,
            f"{partition} cannot be read from {position} on: {error!r}. Have the disks of its brokers looked at; if "
            f"the records are lost for good, stop the whole group {self._group_id}, set its offset past them, and "
            "start it again",
        )

    def release(self, partitions: Collection[Partition]) -> None:
        """These are not held any more: they were moved, or are not ours."""
        topics = {partition.topic for partition in self.held.keys() & partitions}
        self.held = {partition: why for partition, why in self.held.items() if partition not in partitions}
        for topic in topics:
            self._count(topic)

    def _hold(self, partition: Partition, why: str) -> None:
        self._reader.hold(partition)
        self.held = {**self.held, partition: why}
        self._count(partition.topic)
        _log.error("partition_held", partition=str(partition), reason=why)

    def _count(self, topic: str) -> None:
        held = sum(partition.topic == topic for partition in self.held)
        self._metrics.gauge("held_partitions").labels(topic).set(held)
