"""Brokers that go away and come back, and a client that does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, UnknownError

from consumer.errors import Stuck
from consumer.kafka.source import KafkaSource
from consumer.metrics import Metrics
from consumer.record import Partition, Position
from tests.broker.cluster import KafkaCluster
from tests.kafka.member import Member, administering, ended, joined, polling, produce, settings, topic_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.record import Record

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(150)]


async def until(fact: Callable[[], object]) -> None:
    """Return when it is so."""
    while not fact():
        await asyncio.sleep(0.05)


async def works(member: Member, broker: KafkaCluster, topic: str, records: list[Record]) -> None:
    """Return when records flow again, and what is done can be committed."""
    expected = len(records) + 4
    await produce(broker, topic, [(number, b"again") for number in range(4)])
    while True:
        if member.partitions and not member.source.positions():
            await member.open()
        done = {each: Position(at) for each, at in member.source.positions().items()}
        if len(records) >= expected and len(done) == 4 and await member.source.commit(done):
            return
        await asyncio.sleep(0.1)


def test_the_whole_cluster_goes_down_and_comes_back() -> None:
    """While all brokers are away commits fail in bounded time; afterwards all goes on, and nothing was revoked."""

    async def main(cluster: KafkaCluster) -> None:
        topic = topic_of(cluster, "down")
        kafka = settings(cluster, topic, request_timeout_seconds=2)
        async with joined(kafka, seconds=120, commit_seconds=1, stall_seconds=2) as member, polling(member) as records:
            await works(member, cluster, topic, records)
            # Longer than a session, with the time that the broker takes to start.
            for node in cluster.nodes:
                cluster.kill(node)
            until = time.monotonic() + 3
            while time.monotonic() < until:
                began = time.monotonic()
                assert not await member.source.commit({each: Position(1) for each in member.partitions})
                assert time.monotonic() - began < 2
            for node in cluster.nodes:
                await asyncio.to_thread(cluster.restart, node)
            await works(member, cluster, topic, records)
            assert member.told == ["assigned"], "what is in flight is kept over an outage"
        await ended()

    with KafkaCluster() as cluster:
        asyncio.run(main(cluster))


def test_the_coordinator_is_lost_and_found_elsewhere() -> None:
    """When the group's coordinator is killed, reading goes on, and commits succeed with the next coordinator."""

    async def main(cluster: KafkaCluster) -> None:
        topic = topic_of(cluster, "coordinator")
        kafka = settings(cluster, topic, request_timeout_seconds=3)
        async with joined(kafka, seconds=120, commit_seconds=1) as member, polling(member) as records:
            await works(member, cluster, topic, records)
            async with administering(cluster) as admin:
                coordinator = await admin.find_coordinator(kafka.group_id)
            cluster.kill(coordinator)
            await works(member, cluster, topic, records)
            assert member.told == ["assigned"]
        await ended()

    with KafkaCluster(3) as cluster:
        asyncio.run(main(cluster))


def fetcher_ends(consumer: Any) -> None:
    """As after an error in aiokafka's fetching task that nobody hears of."""
    consumer._fetcher._fetch_task.cancel()


def coordinator_ends(consumer: Any) -> None:
    """As after an error in aiokafka's coordination task, which every poll then raises."""

    def fail(*_: Any) -> None:
        raise RuntimeError("made up")

    consumer._coordinator.ensure_active_group = fail
    consumer._coordinator.request_rejoin()


def addresses_change(consumer: Any) -> None:
    """As when all brokers have moved: aiokafka never asks its bootstrap servers again."""

    async def nobody(*_: Any, **__: Any) -> None:
        return None

    consumer._client._get_conn = nobody


