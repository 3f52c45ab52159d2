"""What a sink does when the topics it writes to change under it: partitions and whole topics that go, and come back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from structlog.testing import capture_logs

from consumer.kafka.outlets import Delivery, Outlets
from consumer.record import OutRecord
from tests.broker.cluster import unique
from tests.kafka.test_sink import everything, outcome, started


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.broker.cluster import KafkaCluster


@asynccontextmanager
async def administration(kafka: KafkaCluster) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def made_anew(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    """Make a topic that was just deleted; the brokers take a moment for that."""
    async with asyncio.timeout(20):
        while (await admin.create_topics([NewTopic(topic, partitions, 1)])).topic_errors[0][1] != 0:
            await asyncio.sleep(0.1)


@pytest.mark.kafka
def test_a_topic_that_is_made_anew_with_fewer_partitions_is_written_to(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for partitions that are gone goes to those that there are, and the sink goes on."""
    monkeypatch.setattr("consumer.kafka.sink.GONE_SECONDS", 1.0)

    async def main() -> None:
        topic = unique("shrinks")
        kafka.create_topic(topic, partitions=6)
        async with started(kafka, topic, request_timeout_seconds=3) as sink, administration(kafka) as admin:
            for n in range(12):
                await (await sink.send(OutRecord(topic, b"%d" % n, b"old")))
            await admin.delete_topics([topic])
            await made_anew(admin, topic, 1)
            futures = [await sink.send(OutRecord(topic, b"%d" % n, b"new")) for n in range(12)]
            async with asyncio.timeout(40):
                assert [await outcome(future) for future in futures] == 12 * [None]
        found = {record.key for record in await everything(kafka, topic, 12)}
        assert found == {b"%d" % n for n in range(12)}

    asyncio.run(main())


@pytest.mark.kafka
def test_a_topic_that_is_gone_keeps_no_other_waiting(kafka: KafkaCluster) -> None:
    """Verdicts for one topic are written while another is away; what waits for that one arrives when it is back."""

    async def main() -> None:
        stays, goes = unique("stays"), unique("goes")
        kafka.create_topic(stays)
        kafka.create_topic(goes)
        async with started(kafka, stays, goes, request_timeout_seconds=2) as sink, administration(kafka) as admin:
            for topic in (stays, goes):
                await (await sink.send(OutRecord(topic, b"k", b"0")))
            await admin.delete_topics([goes])
            with capture_logs() as logs:
                waiting = [await sink.send(OutRecord(goes, b"k", b"%d" % n)) for n in range(2)]
                async with asyncio.timeout(20):
                    while "partition_away" not in [line["event"] for line in logs]:
                        await (await sink.send(OutRecord(stays, b"k", b"1")))
                # Each would wait for two seconds if it waited for the other topic.
                async with asyncio.timeout(20):
                    for _ in range(50):
                        await (await sink.send(OutRecord(stays, b"k", b"2")))
                assert not any(future.done() for future in waiting)
                await made_anew(admin, goes, 1)
                async with asyncio.timeout(20):
                    assert [await outcome(future) for future in waiting] == [None, None]

    asyncio.run(main())


class Cluster:
    """Says which partitions a topic has, as the client's metadata does."""

    def __init__(self, *partitions: int) -> None:
        self.partitions = set(partitions)

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return self.partitions or None

    def available_partitions_for_topic(self, _topic: str) -> set[int] | None:
        return self.partitions or None


def by_number(key: Any, partitions: Sequence[int], _available: Sequence[int]) -> int:
    return partitions[int(key) % len(partitions)]


class Sink:
    """Nothing is taken back from it."""

    def taken_back(self, delivery: Delivery) -> None:
        raise AssertionError(delivery)


def test_what_waits_for_a_partition_that_is_gone_keeps_its_order() -> None:
    """Records of one key stay behind one another where their partition changes, and none gets lost on the way."""

    async def main() -> None:
        outlets = Outlets(["t"], by_number)
        cluster = Cluster(0, 1, 2)
        outlets.look(cluster)
        loop = asyncio.get_running_loop()
        for n in range(30):
            record = OutRecord("t", b"%d" % (n % 6), b"%d" % n)
            outlet = outlets.of(record)
            outlet.put(Delivery(record, outlet, Sink(), loop))
        assert [outlet.partition for outlet in outlets.all()] == [0, 1, 2]
        cluster.partitions = set()
        outlets.look(cluster)
        assert not any(outlets.is_there(outlet) for outlet in outlets.all())
        cluster.partitions = {0, 1}
        outlets.look(cluster)
        [gone] = [outlet for outlet in outlets.all() if not outlets.is_there(outlet)]
        outlets.move(gone)
        assert (gone.waiting_bytes, len(gone.waiting)) == (0, 0)
        waiting = [delivery for outlet in outlets.all() for delivery in outlet.waiting]
        assert all(delivery in delivery.outlet.waiting for delivery in waiting)
        for key in range(6):
            values = [int(one.record.value or b"") for one in waiting if one.record.key == b"%d" % key]
            assert values == [n for n in range(30) if n % 6 == key]

    asyncio.run(main())
