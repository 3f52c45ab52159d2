"""A group whose members come, go, are too slow, or have each other's name."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka.protocol.group import LeaveGroupRequest

from consumer.errors import Stuck
from consumer.metrics import Metrics
from consumer.record import Position
from tests.kafka.member import ended, joined, polling, produce, settings, topic_of


if TYPE_CHECKING:
    from tests.broker.cluster import KafkaCluster

pytestmark = pytest.mark.kafka


def test_second_member_takes_over_what_the_first_commits(kafka: KafkaCluster) -> None:
    """A rebalance waits for the first member's last commit, and what both read afterwards is each record once."""

    async def main() -> None:
        topic = topic_of(kafka, "rebalance")
        shared = settings(kafka, topic, scale="share")
        await produce(kafka, topic, [(number, b"%d" % n) for n in range(5) for number in range(4)])
        async with joined(shared) as one:
            await one.read(20)
            done = {partition: Position(5, "done") for partition in one.partitions}

            async def finish() -> None:
                await asyncio.sleep(1.0)
                assert await one.source.commit(done)

            one.on_revoked = finish
            waits: list[float] = []

            async def keep_polling() -> None:
                while True:
                    began = time.monotonic()
                    assert await one.source.poll(one.partitions, 0.2) == {}
                    waits.append(time.monotonic() - began)

            turning = asyncio.create_task(keep_polling())
            async with joined(shared) as two:
                await one.assignment()
                turning.cancel()
                assert max(waits) < 0.6, "a poll keeps its time-out while the group is rebalanced"
                assert len(one.partitions) == len(two.partitions) == 2
                assert await one.source.committed(one.partitions) == {each: done[each] for each in one.partitions}
                await one.open()
                await produce(kafka, topic, [(number, b"%d" % n) for n in range(5, 8) for number in range(4)])
                records = [*await one.read(6), *await two.read(6)]
                assert sorted(int(record.value or b"") for record in records) == sorted([5, 6, 7] * 4)
                assert not await one.source.commit({each: Position(8) for each in two.partitions})

    asyncio.run(main())


def test_every_assignment_begins_paused(kafka: KafkaCluster) -> None:
    """After each assignment nothing is read, nor prefetched, until the position is set, and then only from there."""

    async def main() -> None:
        topic = topic_of(kafka, "paused")
        shared = settings(kafka, topic)
        await produce(kafka, topic, [(number, b"%d" % n) for n in range(5) for number in range(4)])
        async with joined(shared) as one:
            assert await one.source.commit({each: Position(2) for each in one.partitions})
            async with polling(one) as records:
                while len(records) < 20:
                    await asyncio.sleep(0.05)
                async with joined(shared) as standby:
                    assert standby.partitions == set()
                    await one.assignment()
                    await asyncio.sleep(0.5)
                    assert len(records) == 20, "the committed offset is known to the client, and not read from"
                    assert one.source.positions() == {}
                await one.assignment()
                assert await one.source.seek({one.at(3): Position(4)}) == {one.at(3): 4}
                while len(records) < 21:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.3)
                assert [(record.partition, record.offset) for record in records[20:]] == [(one.at(3), 4)]

    asyncio.run(main())


