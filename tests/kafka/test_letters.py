"""Dead letters on the embedded broker and on a real Apache Kafka: reading them, and writing their originals again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from consumer.demo.broker import EmbeddedBroker
from consumer.engine.letters import Letter, letter_of
from consumer.errors import DeliveryRefused, StartError, Stuck
from consumer.kafka.letters import LetterReader, Replayer
from consumer.kafka.replay_progress import ReplayProgress
from consumer.record import Partition, Record
from tests.broker.cluster import KafkaCluster, unique
from tests.kafka.burial import bury, died, everything
from tests.kafka.member import settings


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.settings.models import Kafka
    from tests.broker.cluster import Broker


__all__: list[str] = []


async def letters_of(reader: LetterReader) -> list[Letter]:
    found = [letter_of(record) async for record in reader.records()]
    return [each for each in found if each is not None]


async def replay(kafka: Kafka, dead: str, *, to: str | None = None) -> list[str]:
    """Replay all that was not replayed before, and return the places of these letters."""
    places = []
    async with LetterReader(kafka, dead) as reader:
        progress = ReplayProgress(kafka, reader)
        starts = await progress.resume()
        await progress.commit(starts)
        async with Replayer(kafka, reader, progress) as replayer:
            async for record in reader.records(starts):
                found = letter_of(record)
                assert found is not None
                await replayer.write(found, to)
                places.append(found.place)
    return places


ODD = (
    (b"k", b'{"id": 1}', (("trace", b"\x00\xff"), ("trace", b"again"), ("", b""))),
    ("键".encode(), b"\xff\x00\x1b", ()),
    (None, b"", (("moderation-topic", b"the user's own"), ("moderation-null-value", b"no"))),
    (None, None, ()),
    (b"", None, (("empty", b""),)),
    (b"k", b"", (("moderation-replay-count", b"1"),)),
)


def test_originals_come_back_byte_for_byte(broker: Broker) -> None:
    """Null and empty keys and values, bytes that are no text, and headers of any name come back to their partition."""

    async def main() -> None:
        topic, dead = unique("ugc"), unique("dead")
        for name in (topic, dead):
            broker.create_topic(name)
        originals = [Record(Partition(topic, n % 4), n, 0, *each) for n, each in enumerate(ODD)]
        await bury(broker, *(died(dead, original) for original in originals))
        kafka = settings(broker, topic)
        assert len(await replay(kafka, dead)) == len(ODD)
        replayed = await everything(broker, topic)
        found = {(each.partition.partition, each.key, each.value, each.headers) for each in replayed}
        counts = [b"1"] * 5 + [b"2"]
        assert found == {
            (
                each.partition.partition,
                each.key,
                each.value,
                (
                    *(header for header in each.headers if header[0] != "moderation-replay-count"),
                    ("moderation-replay-count", count),
                ),
            )
            for each, count in zip(originals, counts, strict=True)
        }

    asyncio.run(main())


def test_letters_come_by_time_and_end_where_they_ended(broker: Broker) -> None:
    """All letters of all partitions come once, in the order of each and by time; those written meanwhile do not."""

    async def main() -> None:
        dead = unique("dead")
        broker.create_topic(dead)
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
            for n in range(200):
                each = died(dead, Record(Partition("ugc", 0), n, 0, b"k", b"x" * 3000))
                headers = list(each.headers)
                await producer.send(dead, each.value, each.key, n % 3, timestamp_ms=1_000 + n, headers=headers)
        async with LetterReader(settings(broker, dead), dead) as reader:
            assert sum(reader.ends.values()) == 200
            await bury(broker, died(dead, Record(Partition("ugc", 0), 999, 0, b"k", b"late")), partition=0)
            assert [each.offset for each in await letters_of(reader)] == list(range(200))

    asyncio.run(main())


def test_one_letter_is_found_by_its_place(broker: Broker) -> None:
    """A letter is read by partition and offset, and there is none beyond the end or in another partition."""

    async def main() -> None:
        dead = unique("dead")
        broker.create_topic(dead)
        await bury(
            broker, *(died(dead, Record(Partition("ugc", 0), n, 0, b"k", b"%d" % n)) for n in range(3)), partition=2
        )
        async with LetterReader(settings(broker, dead), dead) as reader:
            for n in (2, 0, 1):
                found = await reader.read(2, n)
                assert found is not None
                assert (found.offset, found.value) == (n, b"%d" % n)
            assert [await reader.read(*place) for place in ((2, 3), (1, 0), (9, 0))] == [None, None, None]

    asyncio.run(main())


def test_second_replay_goes_on_where_the_first_ended(broker: Broker) -> None:
    """What was replayed or passed over is not replayed again, also when the first replay broke off in the middle."""

    async def main() -> None:
        topic, dead = unique("ugc"), unique("dead")
        for name in (topic, dead):
            broker.create_topic(name)
        await bury(broker, *(died(dead, Record(Partition(topic, 0), n, 0, b"k", b"")) for n in range(6)), partition=1)
        kafka = settings(broker, topic)
        async with LetterReader(kafka, dead) as reader:
            progress = ReplayProgress(kafka, reader)
            assert await progress.resume() == {0: 0, 1: 0, 2: 0, 3: 0}
            await progress.commit(await progress.resume())
            async with Replayer(kafka, reader, progress) as replayer:
                found = await letters_of(reader)
                await replayer.write(found[0])
                replayer.passed(found[1].record)
                await replayer.write(found[2])
                replayer.passed(found[3].record)  # of which nothing is recorded before the next letter
        assert await replay(kafka, dead) == ["1@3", "1@4", "1@5"]
        assert await replay(kafka, dead) == []
        assert len(await replay(settings(broker, topic), dead)) == 6

    asyncio.run(main())


def test_of_two_replays_the_later_goes_on(broker: Broker) -> None:
    """A replay that another one has taken over from writes nothing more and says so."""

    async def main() -> None:
        topic, dead = unique("ugc"), unique("dead")
        for name in (topic, dead):
            broker.create_topic(name)
        await bury(broker, *(died(dead, Record(Partition(topic, 0), n, 0, b"k", b"%d" % n)) for n in range(3)))
        kafka = settings(broker, topic)
        async with LetterReader(kafka, dead) as reader:
            progress = ReplayProgress(kafka, reader)
            await progress.commit(await progress.resume())
            async with Replayer(kafka, reader, progress) as replayer:
                found = await letters_of(reader)
                await replayer.write(found[0])
                assert len(await replay(kafka, dead)) == 2
                with pytest.raises(Stuck, match=r"another replay under the group .*replay has begun"):
                    await replayer.write(found[1])
        assert [each.value for each in await everything(broker, topic)] == [b"0", b"1", b"2"]

    asyncio.run(main())


def test_position_that_the_topic_does_not_have_counts_for_nothing(broker: Broker) -> None:
    """After the topic was made anew under its name, a replay begins at its start."""

    async def main() -> None:
        dead = unique("dead")
        broker.create_topic(dead)
        await bury(broker, died(dead, Record(Partition(dead, 0), 1, 0, b"k", b"")), partition=0)
        kafka = settings(broker, dead)
        async with LetterReader(kafka, dead) as reader:
            progress = ReplayProgress(kafka, reader)
            await progress.commit({0: 1, 1: 50})
            assert await progress.resume() == {0: 1, 1: 0, 2: 0, 3: 0}

    asyncio.run(main())


@pytest.mark.kafka
def test_letters_that_were_not_committed_are_not_seen(kafka: KafkaCluster) -> None:
    """Of letters written in transactions only those committed are read, and markers at the end do not stop it."""

    async def main() -> None:
        dead = unique("dead")
        kafka.create_topic(dead)
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique("unit")
        ) as producer:
            for n, committed in enumerate([True, False, True, False]):
                await producer.begin_transaction()
                each = died(dead, Record(Partition("ugc", 0), n, 0, b"k", b""))
                await producer.send_and_wait(dead, each.value, each.key, 0, headers=list(each.headers))
                await (producer.commit_transaction() if committed else producer.abort_transaction())
        async with LetterReader(settings(kafka, dead), dead) as reader, asyncio.timeout(10):
            assert [each.offset for each in await letters_of(reader)] == [0, 2]
            assert [await reader.read(0, marker) for marker in (1, 7)] == [None, None]

    asyncio.run(main())


@pytest.mark.kafka
def test_record_that_is_refused_stops_no_other(kafka: KafkaCluster) -> None:
    """An original that its topic takes no more is told and passed over, and those after it are written."""

    async def main() -> None:
        topic, dead = unique("ugc"), unique("dead")
        kafka.create_topic(topic, config={"max.message.bytes": "10000"})
        kafka.create_topic(dead)
        values: Sequence[bytes] = (b"first", b"." * 20_000, b"last")
        await bury(kafka, *(died(dead, Record(Partition(topic, 1), n, 0, b"k", each)) for n, each in enumerate(values)))
        given = settings(kafka, topic)
        async with LetterReader(given, dead) as reader:
            progress = ReplayProgress(given, reader)
            await progress.commit(await progress.resume())
            async with Replayer(given, reader, progress) as replayer:
                first, huge, last = await letters_of(reader)
                await replayer.write(first)
                with pytest.raises(DeliveryRefused, match=f"larger than {topic} takes"):
                    await replayer.write(huge)
                await replayer.write(last)
        assert await replay(given, dead) == []
        assert [each.value for each in await everything(kafka, topic)] == [b"first", b"last"]

    asyncio.run(main())


def test_topic_that_is_not_there_is_told(broker: Broker) -> None:
    """Where there is no topic of dead letters, the error names it and the setting."""

    async def main() -> None:
        dead = unique("dead")
        with pytest.raises(StartError, match=dead) as caught:
            async with LetterReader(settings(broker, "ugc"), dead):
                raise AssertionError
        assert "output.dead_letters" in caught.value.remedy

    asyncio.run(main())


def test_brokers_that_fall_silent_are_told() -> None:
    """When the brokers go away while letters are read, it ends with an error within a request's time-out."""

    async def main(broker: EmbeddedBroker) -> None:
        dead = unique("dead")
        broker.create_topic(dead)
        await bury(broker, *(died(dead, Record(Partition("ugc", 0), n, 0, b"k", b"")) for n in range(3)), partition=0)
        async with LetterReader(settings(broker, dead, request_timeout_seconds=1.5), dead) as reader:
            records = reader.records()
            await anext(records)
            broker.stop()
            began = time.monotonic()
            with pytest.raises(Stuck, match="try again when they are well"):
                async for _ in records:
                    pass
            assert time.monotonic() - began < 6

    with EmbeddedBroker() as broker:
        asyncio.run(main(broker))