def commits_end(consumer: Any) -> None:
    """As when the coordinator answers everybody but us."""

    async def fail(*_: Any) -> None:
        raise UnknownError

    consumer._coordinator._do_commit_offsets = fail


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (fetcher_ends, "stalled"),
        (coordinator_ends, "polls_fail"),
        (addresses_change, "unreachable"),
        (commits_end, "commits_fail"),
    ],
)
def test_a_client_that_does_not_recover_is_replaced(
    kafka: KafkaCluster, breaks: Callable[[Any], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the brokers are there and the client gets nothing done, the partitions are revoked and joined for anew."""
    monkeypatch.setattr("consumer.kafka.source.FAILING_SECONDS", 1.0)
    monkeypatch.setattr("consumer.kafka.watch.PROBE_SECONDS", 1.0)

    async def main() -> None:
        topic = topic_of(kafka, "broken")
        metrics = Metrics()
        slow = settings(kafka, topic, request_timeout_seconds=1)
        options: dict[str, Any] = {"commit_seconds": 1, "leave_seconds": 0.5, "stall_seconds": 1, "metrics": metrics}
        async with joined(slow, **options) as member, polling(member) as records:
            await works(member, kafka, topic, records)
            membership = member.source._keeper.membership
            assert membership is not None
            breaks(membership.consumer)
            await asyncio.sleep(0.3)  # until the fetch that is on its way has ended
            await works(member, kafka, topic, records)
            assert member.told[:2] == ["assigned", "revoked"]
            assert {why: count for why, count in metrics.totals("rejoins").items() if count} == {(reason,): 1}
            assert sorted(record.offset for record in records) == sorted([0, 1] * 4), "each record once"
        await ended()

    asyncio.run(main())


def test_who_rejoins_while_the_brokers_are_away_waits_for_them(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joining anew is tried until the brokers are back; polls keep their time-outs meanwhile, and commits fail."""
    monkeypatch.setattr("consumer.kafka.connection.CONNECT_SECONDS", 0.5)

    async def main() -> None:
        topic = topic_of(kafka, "away")
        slow = settings(kafka, topic, request_timeout_seconds=1)
        async with joined(slow, commit_seconds=0.5, leave_seconds=0.5) as member:
            kafka.pause(1)
            try:
                await member.source.rejoin()
                offsets = asyncio.create_task(member.source.committed([Partition(topic, 0)]))
                until = time.monotonic() + 4
                while time.monotonic() < until:
                    began = time.monotonic()
                    assert await member.source.poll(member.partitions, 0.1) == {}
                    assert not await member.source.commit({Partition(topic, 0): Position(1)})
                    assert time.monotonic() - began < 1.5
                assert member.told == ["assigned", "revoked"]
                assert not offsets.done()
            finally:
                kafka.resume(1)
            async with polling(member) as records:
                assert await offsets == {Partition(topic, 0): None}
                await works(member, kafka, topic, records)
        await ended()

    asyncio.run(main())


def test_what_cannot_heal_ends_the_source(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights that were taken away are not waited for: whoever needs them says what is missing."""

    async def refused(*_: Any, **__: Any) -> Any:
        raise GroupAuthorizationFailedError("the group")

    async def main() -> None:
        topic = topic_of(kafka, "rights")
        async with joined(settings(kafka, topic)) as member:
            membership = member.source._keeper.membership
            assert membership is not None
            monkeypatch.setattr("consumer.kafka.offsets.stable_offsets", refused)
            monkeypatch.setattr("consumer.kafka.offsets.list_offsets", refused)
            monkeypatch.setattr(membership.consumer, "commit", refused)
            monkeypatch.setattr(membership.consumer._coordinator, "_do_heartbeat", refused)
            for refusal in (
                member.source.committed(member.partitions),
                member.source.seek(dict.fromkeys(member.partitions)),
                member.source.commit({member.at(0): Position(0)}),
                member.read(1),
            ):
                with pytest.raises(Stuck, match="grant our user Read on the group"):
                    await refusal

    asyncio.run(main())


def test_members_of_another_scale_are_waited_for(kafka: KafkaCluster) -> None:
    """A member that cannot be in one group with those that are there joins when they have left."""

    async def main() -> None:
        topic = topic_of(kafka, "scales")
        sharing = settings(kafka, topic, scale="share")
        member = Member(KafkaSource(sharing.model_copy(update={"scale": "failover"})))
        async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
            async with joined(sharing):
                await member.source.start(member)
                stack.push_async_callback(member.source.stop)
                await stack.enter_async_context(polling(member))
                await asyncio.sleep(1)
                assert member.told == []
            assert len(await member.assignment()) == 4

    asyncio.run(main())
