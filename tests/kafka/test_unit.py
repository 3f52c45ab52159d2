"""Writing records and offsets in one transaction, on a real Apache Kafka; the embedded broker has no real ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupAuthorizationFailedError

from consumer.demo.broker import EmbeddedBroker
from consumer.errors import Fenced, Stuck, TransactionFailed, TransactionRefused
from consumer.kafka.offset_fetch import stable_offsets
from consumer.kafka.unit import KafkaUnit
from consumer.record import OutRecord, Partition, Position
from tests.broker.cluster import KafkaCluster, unique
from tests.kafka.ledger import administering, published, stored
from tests.kafka.member import ended, settings


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.broker.cluster import Broker


def as_it_is(positions: Mapping[Partition, Position]) -> Mapping[Partition, Position]:
    """A stamp that leaves no mark."""
    return positions


@dataclass
class World:
    """A topic of verdicts, a group and its input, and the units of replicas that take over from each other."""

    broker: Broker
    admin: AIOKafkaAdminClient
    verdicts: str
    group: str
    units: list[KafkaUnit] = field(default_factory=list)

    @property
    def partition(self) -> Partition:
        """The input partition that the tests commit."""
        return Partition(self.verdicts, 0)

    def unit(self, **options: Any) -> KafkaUnit:
        """Another replica's unit, not fenced yet; `seconds` is how long a transaction may take."""
        kafka = settings(
            self.broker,
            self.verdicts,
            group_id=self.group,
            request_timeout_seconds=options.pop("seconds", 20),
        )
        options = {"stamp": as_it_is, "stop_seconds": 0.5, **options}
        unit = KafkaUnit(kafka, f"{self.group}-unit", [self.verdicts], **options)
        self.units.append(unit)
        return unit

    async def owner(self, **options: Any) -> KafkaUnit:
        """Another replica's unit, which has just taken over."""
        unit = self.unit(**options)
        async with asyncio.timeout(30):
            await unit.fence()
        return unit

    def record(self, value: bytes, key: bytes = b"k") -> OutRecord:
        return OutRecord(self.verdicts, key, value)

    async def work(self, unit: KafkaUnit, offset: int) -> None:
        """Write the verdict on the event with this offset, and commit it."""
        await unit.transact([self.record(b"%d" % offset)], {self.partition: Position(offset + 1)})

    async def stored(self) -> Position:
        (position,) = await stored(self.admin, self.group, self.partition)
        return position

    async def published(self, isolation: str = "read_committed") -> list[bytes]:
        return await published(self.broker, self.verdicts, isolation=isolation)

    async def limit(self, size: int) -> None:
        """Lower the largest record that the topic takes, so that only the broker knows of it."""
        lower = ConfigResource(ConfigResourceType.TOPIC, self.verdicts, configs={"max.message.bytes": str(size)})
        await self.admin.alter_configs([lower])


@contextlib.asynccontextmanager
async def world(broker: Broker, **topic: Any) -> AsyncIterator[World]:
    """A world of its own on a broker; what its units left behind is cleared away, and nothing goes on after it."""
    verdicts, group = unique("verdicts"), unique("group")
    broker.create_topic(verdicts, **topic)
    async with administering(broker, group) as admin:
        here = World(broker, admin, verdicts, group)
        try:
            yield here
        finally:
            for unit in here.units:
                await unit.stop()
    await ended()


def test_records_arrive_in_order(broker: Broker) -> None:
    """Records of several transactions arrive byte for byte, in order by key, compressed or not."""

    async def main() -> None:
        async with world(broker) as here:
            for compression in ("none", "gzip"):
                unit = await here.owner(compression=compression)
                for first in (0, 300, 600):
                    records = [here.record(b"%d" % n, b"key %d" % (n % 7)) for n in range(first, first + 300)]
                    await unit.transact(records, {here.partition: Position(first + 300)})
            values = [int(value) for value in await here.published()]
            for key in range(7):
                assert [n for n in values if n % 7 == key] == 2 * list(range(key, 900, 7))

    asyncio.run(main())


@pytest.mark.kafka
def test_records_and_positions_are_committed_together(kafka: KafkaCluster) -> None:
    """When a transaction has returned, its records are read and its positions are committed, with stamped metadata."""

    def stamp(positions: Mapping[Partition, Position]) -> Mapping[Partition, Position]:
        return {partition: Position(at.offset, "p4;" + at.metadata) for partition, at in positions.items()}

    async def main() -> None:
        async with world(kafka, partitions=250) as here:
            unit = await here.owner(stamp=stamp)
            partitions = [Partition(here.verdicts, number) for number in range(250)]
            note = "n" * 4000
            await unit.transact([here.record(b"0")], {each: Position(7, note) for each in partitions})
            assert await here.published() == [b"0"]
            assert set(await stored(here.admin, here.group, *partitions)) == {Position(7, "p4;" + note)}
            # With nothing to write the positions alone are committed.
            await unit.transact([], {here.partition: Position(8)})
            assert await here.stored() == Position(8, "p4;")
            await unit.transact([], {})
            assert await here.stored() == Position(8, "p4;")

    asyncio.run(main())


