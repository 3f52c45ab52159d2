"""Budgets under any history of replicas: nothing is ever overspent, and little is lost."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import virtual_time
from tests.quota.budget_world import Replica, World, budget


LIMIT = 60
OWNERS = 3

WHO = st.integers(0, OWNERS - 1)
STEPS = st.one_of(
    st.tuples(
        st.just("calls"), WHO, st.integers(1, 12), st.integers(1, 3), st.sampled_from([0.0, 0.2, 3.0]),
        st.sampled_from([0, 1, 1, None]),
    ),
    st.tuples(st.sampled_from(["kill", "stop", "start", "lag", "catch up", "again", "late", "lose"]), WHO),
    st.tuples(st.sampled_from(["away", "back", "compact"])),
    st.tuples(st.just("wait"), st.sampled_from([0.004, 0.02, 0.3, 2.0, 12.0])),
    st.tuples(st.just("later"), st.sampled_from([900.0, 3600.0])),
)  # fmt: skip
HISTORIES = st.lists(STEPS, min_size=5, max_size=40)


class Play:
    """Lets a history happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.replicas: dict[int, Replica] = {}
        self.killed: list[Replica] = []

    async def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("calls", who, count, units, seconds, outcome):
                for _ in range(count if who in self.replicas else 0):
                    self.replicas[who].call(units, seconds=seconds, outcome=outcome)
            case ("kill", who) if who in self.replicas:
                self.killed.append(self.replicas.pop(who))
                await self.killed[-1].kill()
            case ("stop", who) if who in self.replicas and not self.world.topic.away:
                self.world.topic.losing.discard(self.replicas[who].owner)
                await self.replicas.pop(who).stop()
            case ("start", who) if who not in self.replicas and not self.world.topic.away:
                self.replicas[who] = await self.world.replica()
            case ("lag" | "catch up" as what, who) if who in self.replicas:
                self.replicas[who].process.log.lagging = what == "lag"
            case ("again", who) if who in self.replicas:
                self.write_again(self.replicas[who], 1)
            case ("lose", who) if who in self.replicas:
                self.world.topic.losing.add(self.replicas[who].owner)
            case ("late", who) if who in self.replicas and not self.impaired:
                self.write_again(self.replicas[who], 2)
                await asyncio.sleep(0.1)
            case ("away" | "back" as what,):
                self.world.topic.away = what == "away"
            case ("compact",):
                self.world.topic.compact()
            case ("wait", seconds):
                await asyncio.sleep(seconds)
            case ("later", seconds):
                self.world.clock.ahead += seconds
        await asyncio.sleep(0)
        self.check()

    @property
    def impaired(self) -> bool:
        """Whether anybody cannot read or write now."""
        topic = self.world.topic
        return (
            topic.away or bool(topic.losing) or any(replica.process.log.lagging for replica in self.replicas.values())
        )

    def write_again(self, replica: Replica, back: int) -> None:
        """An acknowledgement was lost, and a record is written twice: the last one, or late, the one before."""
        own = [record for record in self.world.topic.history if replica.owner.encode() in (record.key or b"")]
        if len(own) >= back:
            self.world.topic.write(own[-back].key, own[-back].value)

    def check(self) -> None:
        assert max(self.world.spent.values(), default=0) <= LIMIT

    async def end(self) -> None:
        """All comes back, and one replica that has only read what compaction leaves spends the rest."""
        self.world.topic.away = False
        self.world.topic.losing.clear()
        for replica in self.replicas.values():
            replica.process.log.lagging = False
        await asyncio.sleep(20)
        for replica in self.replicas.values():
            await replica.stop()
        self.check()
        self.world.topic.compact()
        last = await self.world.replica()
        while not last.refused:
            last.call(1, seconds=0.0)
            await asyncio.wait(last.calls)
        self.check()
        period = self.world.period()
        lost = sum(self.world.lost(replica)[period] for replica in self.killed)
        assert LIMIT - lost <= self.world.spent[period]
        await last.stop()


@settings(max_examples=150, deadline=None)
@given(history=HISTORIES)
def test_nothing_is_overspent(history: list[tuple[Any, ...]]) -> None:
    """Whatever is killed, held up, taken over, written twice, lost or compacted, no period's limit is ever passed.

    What is not used of it is at most what killed processes had set aside.
    """

    async def main() -> None:
        world = World(budget(str(LIMIT), period="hour"))
        play = Play(world)
        for who in range(OWNERS):
            await play.step(("start", who))
        for step in history:
            await play.step(step)
        await play.end()

    virtual_time.run(main())
