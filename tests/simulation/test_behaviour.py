"""What holds on a real Kafka holds on the one in memory: one suite on all of them, written against the ports only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from consumer.errors import DeliveryRefused, Fenced, NoteRefused, TransactionRefused
from consumer.record import OutRecord, Partition, Position
from tests.broker.cluster import unique
from tests.simulation.owner import owner
from tests.simulation.worlds import KafkaWorld, MemoryWorld


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumer.engine.ports import Unit
    from tests.simulation.worlds import World


EMBEDDED_LACKS = {
    "groups": "it does not serve two members of one group reliably",
    "transactions": "it writes no markers, and fences nobody",
    "limits": "it refuses no size",
}

_EVERYWHERE = ("memory", "embedded", "kafka")


def on(*needs: str) -> Callable[[Any], Any]:
    """Run a test on every Kafka; the embedded one is left out where it lacks what the test needs."""
    worlds = [
        pytest.param(name, marks=[pytest.mark.kafka] if name == "kafka" else [])
        for name in _EVERYWHERE
        if name != "embedded" or EMBEDDED_LACKS.keys().isdisjoint(needs)
    ]
    return pytest.mark.parametrize("world", worlds, indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """One of the Kafkas."""
    if request.param == "memory":
        return MemoryWorld()
    return KafkaWorld(request.getfixturevalue(request.param))


@contextlib.asynccontextmanager
async def units(world: World, topic: str, group: str, count: int) -> AsyncIterator[list[Unit]]:
    """So many units of one name, none of them fenced yet."""
    name = unique("unit")
    made = [world.unit(name, group, topic) for _ in range(count)]
    try:
        yield made
    finally:
        for unit in made:
            await unit.stop()


def out(topic: str, value: bytes, key: bytes = b"k") -> OutRecord:
    return OutRecord(topic, key, value)


@on()
def test_commits_come_back_with_their_notes(world: World) -> None:
    """Offset and note are what the coordinator tells afterwards, and what is older does not undo what is newer."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first, second = Partition(topic, 0), Partition(topic, 1)
        async with owner(world, topic, group) as here:
            await here.assignment(4)
            assert await here.source.committed([first, second]) == {first: None, second: None}
            assert await here.source.commit({first: Position(3, "done"), second: Position(0)})
            assert await here.source.commit({first: Position(5, "newer")})
            await here.source.commit({first: Position(1, "older")})
            found = await here.source.committed([first, second])
            assert found == {first: Position(5, "newer"), second: Position(0)}

    world.run(main)


@on("limits")
def test_a_note_longer_than_the_limit_is_refused(world: World) -> None:
    """A note as long as the source says is taken; one longer than the broker's limit is refused as such."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        async with owner(world, topic, group) as here:
            await here.assignment(4)
            longest = "x" * here.source.metadata_limit
            assert await here.source.commit({Partition(topic, 0): Position(1, longest)})
            with pytest.raises(NoteRefused):
                await here.source.commit({Partition(topic, 1): Position(1, "x" * 4097)})

    world.run(main)


@on()
def test_nothing_is_read_before_its_position_is_set(world: World) -> None:
    """A partition brings records only after `seek`, from there, in order, and only while it is ready."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        await world.produce(topic, *(b"%d" % n for n in range(30)))
        await world.produce(topic, b"other", partition=1)
        first, second = Partition(topic, 0), Partition(topic, 1)
        async with owner(world, topic, group) as here:
            await here.assignment(4)
            assert await here.source.poll([first], 0.3) == {}
            assert await here.source.seek({first: Position(10), second: None}) == {first: 10, second: 0}
            assert await here.read(20, first) == [b"%d" % n for n in range(10, 30)]
            assert here.source.positions()[first] == 30
            assert await here.read(1, second) == [b"other"]
            assert await here.source.seek({first: Position(28)}) == {first: 28}
            assert await here.read(2, first) == [b"28", b"29"]

    world.run(main)