@pytest.mark.kafka
def test_what_the_last_owner_left_open_is_never_read(kafka: KafkaCluster) -> None:
    """A takeover ends an open transaction: its offsets stay what they were, and its records are not read."""

    async def main() -> None:
        async with world(kafka) as here:
            old = AIOKafkaProducer(
                bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"{here.group}-unit", linger_ms=0
            )
            async with old:
                await old.begin_transaction()
                await old.send_and_wait(here.verdicts, b"open", partition=0)
                at = TopicPartition(*here.partition)
                await old.send_offsets_to_transaction({at: (1, "")}, here.group)
                unit = await here.owner()
                # Asked once, at once: the takeover has answered only after the old transaction's very end.
                assert (await stable_offsets(here.admin, here.group, [at]))[at].offset == -1
                await here.work(unit, 0)
            assert await here.published() == [b"0"]
            assert sorted(await here.published("read_uncommitted")) == [b"0", b"open"]

    asyncio.run(main())


@pytest.mark.kafka
@pytest.mark.parametrize("records", [1, 0])
def test_replica_that_wakes_up_after_a_takeover_is_fenced(kafka: KafkaCluster, records: int) -> None:
    """Nothing that the former owner writes is committed, be it records or only positions, and it is told why."""

    async def main() -> None:
        async with world(kafka) as here:
            former = await here.owner()
            await here.work(former, 0)
            owner = await here.owner()
            with pytest.raises(Fenced, match=here.group):
                await former.transact(records * [here.record(b"zombie")], {here.partition: Position(9)})
            with pytest.raises(TransactionFailed, match="fenced first"):
                await here.work(former, 1)
            await here.work(owner, 1)
            assert await here.published() == [b"0", b"1"]
            assert await here.stored() == Position(2)

    asyncio.run(main())


@pytest.mark.kafka
def test_late_takeover_fences_the_rightful_owner(kafka: KafkaCluster) -> None:
    """A replica that stood still before its takeover takes the unit from who came after it, and nothing is doubled."""

    async def main() -> None:
        async with world(kafka) as here:
            late = here.unit()
            rightful = await here.owner()
            await here.work(rightful, 0)
            await late.fence()
            with pytest.raises(Fenced):
                await here.work(rightful, 1)
            await here.work(late, (await here.stored()).offset)
            assert await here.published() == [b"0", b"1"]

    asyncio.run(main())


@pytest.mark.kafka
def test_offsets_read_before_the_takeover_may_be_stale(kafka: KafkaCluster) -> None:
    """Reading offsets first, and taking over then, has a verdict written twice: the old owner commits in between."""

    async def main() -> None:
        async with world(kafka) as here:
            old = await here.owner()
            await here.work(old, 0)
            read = (await here.stored()).offset
            await here.work(old, 1)
            new = await here.owner()
            assert (await here.stored()).offset == 2
            await here.work(new, read)
            assert await here.published() == [b"0", b"1", b"1"]

    asyncio.run(main())


@pytest.mark.kafka
def test_offsets_read_after_the_takeover_are_never_stale(kafka: KafkaCluster) -> None:
    """In 60 takeovers from an owner that commits all the time, no verdict is doubled and none is missing."""

    async def commit_all_the_time(here: World, unit: KafkaUnit, offset: int) -> None:
        # A coordinator that is asked to commit at the very moment of a takeover may not say more than that it failed.
        with contextlib.suppress(Fenced, TransactionFailed):
            while True:
                await here.work(unit, offset)
                offset += 1

    async def main() -> None:
        chance = random.Random(1)
        async with world(kafka) as here:
            owner, offset, at = await here.owner(), 0, TopicPartition(*here.partition)
            for _ in range(60):
                working = asyncio.create_task(commit_all_the_time(here, owner, offset))
                await asyncio.sleep(chance.uniform(0, 0.03))
                following = await here.owner()
                # Asked once: nothing of the old owner's is still on its way.
                offset = max(0, (await stable_offsets(here.admin, here.group, [at]))[at].offset)
                await here.work(following, offset)
                offset += 1
                await working
                await owner.stop()
                owner = following
            # Enough of them were in the middle of something.
            assert offset > 90
            assert sorted(int(value) for value in await here.published()) == list(range(offset))

    asyncio.run(main())


