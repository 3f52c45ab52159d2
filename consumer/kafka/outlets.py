"""Records that wait to be written, by partition, and how many of them make a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from consumer.kafka.producers import BATCH_BYTES


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumer.record import OutRecord


__all__ = ["Delivery", "Outlet", "Outlets"]


class _Sink(Protocol):
    """Who hands records over."""

    def taken_back(self, delivery: Delivery) -> None:
        """A record is not to be written any more."""


class Delivery(asyncio.Future[None]):
    """A record on its way: it ends with its acknowledgement, and who cancels it takes the record back."""

    __slots__ = ("in_vain", "outlet", "record", "sink", "size_bytes", "suspect")

    def __init__(self, record: OutRecord, outlet: Outlet, sink: _Sink, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.record = record
        self.size_bytes = len(record.value or b"") + len(record.key or b"")
        self.outlet = outlet
        self.sink = sink
        self.suspect = False  # whether a batch with it in was refused
        self.in_vain = 0  # how often it was refused alone, for no reason that is its own for sure

    def cancel(self, msg: Any | None = None) -> bool:
        """Take the record back, unless it was sent to the broker already."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.sink.taken_back(self)
        return cancelled


class Outlet:
    """What waits for one partition, and the batch that is on its way there: one at a time, which keeps their order."""

    __slots__ = ("away_since", "on_way", "partition", "room", "topic", "waiting", "waiting_bytes")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Delivery] = deque()
        self.waiting_bytes = 0
        self.on_way: Sequence[Delivery] = ()
        self.room = asyncio.Event()
        self.away_since: float | None = None  # by the loop's clock, when the brokers do not know it

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more record may wait; a record of any size may wait alone."""
        return not self.waiting or self.waiting_bytes + size_bytes <= BATCH_BYTES

    def put(self, delivery: Delivery) -> None:
        """Have a record wait, behind all others."""
        self.waiting.append(delivery)
        self.waiting_bytes += delivery.size_bytes

    def take(self) -> Delivery:
        """The record that waits in front."""
        delivery = self.waiting.popleft()
        self.waiting_bytes -= delivery.size_bytes
        return delivery

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have records wait again, before all others."""
        self.waiting.extendleft(reversed(deliveries))
        self.waiting_bytes += sum(delivery.size_bytes for delivery in deliveries)

    def fill(self, batch: Any) -> list[Delivery]:
        """Put what waits into a batch, as far as it goes; a suspect goes alone, so that a refusal is its own."""
        taken: list[Delivery] = []
        while self.waiting:
            delivery = self.waiting[0]
            if not delivery.done():
                if taken and (delivery.suspect or taken[0].suspect):
                    break
                record = delivery.record
                # No timestamp: the record has the time of now. With an event's own, one of the past would expire at
                # once, and one of the future would be refused, and with it all that comes after.
                added = batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
                if added is None:
                    break
                taken.append(delivery)
            self.take()
        batch.close()
        return taken


class Outlets:
    """All partitions that records wait for, by what is known of their topics.

    Args:
        topics: Their names.
        partitioner: Which partition a key goes to, of all there are and those that can be written to.
    """

    def __init__(
        self, topics: Collection[str], partitioner: Callable[[Any, Sequence[int], Sequence[int]], int]
    ) -> None:
        self._topics = topics
        self._partitioner = partitioner
        self._partitions: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
        self._gone: set[str] = set()
        self._outlets: dict[tuple[str, int], Outlet] = {}

    def look(self, cluster: Any) -> None:
        """Take note of which partitions there are: a topic may have got more, and a leader may be away."""
        for topic in self._topics:
            there = cluster.partitions_for_topic(topic)
            if there:
                self._partitions[topic] = sorted(there), sorted(cluster.available_partitions_for_topic(topic) or ())
                self._gone.discard(topic)
            else:
                self._gone.add(topic)

    def of(self, record: OutRecord) -> Outlet:
        """Where a record goes."""
        all_partitions, available = self._partitions[record.topic]
        partition = self._partitioner(record.key, all_partitions, available)
        outlet = self._outlets.get((record.topic, partition))
        if outlet is None:
            outlet = self._outlets[record.topic, partition] = Outlet(record.topic, partition)
        return outlet

    def all(self) -> list[Outlet]:
        """Those that there have been records for."""
        return list(self._outlets.values())

    def is_topic_there(self, outlet: Outlet) -> bool:
        """Whether the brokers know its topic."""
        return outlet.topic not in self._gone

    def is_there(self, outlet: Outlet) -> bool:
        """Whether the brokers know its partition."""
        return outlet.topic not in self._gone and outlet.partition in self._partitions[outlet.topic][0]

    def move(self, outlet: Outlet) -> None:
        """Have what waits for a partition that is there no more wait for others of its topic, in its order."""
        del self._outlets[outlet.topic, outlet.partition]
        while outlet.waiting:
            delivery = outlet.take()
            delivery.outlet = self.of(delivery.record)
            delivery.outlet.put(delivery)
        outlet.room.set()
