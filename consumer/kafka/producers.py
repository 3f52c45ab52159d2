"""What all our producers share: how one is made, what a topic refuses, and how one is closed for good."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_zstd
from aiokafka.errors import (
    BrokerResponseError,
    ConcurrentTransactions,
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    UnknownError,
    UnknownProducerId,
)
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from consumer.errors import StartError
from consumer.kafka.connection import AFTERMATH_SECONDS, close_within, connect, record_size_limits, require_topics


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from consumer.quota.guard import Guard
    from consumer.record import OutRecord
    from consumer.settings.models import Kafka


__all__ = [
    "BATCH_BYTES",
    "Partitioner",
    "close_producer",
    "discard_producer",
    "hand_over",
    "is_refusal",
    "is_unclear",
    "new_producer",
    "obey",
    "too_large",
    "topic_limits",
]


LINGER_MS = 5
# Users write again soon, or not for long; what is no user's id but a text of any length is not kept.
_REMEMBERED_KEYS = 10_000
_LONGEST_REMEMBERED = 128
BATCH_BYTES = 256 * 1024

# The client's own limit must never speak: it cannot know what compression makes of a record, and the topic's limit is
# looked at before a record is handed to it.
REQUEST_BYTES = 64 * 1024 * 1024

# More than a batch and a record have beside a key and a value.
_OVERHEAD_BYTES = 200

# These say that the producer is broken, or something on the way, and not that a record is. That bytes arrive changed is
# no reason to the client to try again; Kafka's own tries again.
BROKEN = (
    ConcurrentTransactions,
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
)


async def topic_limits(
    kafka: Kafka, topics: Collection[str], *, setting: str = "output", close_seconds: float = 2.0
) -> dict[str, int]:
    """Check that topics exist, and read the `max.message.bytes` of those that tell.

    Args:
        kafka: The brokers.
        topics: All topics that will be written to.
        setting: The setting that names them, for the remedy when one does not exist.
        close_seconds: How long closing the connections afterwards may take.

    Raises:
        StartError: the brokers cannot be reached, refuse us, or a topic is missing.
    """
    admin = await connect(kafka)
    try:
        await require_topics(admin, topics, setting=setting, right="Write")
        return await record_size_limits(admin, topics)
    finally:
        await close_within(close_seconds, admin.close(), admin._client)  # noqa: SLF001  # its connections


def new_producer(
    options: Mapping[str, Any], *, limits: Mapping[str, int], compression: str, linger_ms: int = LINGER_MS, **more: Any
) -> Any:
    """An idempotent producer that was not started yet.

    Args:
        options: What every client takes.
        limits: The `max.message.bytes` of the topics it will write to, where known; no batch is made larger.
        compression: How batches are compressed; `none` for not at all.
        linger_ms: How long a batch waits for more records.
        more: Further options of aiokafka's producer.

    Raises:
        StartError: the library that compresses so is not installed.
    """
    if compression not in {"none", "gzip"} and not has_zstd():
        raise StartError(
            f"output.compression {compression} needs a library that is not installed: cramjam",
            "pip install 'moderation-consumer[formats]', or set output.compression to gzip",
        )
    return AIOKafkaProducer(
        **options,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=min([BATCH_BYTES, *limits.values()]),
        max_request_size=REQUEST_BYTES,
        compression_type=None if compression == "none" else compression,
        **{"partitioner": Partitioner(), **more},
    )


class Partitioner(DefaultPartitioner):  # type: ignore[misc]  # aiokafka has no types
    """Kafka's own choice by the hash of the key, which is remembered: in Python it takes longer than all the rest."""

    def __init__(self) -> None:
        self._hash = lru_cache(maxsize=_REMEMBERED_KEYS)(murmur2)

    def __call__(self, key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]) -> int:
        """The partition for this key; without a key any of those that can be written to."""
        if key is None:
            chosen: int = super().__call__(key, all_partitions, available)
            return chosen
        hashed: int = self._hash(key) if len(key) <= _LONGEST_REMEMBERED else murmur2(key)
        return all_partitions[(hashed & 0x7FFFFFFF) % len(all_partitions)]