@pytest.mark.kafka
def test_record_known_to_be_too_large_harms_nothing(kafka: KafkaCluster) -> None:
    """A record above its topic's limit is refused before anything is sent, and the next transaction just works."""

    async def main() -> None:
        async with world(kafka, config={"max.message.bytes": "20000"}) as here:
            unit = await here.owner()
            with pytest.raises(TransactionRefused, match=here.verdicts):
                await unit.transact([here.record(b"a"), here.record(b"." * 20_000)], {here.partition: Position(2)})
            await unit.transact([here.record(b"." * 19_800)], {here.partition: Position(1)})
            assert await here.published("read_uncommitted") == [b"." * 19_800]
            assert await here.stored() == Position(1)

    asyncio.run(main())


@pytest.mark.kafka
def test_record_that_the_broker_refuses_loses_nothing(kafka: KafkaCluster) -> None:
    """With one refused record nothing of a transaction is committed, now or later, and all the rest can be written."""

    async def main() -> None:
        async with world(kafka) as here:
            unit = await here.owner()
            await here.limit(20_000)
            keys = [b"key %d" % n for n in range(7)]
            neighbours = [here.record(b"neighbour", key) for key in keys]
            position = {here.partition: Position(1)}
            with pytest.raises(TransactionRefused, match="MessageSizeTooLarge"):
                await unit.transact([*neighbours, here.record(b"." * 30_000), *neighbours], position)
            with pytest.raises(TransactionFailed, match="fenced first"):
                await unit.transact(neighbours, position)
            assert (await here.stored()).offset == -1
            await unit.fence()
            # The limit is known by now.
            with pytest.raises(TransactionRefused, match="no record as large"):
                await unit.transact([here.record(b"." * 30_000)], position)
            await unit.transact([here.record(b"alone", key) for key in keys], position)
            assert await here.published() == 7 * [b"alone"]
            assert await here.stored() == Position(1)

    asyncio.run(main())


@pytest.mark.kafka
def test_note_that_the_broker_refuses_loses_nothing(kafka: KafkaCluster) -> None:
    """With metadata above the broker's limit nothing of a transaction is committed, now or later."""

    async def main() -> None:
        async with world(kafka) as here:
            unit = await here.owner()
            with pytest.raises(TransactionRefused, match="Metadata"):
                await unit.transact([here.record(b"refused")], {here.partition: Position(1, "n" * 4097)})
            assert (await here.stored()).offset == -1
            await unit.fence()
            await unit.transact([here.record(b"0")], {here.partition: Position(1, "世" * 4096)})
            assert await here.published() == [b"0"]
            assert await here.stored() == Position(1, "世" * 4096)

    asyncio.run(main())


