"""What tests of dead letters share: making them, writing them, and reading whole topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from consumer.engine.letters import dead_letter
from consumer.errors import DecodeError
from consumer.kafka.letters import LetterReader
from tests.kafka.member import settings


if TYPE_CHECKING:
    from consumer.errors import RecordError
    from consumer.record import OutRecord, Record
    from tests.broker.cluster import Broker


__all__ = ["bury", "died", "everything"]


def died(dead: str, record: Record, error: RecordError | None = None) -> OutRecord:
    """The dead letter of a record."""
    return dead_letter(dead, record, error or DecodeError("no JSON"))


async def bury(broker: Broker, *letters: OutRecord, partition: int | None = None) -> None:
    """Write letters, one after the other."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for each in letters:
            headers = list(each.headers)
            await producer.send_and_wait(each.topic, each.value, each.key, partition, headers=headers)


async def everything(broker: Broker, topic: str) -> list[Record]:
    """All records of a topic, by time."""
    async with LetterReader(settings(broker, topic), topic) as reader:
        return [record async for record in reader.records()]