@on("groups")
@pytest.mark.timeout(120)
def test_a_standby_takes_over_when_the_active_member_leaves(world: World) -> None:
    """In failover a second member gets nothing while the first is there, and everything once it has left."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        async with owner(world, topic, group, polls=True) as active:
            await active.assignment(4)
            async with owner(world, topic, group, polls=True) as standby:
                while standby.told != ["assigned 0"]:
                    await asyncio.sleep(0.05)
                await active.assignment(4)
                assert active.told[:2] == ["assigned 4", "revoked"]
                await active.stop()
                await standby.assignment(4)

    world.run(main)


@on("groups")
@pytest.mark.timeout(120)
def test_a_commit_is_taken_while_partitions_are_given_up(world: World) -> None:
    """What is committed when a rebalance asks for the partitions is what their next owner finds."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        positions = {Partition(topic, number): Position(number + 1, "farewell") for number in range(4)}
        async with owner(world, topic, group, "share", polls=True) as here:
            await here.assignment(4)
            done: list[bool] = []

            async def farewell() -> None:
                done.append(await here.source.commit(positions))

            here.on_revoked = farewell
            async with owner(world, topic, group, "share", polls=True) as other:
                await other.assignment(2)
                await here.assignment(2)
                assert done == [True]
                assert await other.source.committed(list(positions)) == positions

    world.run(main)


@on("groups")
@pytest.mark.timeout(120)
def test_a_zombie_cannot_commit(world: World) -> None:
    """A member that the group has not heard of for a session is replaced, and its commits are refused from then on."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        async with owner(world, topic, group) as zombie:
            await zombie.assignment(4)
            assert await zombie.source.commit({first: Position(1)})
            world.silence(zombie.source)
            async with owner(world, topic, group, polls=True) as heir:
                await heir.assignment(4)
                assert not await zombie.source.commit({first: Position(2)})
                assert await heir.source.committed([first]) == {first: Position(1)}
                assert await heir.source.commit({first: Position(3)})

    world.run(main)


@on("groups")
@pytest.mark.timeout(120)
def test_a_member_that_rejoins_gives_everything_up_first(world: World) -> None:
    """`rejoin` has the partitions revoked, then assigned again, and the old positions are forgotten."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        await world.produce(topic, b"a")
        async with owner(world, topic, group, polls=True) as here:
            await here.assignment(4)
            await here.source.rejoin()
            while here.told != ["assigned 4", "revoked", "assigned 4"]:
                await asyncio.sleep(0.05)
            assert here.source.positions() == {}

    world.run(main)


@on("transactions")
def test_transactions_commit_records_and_offsets_together(world: World) -> None:
    """After `transact` returns, both are there; without records it commits offsets alone."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        async with units(world, topic, group, 1) as (unit,), owner(world, topic, group) as here:
            await unit.fence()
            await unit.transact([out(topic, b"a"), out(topic, b"b")], {first: Position(2, "note")})
            assert await here.source.committed([first]) == {first: Position(2, "note")}
            await unit.transact([], {first: Position(3)})
            await unit.transact([out(topic, b"c")], {first: Position(4)})
            assert await here.source.committed([first]) == {first: Position(4)}
            await unit.fence()
            assert await world.read(topic) == [b"a", b"b", b"c"]

    world.run(main)


@on("transactions")
@pytest.mark.parametrize("records", [0, 1])
def test_a_unit_that_was_taken_over_writes_nothing_more(world: World, records: int) -> None:
    """After another one has fenced it, a unit's transaction fails as Fenced, and nothing of it is ever seen."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        async with units(world, topic, group, 2) as (old, new), owner(world, topic, group) as here:
            await old.fence()
            await old.transact([out(topic, b"old")], {first: Position(1)})
            await new.fence()
            with pytest.raises(Fenced):
                await old.transact([out(topic, b"zombie")] * records, {first: Position(9)})
            await new.transact([out(topic, b"new")], {first: Position(2)})
            assert await here.source.committed([first]) == {first: Position(2)}
            await new.fence()
            assert await world.read(topic) == [b"old", b"new"]

    world.run(main)


@on("transactions")
def test_a_late_takeover_fences_the_rightful_owner(world: World) -> None:
    """Whoever fences last has the unit, even if it had it before: nobody may fence without being asked to take over."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        async with units(world, topic, group, 2) as (zombie, owner_now):
            await zombie.fence()
            await owner_now.fence()
            await zombie.fence()
            with pytest.raises(Fenced):
                await owner_now.transact([out(topic, b"mine")], {Partition(topic, 0): Position(1)})

    world.run(main)


@on("transactions")
def test_offsets_of_an_open_transaction_are_waited_for(world: World) -> None:
    """Offsets of an open transaction are not told; the takeover aborts it, and then the old ones are."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first, name = Partition(topic, 0), unique("left-open")
        async with owner(world, topic, group) as here:
            await here.assignment(4)
            assert await here.source.commit({first: Position(1)})
            await world.transaction(name, topic, b"never", group=group, offsets={first: Position(7)}, end="open")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await here.source.committed([first])
            await world.produce(topic, b"behind")
            assert await world.read(topic) == []
            unit = world.unit(name, group, topic)
            await unit.fence()
            assert await here.source.committed([first]) == {first: Position(1)}
            assert await world.read(topic) == [b"behind"]
            assert await world.read(topic, committed=False) == [b"never", b"behind"]
            await unit.stop()

    world.run(main)


