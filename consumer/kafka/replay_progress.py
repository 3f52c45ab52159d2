"""How far dead letters were replayed: offsets of a group of its own that has no members, and who replays now."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetCommitRequest

from consumer.errors import Stuck
from consumer.kafka.connection import FORBIDDEN
from consumer.kafka.offset_fetch import stable_offsets


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from consumer.kafka.letters import LetterReader
    from consumer.settings.models import Kafka


__all__ = ["ReplayProgress", "replay_group"]


T = TypeVar("T")

RETRY_SECONDS = 0.1


def replay_group(group_id: str) -> str:
    """The group under which the replays for a group of consumers keep how far they are."""
    return f"{group_id}.replay"


class ReplayProgress:
    """Reads and commits the offsets of a group of replays, through the client of a reader.

    The note beside each offset names the replay that committed it: of two at the same time the later takes the group
    over, and the earlier one sees that before its next letter.

    Args:
        kafka: The brokers, and the group whose dead letters these are.
        reader: Reads the letters; it stays open for longer than this is used.
    """

    def __init__(self, kafka: Kafka, reader: LetterReader) -> None:
        self._seconds = kafka.request_timeout_seconds
        self._group_id = replay_group(kafka.group_id)
        self._reader = reader
        self._mark = f"replay {secrets.token_hex(8)}"

    async def resume(self) -> dict[int, int]:
        """Where the next replay goes on in each partition: where the last one was, or where the topic begins.

        A position that the topic does not have was one of an earlier topic of this name: it counts for nothing.

        Raises:
            Stuck: the coordinator does not answer, or refuses us.
        """
        found = await self._committed(*self._reader.begins)
        return {
            partition: found[partition][0] if begin <= found[partition][0] <= self._reader.ends[partition] else begin
            for partition, begin in self._reader.begins.items()
        }

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the next offset to replay of partitions, in our name. When cancelled it may be recorded or not.

        Raises:
            Stuck: it is not known to be recorded.
        """
        topic = self._reader.topic
        at = [(partition, offset, self._mark) for partition, offset in offsets.items()]
        request = OffsetCommitRequest(self._group_id, -1, "", -1, [(topic, at)])

        async def commit() -> None:
            coordinator = await self._reader.admin.find_coordinator(self._group_id)
            answer = await self._reader.admin._client.send(coordinator, request)  # noqa: SLF001  # admin has no call for it
            for _, partitions in answer.topics:
                for partition, code in partitions:
                    if code:
                        raise for_code(code)(f"the offset of {topic}/{partition} is refused (code {code})")

        await self._patiently(commit, "its progress cannot be recorded")

    async def require_ours(self, partition: int) -> None:
        """Check that no other replay has begun since.

        Raises:
            Stuck: one has, or the coordinator does not answer.
        """
        found = await self._committed(partition)
        if found[partition][1] != self._mark:
            raise Stuck(
                f"another replay under the group {self._group_id} has begun, so this one ends: let that one finish"
            )

    async def _committed(self, *partitions: int) -> dict[int, tuple[int, str]]:
        """Offset and note of each partition; -1 where there is none."""
        wanted = [TopicPartition(self._reader.topic, partition) for partition in partitions]

        async def ask() -> dict[Any, Any]:
            return await stable_offsets(self._reader.admin, self._group_id, wanted)

        found = await self._patiently(ask, "it cannot be seen how far the last one was")
        return {at.partition: (position.offset, position.metadata) for at, position in found.items()}

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], failure: str) -> T:
        """Try it for as long as a request may take: a coordinator may have moved, or still be loading."""
        reason: object = "no answer"
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    try:
                        return await attempt()
                    except FORBIDDEN as error:
                        raise Stuck(
                            f"replays have no right to the group {self._group_id} or to the dead letters: grant our "
                            f"user Read on both ({error!r})"
                        ) from error
                    except KafkaError as error:
                        if not error.retriable:
                            raise Stuck(f"the replay cannot go on, {failure}: {error!r}") from error
                        reason = error
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError as error:
            raise Stuck(
                f"the replay cannot go on, {failure}: {reason!r} for {self._seconds:.0f} s; run it again when the "
                "brokers are well"
            ) from error