def obey(producer: Any, guard: Guard) -> None:
    """Have a producer that was started send nothing while the guard is shut.

    What it had in hand when the process froze would else be written as soon as it wakes, beside what another process,
    which has taken over meanwhile, writes for the same records.
    """
    client = producer.client
    connected = client.ready

    async def ready(*where: Any, **more: Any) -> bool:
        # The client asks this directly before it writes, with no await between the two.
        while await connected(*where, **more):
            if not guard.shut:
                return True
            await guard.opened()
        return False

    client.ready = ready


async def hand_over(producer: Any, record: OutRecord) -> asyncio.Future[Any]:
    """Give a record to a producer, which stamps it with the time of now.

    No event's own time is ever handed on: a record of the past expires at once, and one of the future is refused, after
    which the producer can never write to that partition again.

    It waits while the record's partition has a full batch waiting. When cancelled before it returns, the record is not
    written.

    Raises:
        KafkaError: the producer does not take it: it is broken, closed, or has waited too long for room.
    """
    future: asyncio.Future[Any] = await producer.send(
        record.topic, key=record.key, value=record.value, headers=list(record.headers)
    )
    return future


def too_large(record: OutRecord, limits: Mapping[str, int], *, compression: str) -> bool:
    """Whether a topic is known to refuse a record. What compression makes of it only the broker can say."""
    limit = limits.get(record.topic)
    if compression != "none" or limit is None:
        return False
    if not record.headers and len(record.value or b"") + len(record.key or b"") + _OVERHEAD_BYTES <= limit:
        return False  # most records are so small that nothing has to be added up
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
    return bool(size > limit)


def is_refusal(error: BaseException) -> bool:
    """Whether an answer to a batch may be about its records, and not about the producer or the cluster."""
    return isinstance(error, BrokerResponseError) and not isinstance(error, BROKEN) and not error.retriable


def is_unclear(error: BaseException) -> bool:
    """Whether a refusal has no reason that is known: it may be the record's fault, or the broker's for a while."""
    return isinstance(error, UnknownError)


async def close_producer(producer: Any, seconds: float) -> None:
    """Let what a producer has in hand be acknowledged for so long, and close it; afterwards it sends nothing more.

    What is not acknowledged by then fails with ProducerClosed. When cancelled it is closed at once.
    """
    try:
        await close_within(seconds, producer.stop(), producer.client)
    finally:
        await _silence(producer)


async def discard_producer(producer: Any, seconds: float) -> None:
    """Close a producer that must not send anything more, whatever it has in hand, within so many seconds.

    What is not acknowledged fails with ProducerClosed. When cancelled its connections may stay open for a while.
    """
    await _silence(producer)
    await close_within(seconds, producer.stop(), producer.client)


async def _silence(producer: Any) -> None:
    """End all that a producer still does in the background, and fail what it has in hand.

    A stop waits for requests on their way, and abandons those that still look for a broker: they would be sent when it
    is back.
    """
    sender = producer._sender  # noqa: SLF001  # the producer has no call for this
    while tasks := _tasks_of(sender):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=AFTERMATH_SECONDS)
    accumulator = producer._message_accumulator  # noqa: SLF001  # as above
    batches = [batch for queue in accumulator._batches.values() for batch in queue]  # noqa: SLF001  # as above
    # A batch that is to be sent again is missing there, and its end would fail.
    accumulator._pending_batches.update(batches)  # noqa: SLF001  # as above
    accumulator.fail_all(ProducerClosed())
    ends = [batch._drain_waiter for batch in batches]  # noqa: SLF001  # as above
    transactions = producer._txn_manager  # noqa: SLF001  # as above
    if transactions.wait_for_transaction_end() is not None:
        transactions.fatal_error(ProducerClosed())
        ends.append(transactions.wait_for_transaction_end())
    for end in ends:
        if end.done() and not end.cancelled():
            end.exception()  # nobody may be left to hear of it, which asyncio would complain about


def _tasks_of(sender: Any) -> set[asyncio.Task[Any]]:
    """The tasks that run a sender's methods. It keeps them in a local variable, out of everybody's reach."""

    def owner(task: asyncio.Task[Any]) -> object:
        frame = getattr(task.get_coro(), "cr_frame", None)
        return None if frame is None else frame.f_locals.get("self")

    return {task for task in asyncio.all_tasks() if owner(task) is sender}
