"""What a sink does not write: what is handed over while the guard is shut, and what its owner took back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import ProducerClosed
from structlog.testing import capture_logs

from consumer.kafka.sink import KafkaSink
from consumer.record import OutRecord
from tests.broker.cluster import unique
from tests.kafka.member import joined, settings


if TYPE_CHECKING:
    from tests.broker.cluster import Broker


class _Gate:
    """A guard that is shut and opened by hand."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    @property
    def shut(self) -> bool:
        return not self._open.is_set()

    async def opened(self) -> None:
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


async def _written(broker: Broker, topic: str, count: int) -> list[bytes | None]:
    """The values in a topic, of which there are exactly so many."""
    async with joined(settings(broker, topic)) as member:
        records = await member.read(count)
        assert await member.source.poll(member.partitions, 0.3) == {}
        return [record.value for record in records]


def test_nothing_is_written_while_the_guard_is_shut(broker: Broker) -> None:
    """What a process had in hand when it stood still is written only when it is known that nobody replaced it."""

    async def main() -> None:
        topic = unique("guarded")
        broker.create_topic(topic)
        gate = _Gate()
        sink = KafkaSink(settings(broker, topic), [topic], guard=gate)
        await sink.start()
        futures = [await sink.send(OutRecord(topic, b"k", b"%d" % n)) for n in range(5)]
        _, waiting = await asyncio.wait(futures, timeout=0.5)
        assert len(waiting) == 5
        assert await _written(broker, topic, 0) == []
        gate.open()
        await sink.flush()
        await sink.stop()
        assert await _written(broker, topic, 5) == [b"0", b"1", b"2", b"3", b"4"]

    asyncio.run(main())


def test_a_record_that_was_taken_back_is_not_written(broker: Broker) -> None:
    """The verdicts of partitions that another process has by now are not written late; all others are, in order."""

    async def main() -> None:
        topic = unique("taken-back")
        broker.create_topic(topic)
        gate = _Gate()
        sink = KafkaSink(settings(broker, topic), [topic], guard=gate)
        await sink.start()
        futures = [await sink.send(OutRecord(topic, b"k", b"%d" % n)) for n in range(6)]
        await asyncio.sleep(0.1)
        for n in (1, 2, 5):
            futures[n].cancel()
        await asyncio.sleep(0.1)
        gate.open()
        await sink.flush()
        assert [future.cancelled() for future in futures] == [False, True, True, False, False, True]
        await sink.stop()
        assert await _written(broker, topic, 3) == [b"0", b"3", b"4"]

    asyncio.run(main())


def test_a_record_is_taken_back_also_from_a_producer_that_is_being_closed(broker: Broker) -> None:
    """A verdict that is given up while another partition's failure has the producer replaced is not written."""

    async def main() -> None:
        broken, lost = unique("broken"), unique("lost")
        broker.create_topic(broken)
        broker.create_topic(lost)
        gate = _Gate()
        sink = KafkaSink(settings(broker, broken, lost), [broken, lost], guard=gate)
        await sink.start()
        other = await sink.send(OutRecord(broken, b"k", b"x"))
        mine = await sink.send(OutRecord(lost, b"k", b"of a partition that another process has"))
        await asyncio.sleep(0.1)
        with capture_logs() as logs:
            # As where a batch of one partition is refused: the producer lets those of the others end well.
            sink._replace(sink._producer, ProducerClosed("another partition's batch failed"))
            await asyncio.sleep(0.1)
            mine.cancel()
            await asyncio.sleep(0.3)
            gate.open()
            await sink.flush()
        assert [line["event"] for line in logs] == ["producer_replaced"]
        assert other.exception() is None
        await sink.stop()
        assert await _written(broker, broken, 1) == [b"x"]
        assert await _written(broker, lost, 0) == []

    asyncio.run(main())


def test_a_sink_whose_guard_is_shut_stops_in_time(broker: Broker) -> None:
    """A standby that is told to stop does not wait for a proof that never comes."""

    async def main() -> None:
        topic = unique("shut")
        broker.create_topic(topic)
        sink = KafkaSink(settings(broker, topic), [topic], guard=_Gate(), stop_seconds=0.3)
        await sink.start()
        future = await sink.send(OutRecord(topic, None, b"x"))
        async with asyncio.timeout(5):
            await sink.stop()
        assert future.exception() is not None

    asyncio.run(main())