@on("transactions")
@pytest.mark.timeout(120)
def test_offsets_read_after_the_takeover_are_never_stale(world: World) -> None:
    """However soon after the answer to a commit another one takes over: it finds the offsets of that commit."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        async with units(world, topic, group, 2) as both, owner(world, topic, group) as here:
            for turn in range(6):
                unit = both[turn % 2]
                await unit.fence()
                expected = None if turn == 0 else Position(turn)
                assert await here.source.committed([first]) == {first: expected}
                await unit.transact([out(topic, b"%d" % turn)], {first: Position(turn + 1)})

    world.run(main)


@on("transactions")
def test_aborted_records_are_not_read_and_markers_are_passed(world: World) -> None:
    """A source brings committed records only, and its position ends up behind markers and what was aborted."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        await world.transaction(unique("one"), topic, b"a", b"b", end="commit")
        await world.transaction(unique("two"), topic, b"aborted", end="abort")
        await world.transaction(unique("three"), topic, b"c", end="commit")
        async with owner(world, topic, group) as here:
            await here.assignment(4)
            assert await here.source.seek({first: None}) == {first: 0}
            assert await here.read(3, first) == [b"a", b"b", b"c"]
            # Three records, a marker; one record, a marker; one record, a marker.
            async with asyncio.timeout(5):
                while here.source.positions().get(first) != 7:
                    await here.source.poll([first], 0.1)
            assert await here.source.commit({first: Position(7)})

    world.run(main)


@on("transactions", "limits")
def test_a_record_that_is_too_large_fails_its_transaction_only(world: World) -> None:
    """A transaction with a record that the broker never takes fails as such and commits nothing; the next one works."""

    async def main() -> None:
        topic, group = await world.topic(), unique("group")
        first = Partition(topic, 0)
        async with units(world, topic, group, 1) as (unit,), owner(world, topic, group) as here:
            await unit.fence()
            with pytest.raises(TransactionRefused):
                await unit.transact([out(topic, b"a"), out(topic, b"x" * 2_000_000)], {first: Position(2)})
            await unit.fence()
            assert await here.source.committed([first]) == {first: None}
            with pytest.raises(TransactionRefused):
                await unit.transact([out(topic, b"b")], {first: Position(2, "x" * 4097)})
            await unit.fence()
            await unit.transact([out(topic, b"a")], {first: Position(1)})
            await unit.fence()
            assert await world.read(topic) == [b"a"]

    world.run(main)


@on()
def test_what_is_sent_arrives_once_and_in_order(world: World) -> None:
    """Records of a key arrive in the order in which they were handed over, and `flush` waits for all of them."""

    async def main() -> None:
        topic = await world.topic()
        sink = world.sink(topic)
        await sink.start()
        futures = [await sink.send(out(topic, b"%d" % n)) for n in range(50)]
        await sink.flush()
        assert all(future.done() and future.exception() is None for future in futures)
        assert await world.read(topic) == [b"%d" % n for n in range(50)]
        await sink.stop()

    world.run(main)


@on("limits")
def test_a_refused_record_does_not_stop_its_neighbours(world: World) -> None:
    """A record that is too large fails by itself; those before and behind it arrive, in order."""

    async def main() -> None:
        topic = await world.topic()
        sink = world.sink(topic)
        await sink.start()
        before = [await sink.send(out(topic, b"%d" % n)) for n in range(3)]
        large = await sink.send(out(topic, b"x" * 2_000_000))
        behind = [await sink.send(out(topic, b"%d" % n)) for n in range(3, 6)]
        await asyncio.gather(*before, *behind)
        with pytest.raises(DeliveryRefused):
            await large
        assert await world.read(topic) == [b"%d" % n for n in range(6)]
        await sink.stop()

    world.run(main)
