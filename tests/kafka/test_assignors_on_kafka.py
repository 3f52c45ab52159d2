"""Who gets the work of a group on a real Apache Kafka, when members join, leave and freeze."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiokafka.errors import InconsistentGroupProtocolError

from tests.broker.cluster import unique
from tests.kafka.replica import LIMITS, Replica, joined


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.broker.cluster import KafkaCluster
    from tests.kafka.imagined import Scale


ROOT = Path(__file__).resolve().parents[2]
ALL = {0, 1, 2, 3}
NONE = dict.fromkeys(LIMITS, 0)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Return when it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@dataclass
class Group:
    """Replicas of one new group on a real broker."""

    kafka: KafkaCluster
    scale: Scale
    topic: str = field(default_factory=lambda: unique("assigned"))
    name: str = field(default_factory=lambda: unique("group"))

    def __post_init__(self) -> None:
        self.kafka.create_topic(self.topic)

    @contextlib.asynccontextmanager
    async def joined(self, replica: Replica) -> AsyncIterator[Replica]:
        """The replica, polling."""
        servers = self.kafka.bootstrap_servers
        async with joined(servers, self.topic, self.name, self.scale, replica) as consumer:

            async def poll() -> None:
                while True:
                    await consumer.getmany(timeout_ms=100)

            polling = asyncio.create_task(poll())
            try:
                yield replica
            finally:
                polling.cancel()
                await asyncio.wait({polling})


@pytest.mark.kafka
def test_a_join_does_not_move_the_work_and_a_leave_does(kafka: KafkaCluster) -> None:
    """In failover two replicas that join get nothing; when the holder leaves one of them gets everything."""

    async def main() -> None:
        group = Group(kafka, "failover")
        moved: list[set[int]] = []
        standbys = [Replica(lambda each: moved.append(each.partitions)) for _ in range(2)]
        async with contextlib.AsyncExitStack() as others:
            async with group.joined(Replica()) as holder:
                await until(lambda: holder.partitions == ALL)
                for standby in standbys:
                    await others.enter_async_context(group.joined(standby))
                await until(lambda: all(each.tokens == NONE for each in standbys) and holder.partitions == ALL)
                assert holder.tokens == LIMITS
                assert not any(moved)
            await until(lambda: any(each.partitions == ALL for each in standbys))
            await until(lambda: all(each.tokens for each in standbys))
            found = [(each.partitions, each.tokens) for each in standbys]
            assert sorted(found, key=lambda each: len(each[0])) == [(set(), NONE), (ALL, LIMITS)]

    asyncio.run(main())


@pytest.mark.kafka
def test_a_frozen_holder_is_replaced_and_does_not_steal_back(kafka: KafkaCluster) -> None:
    """A process stopped for longer than its session loses everything, and is a standby after it wakes."""

    async def main() -> None:
        group = Group(kafka, "failover")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.kafka.replica", ",".join(kafka.bootstrap_servers), group.topic, group.name),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        lines = process.stdout
        assert lines is not None

        async def says(*wanted: Any) -> None:
            """Read on until it has said this last; it may say nothing else but `wanted`."""
            async with asyncio.timeout(20):
                while (line := await lines.readline()) and (said := orjson.loads(line)) != wanted[-1]:
                    assert said in wanted
            assert line, "the process has ended"

        works, stands_by = [[*ALL], LIMITS], [[], NONE]
        between = [[[], {}], [[], LIMITS]]
        try:
            await says(*between, works)
            async with group.joined(Replica()) as successor:
                await until(lambda: successor.tokens == NONE)
                await says(*between, works)
                os.kill(process.pid, signal.SIGSTOP)
                await until(lambda: successor.partitions == ALL)
                os.kill(process.pid, signal.SIGCONT)
                await says([[], {}], stands_by)
                await until(lambda: successor.assignments >= 3)
                assert (successor.partitions, successor.tokens) == (ALL, LIMITS)
        finally:
            process.kill()
            await process.wait()

    asyncio.run(main())


@pytest.mark.kafka
def test_shared_tokens_add_up_to_the_limit_through_joins_and_leaves(kafka: KafkaCluster) -> None:
    """Replicas together never have more than the limits, and have exactly them as soon as all know their part."""
    present: list[Replica] = []

    def held() -> Counter[str]:
        return sum((Counter(each.tokens) for each in present), Counter())

    def check(_: Replica) -> None:
        if held() - Counter(LIMITS):
            excesses.append(held())

    excesses: list[Counter[str]] = []

    async def main() -> None:
        group = Group(kafka, "share")

        def settled(sizes: list[int]) -> bool:
            return sorted(len(each.partitions) for each in present) == sizes and held() == Counter(LIMITS)

        @contextlib.asynccontextmanager
        async def another() -> AsyncIterator[None]:
            async with group.joined(Replica(check)) as replica:
                present.append(replica)
                yield
            present.remove(replica)

        async with another():
            await until(lambda: settled([4]))
            async with another():
                await until(lambda: settled([2, 2]))
                async with another():
                    await until(lambda: settled([1, 1, 2]))
                await until(lambda: settled([2, 2]))
            await until(lambda: settled([4]))

    asyncio.run(main())
    assert excesses == []


@pytest.mark.kafka
def test_replicas_of_two_scales_cannot_be_one_group(kafka: KafkaCluster) -> None:
    """A replica configured for the other scale is refused by the group, and the group goes on without it."""

    async def main() -> None:
        group = Group(kafka, "failover")
        async with group.joined(Replica()) as holder:
            await until(lambda: holder.partitions == ALL)
            stranger = joined(kafka.bootstrap_servers, group.topic, group.name, "share", Replica())
            async with stranger as consumer:
                with pytest.raises(InconsistentGroupProtocolError):
                    await consumer.getmany(timeout_ms=20_000)
            assert (holder.partitions, holder.assignments) == (ALL, 1)

    asyncio.run(main())