def test_who_drains_for_too_long_is_left_behind(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that gives its partitions up too late cannot commit them any more, and goes on as a member."""
    monkeypatch.setattr("consumer.kafka.source.REBALANCE_MARGIN_SECONDS", 0.0)

    async def main() -> None:
        topic = topic_of(kafka, "late")
        shared = settings(kafka, topic, heartbeat_interval_seconds=0.2)
        await produce(kafka, topic, [(0, b"x")])
        async with joined(shared, revoke_seconds=0.1) as one:
            await one.read(1)
            taken_over = asyncio.Event()
            late: list[bool] = []

            async def drain() -> None:
                one.on_revoked = None
                await taken_over.wait()
                late.append(await one.source.commit({one.at(0): Position(1)}))

            one.on_revoked = drain
            async with polling(one), joined(shared, revoke_seconds=0.1) as two:
                assert len(two.partitions) == 4, "the group has waited for no longer than it may"
                taken_over.set()
                while late != [False]:
                    await asyncio.sleep(0.1)
                assert await two.source.committed({two.at(0)}) == {two.at(0): None}
                while len(one.told) < 3:
                    await asyncio.sleep(0.1)
                assert one.told == ["assigned", "revoked", "assigned"]
                assert one.partitions == set(), "who took over keeps the partitions"

    asyncio.run(main())


def test_rejoining_hands_the_partitions_over(kafka: KafkaCluster) -> None:
    """Who is told that another has taken over gives up what it has, leaves, and stands by as a new member."""

    async def main() -> None:
        topic = topic_of(kafka, "rejoin")
        shared = settings(kafka, topic)
        metrics = Metrics()
        await produce(kafka, topic, [(0, b"x")])
        async with joined(shared, metrics=metrics) as one, polling(one), joined(shared) as two, polling(two):
            while len(one.told) < 3:
                await asyncio.sleep(0.05)
            committed: list[bool] = []

            async def finish() -> None:
                committed.append(await one.source.commit({one.at(0): Position(1, "done")}))

            one.on_revoked = finish
            began = time.monotonic()
            await one.source.rejoin()
            assert time.monotonic() - began < 0.1
            while len(two.partitions) < 4 or one.told[-1] != "assigned":
                await asyncio.sleep(0.05)
            assert committed == [True]
            assert one.partitions == set()
            assert (await two.source.committed({two.at(0)}))[two.at(0)] == Position(1, "done")
            assert {why: count for why, count in metrics.totals("rejoins").items() if count} == {("asked",): 1}
        await ended()

    asyncio.run(main())


def test_a_static_member_comes_back_to_its_partitions(kafka: KafkaCluster) -> None:
    """With a name of its own a replica that restarts gets its partitions back, and nobody else notices."""

    async def main() -> None:
        topic = topic_of(kafka, "static")
        shared = settings(kafka, topic, scale="share")
        named = shared.model_copy(update={"group_instance_id": "replica-1"})
        async with joined(shared) as one, polling(one):
            async with joined(named) as two:
                while len(one.partitions) != 2 or len(two.partitions) != 2:
                    await asyncio.sleep(0.05)
                before, heard = set(two.partitions), list(one.told)
            async with joined(named) as two:
                assert two.partitions == before
            assert one.told == heard

    asyncio.run(main())


def test_two_replicas_of_one_name_are_told(kafka: KafkaCluster) -> None:
    """Who is replaced by another process under its own name ends, says why, and does not take the place back."""

    async def main() -> None:
        topic = topic_of(kafka, "double")
        named = settings(kafka, topic, group_instance_id="replica-1")
        async with joined(named) as one:

            async def until_replaced() -> None:
                while True:
                    await one.source.poll(one.partitions, 0.2)

            replaced = asyncio.create_task(until_replaced())
            async with joined(named) as two, polling(two):
                await asyncio.wait({replaced})
                with pytest.raises(Stuck, match=r"kafka.group_instance_id 'replica-1'.*give each replica a name"):
                    replaced.result()
                await one.source.stop()
                await asyncio.sleep(1)
                assert len(two.partitions) == 4
                assert two.told == ["assigned"]

    asyncio.run(main())


def test_a_member_that_lost_its_session_is_not_taken_for_replaced(kafka: KafkaCluster) -> None:
    """A static member that the group has put out joins again by itself, and gets its partitions back."""

    async def main() -> None:
        topic = topic_of(kafka, "put-out")
        named = settings(kafka, topic, group_instance_id="replica-1")
        async with joined(named) as member, polling(member):
            membership = member.source._keeper.membership
            assert membership is not None
            coordinator = membership.consumer._coordinator
            # As after a session without a heartbeat.
            answer = await coordinator._send_req(LeaveGroupRequest(named.group_id, coordinator.member_id))
            assert answer.error_code == 0
            while member.told != ["assigned", "revoked", "assigned"]:
                await asyncio.sleep(0.05)
            assert len(member.partitions) == 4

    asyncio.run(main())


@pytest.mark.kafka
def test_the_group_vouches_for_its_members_only(kafka: KafkaCluster) -> None:
    """Asked whether we are a member the group says so, says no of an older generation, and is not upset by it."""

    async def main() -> None:
        topic = topic_of(kafka, "vouch")
        async with joined(settings(kafka, topic)) as member:
            source = member.source
            assert await source.vouch()
            coordinator = source._keeper.membership.consumer._coordinator  # type: ignore[union-attr]
            coordinator.generation -= 1
            assert not await source.vouch()
            coordinator.generation += 1
            assert await source.vouch()
            await asyncio.sleep(1)
            assert member.told == ["assigned"]

    asyncio.run(main())
