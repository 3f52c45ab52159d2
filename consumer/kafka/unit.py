"""Writing records and offsets in one transaction: a transactional producer behind the engine's `Unit`, on aiokafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidCommitOffsetSizeError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTransactionTimeout,
    InvalidTxnState,
    KafkaError,
    OffsetMetadataTooLargeError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from consumer.errors import Fenced, StartError, Stuck, TransactionFailed, TransactionRefused
from consumer.kafka.connection import FORBIDDEN, TRANSACTIONAL_RIGHTS, client_options
from consumer.kafka.producers import discard_producer, hand_over, is_refusal, new_producer, too_large, topic_limits


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from consumer.record import OutRecord, Partition, Position
    from consumer.settings.models import Kafka


__all__ = ["KafkaUnit"]


_log = structlog.get_logger(__name__)

# How long to wait before the unit is tried to be taken over again: doubled each time.
RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 2.0

# All records of a transaction are handed over at once: there is nothing to wait for.
LINGER_MS = 0

# The brokers abort what stays open for longer than we take ourselves, and this on top. It has to be longer, since they
# fence whom they do this to, which would look as if another process had taken over; and no longer than necessary, since
# an open transaction whose owner is gone holds back all who read committed records, until its unit is taken over.
ABORT_MARGIN_SECONDS = 20.0

# The coordinator writes the offsets of one request as one batch, for which a mebibyte is too much; there may be 4 KiB
# of metadata with each.
OFFSETS_AT_ONCE = 100

UNUSABLE = "nothing was sent: the unit has to be fenced first"

# The last of them is the answer to a record whose transaction was aborted by a takeover while it was on its way. To
# take one of them for a takeover wrongly costs a rebalance; the other way round the new owner would lose the unit.
FENCED = (InvalidProducerEpoch, InvalidProducerIdMapping, ProducerFenced, InvalidTxnState)
FORBIDDEN_WRITES = (*FORBIDDEN, TransactionalIdAuthorizationFailed)
HOPELESS = (*FORBIDDEN_WRITES, IncompatibleBrokerVersion, InvalidTransactionTimeout)
REFUSED_NOTES = (InvalidCommitOffsetSizeError, OffsetMetadataTooLargeError)


class KafkaUnit:
    """Writes records and the group's offsets in transactions of one transactional id.

    Whoever took the id over last is its owner: the brokers refuse all others. A producer of which one transaction did
    not end well is never used again, not even to abort it: after some errors aiokafka's abort sends nothing, and the
    next commit would publish what was to be aborted. Another producer's start aborts it for sure.

    Args:
        kafka: The brokers, and the group whose offsets are committed. A transaction may take as long as one request.
        transactional_id: The unit's name in the whole cluster.
        topics: All topics that are written to; they have to exist.
        compression: How batches are compressed.
        stop_seconds: How long closing a producer's connections may take.
        stamp: Called with the positions of each transaction, to complete the metadata that is committed.
    """

    def __init__(
        self,
        kafka: Kafka,
        transactional_id: str,
        topics: Collection[str],
        *,
        compression: str = "none",
        stop_seconds: float = 2.0,
        stamp: Callable[[Mapping[Partition, Position]], Mapping[Partition, Position]],
    ) -> None:
        self._kafka = kafka
        self._transactional_id = transactional_id
        self._topics = topics
        self._compression = compression
        self._stop_seconds = stop_seconds
        self._stamp = stamp
        self._seconds = kafka.request_timeout_seconds
        self._limits: dict[str, int] | None = None
        self._producer: Any = None
        self._usable = False

    async def fence(self) -> None:
        """Take the unit over: what its last owner left open is aborted, or completed, when this returns.

        A new producer is started, and the old one thrown away. It tries for as long as the brokers are away. When
        cancelled, the unit may be fenced, and cannot be used.

        Raises:
            Stuck: we may not write transactions under this id.
        """
        pause = RETRY_SECONDS
        while True:
            await self._discard()
            try:
                # Each try has an end: a client that has lost all brokers does not always find them again.
                async with asyncio.timeout(self._seconds):
                    await self._start()
            except HOPELESS as error:
                await self._discard()
                if isinstance(error, TransactionalIdAuthorizationFailed):
                    raise Stuck(
                        f"our user has no rights on the transactional id {self._transactional_id}; "
                        f"{TRANSACTIONAL_RIGHTS}"
                    ) from error
                raise Stuck(
                    f"the brokers take no transactions of up to {self._seconds + ABORT_MARGIN_SECONDS:g} s from "
                    f"{self._transactional_id}: {error}"
                ) from error
            except (KafkaError, StartError, TimeoutError, AssertionError) as error:
                # The last of them is aiokafka's own: it asserts that a cluster has brokers, also one that is starting.
                _log.warning(
                    "unit_not_fenced", transactional_id=self._transactional_id, error=str(error) or repr(error)
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
            else:
                self._usable = True
                return

    async def transact(self, records: Sequence[OutRecord], positions: Mapping[Partition, Position]) -> None:
        """Write records and commit positions in one transaction; when this returns, both are committed.

        Records of a partition keep their order. With no records it only commits positions, which proves that the unit
        is still ours; with neither, nothing is sent and nothing proven. When cancelled, it may be committed or not.

        Raises:
            Fenced: another process has the unit now, or the brokers aborted the transaction of this one, which had
                stood still. Nothing was committed, unless the answer to a commit was lost on the way.
            TransactionRefused: the broker will never take one of the records, or the notes beside the offsets; nothing
                was committed. A record known to be too large is refused before anything is sent.
            TransactionFailed: it failed in any other way, and may have been committed. `fence` has to come next.
            Stuck: we may not write to one of the topics, or commit offsets of the group.
        """
        producer = self._producer
        if not self._usable:
            raise TransactionFailed(UNUSABLE)
        for record in records:
            if too_large(record, self._limits or {}, compression=self._compression):
                raise TransactionRefused(f"{record.topic} takes no record as large as one of these")
        stamped = self._stamp(positions)
        offsets = [(TopicPartition(*partition), OffsetAndMetadata(*at)) for partition, at in stamped.items()]
        # Usable again only after it has ended well, however else it ends.
        self._usable = False
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._seconds):
                await producer.begin_transaction()
                for record in records:
                    futures.append(await hand_over(producer, record))  # noqa: PERF401  # known also when the next fails
                # aiokafka would commit although a record was refused.
                await asyncio.gather(*futures)
                for first in range(0, len(offsets), OFFSETS_AT_ONCE):
                    some = dict(offsets[first : first + OFFSETS_AT_ONCE])
                    await producer.send_offsets_to_transaction(some, self._kafka.group_id)
                await producer.commit_transaction()
        except Exception as error:
            raise self._explained(error, producer, futures) from error
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # one error of them all is told
        self._usable = True

    async def stop(self) -> None:
        """Disconnect, within a bounded time; an open transaction is left to the next owner, who aborts it."""
        await self._discard()

    async def _start(self) -> None:
        if self._limits is None:
            self._limits = await topic_limits(self._kafka, self._topics, close_seconds=self._stop_seconds)
        self._producer = new_producer(
            client_options(self._kafka),
            limits=self._limits,
            compression=self._compression,
            linger_ms=LINGER_MS,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=round(1000 * (self._seconds + ABORT_MARGIN_SECONDS)),
        )
        await self._producer.start()

    async def _discard(self) -> None:
        self._usable = False
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard_producer(producer, self._stop_seconds)

    def _explained(self, error: Exception, producer: Any, futures: Sequence[asyncio.Future[Any]]) -> Exception:
        """What a failed transaction means. What aiokafka raises often hides the answer that was the reason."""
        answers = [found for each in futures if each.done() and not each.cancelled() and (found := each.exception())]
        sender = producer._sender.sender_task  # noqa: SLF001  # only it knows what ended it
        end = sender.exception() if sender.done() and not sender.cancelled() else None
        reasons = [each for each in (end and end.__cause__, end, error) if each is not None]
        known = [*reasons, *answers]
        if any(isinstance(each, FENCED) for each in known):
            return Fenced(f"another process has taken {self._transactional_id} over")
        if any(isinstance(each, FORBIDDEN_WRITES) for each in known):
            return Stuck(
                f"we may not write transactions as {self._transactional_id}: {reasons[0]!r}; {TRANSACTIONAL_RIGHTS}, "
                "Write on the topics of output, and Read on the group"
            )
        refused = [each for each in answers if is_refusal(each)]
        refused += [each for each in reasons if isinstance(each, REFUSED_NOTES)]
        if refused:
            self._limits = None  # they may have changed
            return TransactionRefused(f"the broker refuses a part of it: {refused[0]!r}")
        if isinstance(error, TimeoutError):
            return TransactionFailed(f"it did not end within {self._seconds:g} s")
        return TransactionFailed(f"it did not end well: {reasons[0]!r}")
