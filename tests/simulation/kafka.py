"""A Kafka in memory: topics, groups and transactions behind a network, true to the real one where it matters here."""

from __future__ import annotations

import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from consumer.record import Partition
from tests.simulation.groups import METADATA_CHARACTERS, Group
from tests.simulation.logs import Log, Raw
from tests.simulation.network import Refused
from tests.simulation.transactions import Transactions
from tests.virtual_time import EPOCH


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.record import Position
    from tests.simulation.logs import Entry, Fate
    from tests.simulation.network import Call, Network


__all__ = ["Batch", "MemoryKafka"]


Batch = tuple[int, "Sequence[Raw]"]
"""A producer's sequence number of the first record, and the records."""


class MemoryKafka:
    """Serves the requests of clients. Its methods that take a `Call` run when the request arrives."""

    def __init__(
        self, network: Network, *, metadata_characters: int = METADATA_CHARACTERS, largest_record_bytes: int = 1_000_000
    ) -> None:
        self.network = network
        self.metadata_characters = metadata_characters
        self.largest_record_bytes = largest_record_bytes
        self.logs: dict[Partition, Log] = {}
        self.groups: dict[str, Group] = defaultdict(
            lambda: Group(network, metadata_characters=self.metadata_characters)
        )
        self.transactions = Transactions(network, self._mark)
        self._waiting: dict[Call, Callable[[], None]] = {}
        self._looking = False
        network.on_back.append(self._came_back)

    # What a test does to it directly

    def create(self, topic: str, partitions: int) -> list[Partition]:
        """Make a topic."""
        made = [Partition(topic, number) for number in range(partitions)]
        for partition in made:
            self.logs[partition] = Log(self._changed)
        return made

    def partitions(self, topic: str) -> list[Partition]:
        """The partitions of a topic."""
        return [partition for partition in self.logs if partition.topic == topic]

    def partition_of(self, topic: str, key: bytes | None) -> Partition:
        """Where a record with this key goes."""
        return Partition(topic, zlib.crc32(key or b"") % len(self.partitions(topic)))

    def produce(self, partition: Partition, *records: Raw) -> int:
        """Write records as a producer outside does; returns the first one's offset."""
        return self.logs[partition].append(records, self.timestamp())

    def read(self, topic: str, *, committed: bool = True) -> list[tuple[Partition, Entry]]:
        """Everything in a topic, partition by partition."""
        return [
            (partition, entry)
            for partition in self.partitions(topic)
            for entry in self.logs[partition].read(self.logs[partition].start, committed=committed)[0]
        ]

    def timestamp(self) -> int:
        """Now, in milliseconds."""
        return round((EPOCH + self.network.loop.time()) * 1000)

    # Requests to partitions' leaders

    def fetch(
        self,
        call: Call,
        positions: Mapping[Partition, int],
        limit: int,
        wait_seconds: float,
        *,
        committed: bool = True,
    ) -> None:
        """Fetch: answered with (records, next position, end) by partition when there are any, or the wait is over."""

        def look(*, last: bool = False) -> bool:
            found, news = {}, last
            try:
                for partition, position in positions.items():
                    log = self.logs[partition]
                    entries, following = log.read(position, limit, committed=committed)
                    news = news or following > position
                    found[partition] = (entries, following, log.stable_end if committed else log.end)
            except Refused as refused:
                call.refuse(refused.code)
                return True
            if news:
                call.answer(found)
            return news

        def over() -> None:
            if self._waiting.pop(call, None) is not None:
                look(last=True)

        def try_it() -> None:
            if call in self._waiting and look():
                del self._waiting[call]

        if not look():
            self._waiting[call] = try_it
            self.network.loop.call_later(wait_seconds, over, context=self.network.world)

    def bounds(self, call: Call, partitions: Collection[Partition]) -> None:
        """ListOffsets: the first offset and the end of each partition."""
        call.answer({partition: (self.logs[partition].start, self.logs[partition].end) for partition in partitions})

    def write(
        self,
        call: Call,
        batches: Mapping[Partition, Batch],
        producer: int,
        epoch: int,
        *,
        transactional: bool = False,
    ) -> None:
        """Produce: answered with each partition's first offset, or the error of the first that is refused."""
        timestamp = self.timestamp()
        offsets: dict[Partition, int] = {}
        error: Refused | None = None
        for partition, (sequence, records) in batches.items():
            log = self.logs[partition]
            try:
                if any(len(raw.value or b"") + len(raw.key or b"") > self.largest_record_bytes for raw in records):
                    raise Refused("MESSAGE_TOO_LARGE")  # noqa: TRY301  # one way out for all refusals
                if transactional and not log.opened_by(producer):
                    self._verify(producer, epoch, partition)
                offsets[partition] = log.append(
                    records,
                    timestamp,
                    producer=producer,
                    epoch=epoch,
                    sequence=sequence,
                    transactional=transactional,
                )
            except Refused as refused:
                error = error or refused
        if error is None:
            call.answer(offsets)
        else:
            call.refuse(error.code)

    def commit_in_transaction(
        self, call: Call, group_id: str, producer: int, epoch: int, offsets: Mapping[Partition, Position]
    ) -> None:
        """TxnOffsetCommit."""
        try:
            self._verify(producer, epoch, group_id)
        except Refused as refused:
            call.refuse(refused.code)
        else:
            self.groups[group_id].commit_in_transaction(call, producer, epoch, offsets)

    # Inside

    def _verify(self, producer: int, epoch: int, member: Partition | str) -> None:
        """As brokers from 3.6 on do: nothing is taken into a transaction that its coordinator does not know open."""
        if not self.transactions.takes(producer, epoch, member):
            raise Refused("INVALID_TXN_STATE")

    def _mark(self, member: Partition | str, producer: int, epoch: int, fate: Fate) -> bool:
        if self.network.away("", "group" if isinstance(member, str) else "log"):
            return False
        if isinstance(member, str):
            self.groups[member].mark(producer, epoch, fate)
        else:
            self.logs[member].mark(producer, epoch, fate, self.timestamp())
        return True

    def _changed(self) -> None:
        """Look for those who wait to fetch, once for all that changes now."""
        if self._waiting and not self._looking:
            self._looking = True
            self.network.loop.call_soon(self._look_for_waiting, context=self.network.world)

    def _look_for_waiting(self) -> None:
        self._looking = False
        for try_it in list(self._waiting.values()):
            try_it()

    def _came_back(self, nodes: frozenset[str]) -> None:
        if "group" in nodes:
            for group in self.groups.values():
                group.came_back()

    def __repr__(self) -> str:
        ends: dict[str, Any] = {str(partition): log.end for partition, log in self.logs.items()}
        return f"<MemoryKafka {ends}>"