@pytest.mark.kafka
def test_error_inside_a_transaction_never_has_its_records_published_later(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records acknowledged before an error stay unread for good, where aiokafka's own abort would send nothing."""

    async def forbidden(producer: Any, offsets: object, group: str) -> None:
        producer._txn_manager.error_transaction(GroupAuthorizationFailedError(group))
        raise GroupAuthorizationFailedError(group)

    async def main() -> None:
        async with world(kafka) as here:
            unit = await here.owner()
            with monkeypatch.context() as patch:
                patch.setattr(AIOKafkaProducer, "send_offsets_to_transaction", forbidden)
                with pytest.raises(Stuck, match="GroupAuthorization"):
                    await here.work(unit, 25)
            await unit.fence()
            await here.work(unit, 26)
            assert await here.published() == [b"26"]
            assert sorted(await here.published("read_uncommitted")) == [b"25", b"26"]

    asyncio.run(main())


@pytest.mark.kafka
def test_transaction_that_meets_a_standstill_is_looked_up(kafka: KafkaCluster) -> None:
    """After a time-out in mid-transaction the committed offset tells what became of it, whenever the broker froze."""

    async def main() -> None:
        chance = random.Random(2)
        async with world(kafka) as here:
            unit, offset, failures = await here.owner(seconds=0.7), 0, 0
            for _ in range(4):
                pausing = asyncio.get_running_loop().call_later(chance.uniform(0, 0.02), kafka.pause, 1)
                try:
                    async with asyncio.timeout(10):
                        while True:
                            await here.work(unit, offset)
                            offset += 1
                except TransactionFailed:
                    failures += 1
                finally:
                    pausing.cancel()
                fencing = asyncio.create_task(unit.fence())
                await asyncio.sleep(0.3)
                assert not fencing.done()
                kafka.resume(1)
                await fencing
                offset = max(0, (await here.stored()).offset)
            await here.work(unit, offset)
            assert failures == 4
            assert sorted(int(value) for value in await here.published()) == list(range(offset + 1))

    try:
        asyncio.run(main())
    finally:
        kafka.resume(1)


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_death_of_a_broker_in_mid_transaction_loses_and_doubles_nothing() -> None:
    """When a coordinator dies and comes back, or stands still, a takeover finds the truth; all verdicts come once."""

    async def main(cluster: KafkaCluster) -> None:
        loop = asyncio.get_running_loop()
        async with world(cluster, partitions=3) as here:
            unit, offset, failures = await here.owner(seconds=2), 0, 0

            async def work_until(done: asyncio.Future[None]) -> None:
                """Work until it is done, and for three transactions more."""
                nonlocal offset, failures
                more = 3
                while more:
                    records = [here.record(b"%d" % n, b"%d" % n) for n in range(offset, offset + 10)]
                    try:
                        await unit.transact(records, {here.partition: Position(offset + 10)})
                        offset += 10
                        more -= done.done()
                    except TransactionFailed:
                        failures += 1
                        await unit.fence()
                        offset = max(0, (await here.stored()).offset)

            async def die_and_come_back(node: int) -> None:
                await asyncio.sleep(0.2)
                cluster.kill(node)
                await asyncio.to_thread(cluster.restart, node)

            async def stand_still(node: int) -> None:
                await asyncio.sleep(0.2)
                cluster.pause(node)
                await asyncio.sleep(2.5)
                cluster.resume(node)

            victim = await here.admin.find_coordinator(f"{here.group}-unit", 1)
            await work_until(loop.create_task(die_and_come_back(victim)))
            await work_until(loop.create_task(stand_still(await here.admin.find_coordinator(here.group))))
            assert failures
            assert sorted(int(value) for value in await here.published()) == list(range(offset))

    with KafkaCluster(3) as cluster:
        asyncio.run(main(cluster))


@pytest.mark.kafka
def test_takeover_says_what_is_forbidden(kafka: KafkaCluster) -> None:
    """A takeover that the brokers will never allow, such as for too long a time limit, does not go on trying."""

    async def main() -> None:
        async with world(kafka) as here:
            with pytest.raises(Stuck, match=f"1020 s from {here.group}-unit.*InvalidTransactionTimeout"):
                await here.owner(seconds=1000)

    asyncio.run(main())


def test_nothing_is_written_before_the_takeover(broker: Broker) -> None:
    """A transaction before the first takeover, or after a stop, is refused with a clear error."""

    async def main() -> None:
        async with world(broker) as here:
            unit = here.unit()
            with pytest.raises(TransactionFailed, match="fenced first"):
                await here.work(unit, 0)
            await unit.fence()
            await unit.stop()
            with pytest.raises(TransactionFailed, match="fenced first"):
                await here.work(unit, 0)
            assert await here.published() == []

    asyncio.run(main())


@pytest.mark.kafka
def test_cancelled_transaction_has_to_be_fenced(kafka: KafkaCluster) -> None:
    """A transaction that was cancelled half-way leaves a unit that has to be fenced, and a takeover finds the truth."""

    async def main() -> None:
        async with world(kafka) as here:
            unit, offset = await here.owner(), 0
            for steps in range(0, 40, 2):
                working = asyncio.create_task(here.work(unit, offset))
                for _ in range(steps):
                    await asyncio.sleep(0)
                working.cancel()
                await asyncio.wait({working})
                assert working.cancelled()
                if steps:
                    with pytest.raises(TransactionFailed, match="fenced first"):
                        await here.work(unit, offset)
                await unit.fence()
                offset = max(0, (await here.stored()).offset)
            await here.work(unit, offset)
            assert sorted(int(value) for value in await here.published()) == list(range(offset + 1))

    asyncio.run(main())


def test_all_ends_in_time_when_the_broker_is_gone() -> None:
    """With no broker left a transaction fails, a takeover can be given up, and a stop leaves no task behind."""

    async def main(broker: EmbeddedBroker) -> None:
        here = World(broker, AIOKafkaAdminClient(), unique("gone"), unique("group"))
        broker.create_topic(here.verdicts)
        unit = await here.owner(seconds=0.5)
        await here.work(unit, 0)
        patient = await here.owner()
        broker.stop()
        began = time.monotonic()
        with pytest.raises(TransactionFailed, match="did not end"):
            await here.work(unit, 1)
        fencing = asyncio.create_task(unit.fence())
        await asyncio.sleep(0.3)
        fencing.cancel()
        await asyncio.wait({fencing})
        assert fencing.cancelled()
        await unit.stop()
        working = asyncio.create_task(patient.transact([], {here.partition: Position(1)}))
        await asyncio.sleep(0.1)
        await patient.stop()
        with pytest.raises(TransactionFailed):
            await working
        assert time.monotonic() - began < 10
        await ended()

    with EmbeddedBroker() as broker:
        asyncio.run(main(broker))
