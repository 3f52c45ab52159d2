"""Asking a coordinator for offsets that no open transaction can still change."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
)

from consumer.kafka.offset_fetch import UnstableOffsetError, stable_offsets
from consumer.record import Partition, Position
from tests.broker.cluster import unique
from tests.kafka.ledger import administering, stored


if TYPE_CHECKING:
    from tests.broker.cluster import Broker, KafkaCluster


class Answering:
    """An admin client whose coordinator gives one answer."""

    def __init__(self, code: int, topics: list[Any]) -> None:
        self._client = self
        self._answer = SimpleNamespace(API_VERSION=7, error_code=code, topics=topics)

    async def find_coordinator(self, group_id: str) -> int:
        return 1

    async def send(self, node: int, request: object) -> SimpleNamespace:
        return self._answer


def asked(code: int, *entries: tuple[int, int, int, str, int, dict[int, bytes]]) -> KafkaError:
    """What comes of asking for partitions 0 and 1 of a topic, when this is the answer."""
    admin: Any = Answering(code, [("t", list(entries), {})])
    wanted = [TopicPartition("t", 0), TopicPartition("t", 1)]
    with pytest.raises(KafkaError) as caught:
        asyncio.run(stable_offsets(admin, "g", wanted))
    return caught.value


def test_offsets_come_back_with_their_metadata(broker: Broker) -> None:
    """Each partition that was asked for is told, and -1 means that nothing is committed."""

    async def main() -> None:
        topic, group = unique("told"), unique("group")
        broker.create_topic(topic)
        partitions = [TopicPartition(topic, number) for number in range(4)]
        async with administering(broker, group) as admin:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=broker.bootstrap_servers, group_id=group, enable_auto_commit=False
            )
            async with consumer:
                consumer.assign(partitions)
                await consumer.commit({partitions[1]: OffsetAndMetadata(7, "内容"), partitions[3]: (0, "")})
            found = await stable_offsets(admin, group, partitions)
            assert found == {
                partitions[0]: OffsetAndMetadata(-1, ""),
                partitions[1]: OffsetAndMetadata(7, "内容"),
                partitions[2]: OffsetAndMetadata(-1, ""),
                partitions[3]: OffsetAndMetadata(0, ""),
            }
            assert await stable_offsets(admin, group, []) == {}

    asyncio.run(main())


@pytest.mark.kafka
def test_offset_in_an_open_transaction_is_not_taken_for_what_is_committed(kafka: KafkaCluster) -> None:
    """While a transaction may still change an offset it is unstable, and named; the client's own request is silent."""

    async def main() -> None:
        topic, group = unique("pending"), unique("group")
        kafka.create_topic(topic)
        pending, other = TopicPartition(topic, 2), TopicPartition(topic, 3)
        async with administering(kafka, group) as admin:
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=group)
            async with producer:
                await producer.begin_transaction()
                await producer.send_offsets_to_transaction({pending: OffsetAndMetadata(5, "note")}, group)
                with pytest.raises(UnstableOffsetError, match=f"{topic}/2") as caught:
                    await stable_offsets(admin, group, [other, pending])
                assert caught.value.retriable
                assert (await stable_offsets(admin, group, [other]))[other].offset == -1
                silent = await admin.list_consumer_group_offsets(group, partitions=[pending])
                assert silent[pending].offset == -1
                await producer.commit_transaction()
            # The transaction's end is answered before all of it is written.
            assert await stored(admin, group, Partition(*pending)) == [Position(5, "note")]

    asyncio.run(main())


def test_coordinator_that_is_loading_or_has_moved_is_asked_again() -> None:
    """An error for the whole answer, or for one partition, is raised as what it is, and says what it is about."""
    loading = asked(14, (0, -1, -1, "", 0, {}), (1, -1, -1, "", 0, {}))
    moved = asked(0, (0, 3, -1, "", 0, {}), (1, -1, -1, "", 16, {}))
    forbidden = asked(0, (0, 3, -1, "", 0, {}), (1, -1, -1, "", 29, {}))
    assert isinstance(loading, GroupLoadInProgressError)
    assert isinstance(moved, NotCoordinatorForGroupError)
    assert isinstance(forbidden, TopicAuthorizationFailedError)
    assert [loading.retriable, moved.retriable, forbidden.retriable] == [True, True, False]
    assert "group g" in str(loading)
    assert "t/1" in str(moved)


def test_partition_that_the_answer_leaves_out_is_not_taken_for_one_without_offsets() -> None:
    """An answer without a partition that was asked for is an error, after which asking again may help."""
    error = asked(0, (0, 3, -1, "", 0, {}))
    assert error.retriable
    assert "t/1" in str(error)
