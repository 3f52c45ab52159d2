"""Replicas that share budgets over a state log in memory, and a ledger of what they really spend."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from consumer.errors import BudgetSpent
from consumer.moderation.tasks.records import Note
from consumer.moderation.tasks.records import decode as decode_record
from consumer.moderation.tasks.state import StateRecord
from consumer.quota.budget import Budgets
from consumer.quota.budget_notes import decode, read_key
from consumer.quota.periods import period_at, zone_of
from consumer.settings.saving import Budget
from consumer.verdict import Billed
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.virtual_time import LoopClock


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["Replica", "World", "bill", "budget"]


def bill(units: int = 1, cost: str = "0", currency: str = "CNY") -> tuple[Billed, ...]:
    """What one call costs."""
    return (Billed("text_llm_standard", units, Decimal(cost), currency),)


def budget(limit: str = "10", **more: Any) -> Budget:
    """A budget in units, of a day, that sends to review what it cannot pay for."""
    given = {"name": "b", "unit": "units", "when_spent": "review", **more}
    return Budget(limit=Decimal(limit), **given)


class Replica:
    """One process: its budgets, on its own view of the log. It lives until it is killed or stopped."""

    def __init__(self, world: World, budgets: Sequence[Budget], chance: Callable[[], float]) -> None:
        self.world = world
        self.process = Process(world.topic)
        self.metrics = self.process.metrics
        self.budgets = Budgets(
            budgets, clock=world.clock, metrics=self.metrics, notes=self.process.state, chance=chance
        )
        self.calls: set[asyncio.Task[None]] = set()
        self.refused: list[str] = []
        self.spent: Counter[str] = Counter()
        self._life: asyncio.Task[None] | None = None

    @property
    def owner(self) -> str:
        return self.budgets._owner

    async def start(self) -> None:
        await self.process.state.start()
        self._life = asyncio.create_task(self._live())
        await self.process.state.caught_up()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.process.state.run())
            tasks.create_task(self.budgets.run())

    def call(self, units: int = 1, *, seconds: float = 0.2, outcome: int | None = 1, route: str = "r") -> None:
        """Make one call: it is on the wire as soon as it is paid for; `outcome` times its price is what it costs."""
        task = asyncio.create_task(self._call(units, seconds, outcome, route))
        self.calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.calls.discard(task)
        if not task.cancelled():
            task.result()

    async def calls_made(self, count: int, units: int = 1, *, outcome: int | None = 1, route: str = "r") -> int:
        """Make so many calls at once, and return how many were sent, when all are answered or refused."""
        before = len(self.refused)
        for _ in range(count):
            self.call(units, outcome=outcome, route=route)
        if self.calls:
            await asyncio.wait(self.calls)
        return count - (len(self.refused) - before)

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now; 0 where there is none."""
        return self.metrics.registry.get_sample_value(f"moderation_{name}", labels) or 0.0

    async def _call(self, units: int, seconds: float, outcome: int | None, route: str) -> None:
        try:
            payment = await self.budgets.open(route, bill(units))
        except BudgetSpent as spent:
            self.refused.append(str(spent))
            return
        period = self.world.period()
        self.world.sent(self, period, units)
        billed = None
        try:
            await asyncio.sleep(seconds)
            if outcome is not None:
                billed = bill(units * outcome) if outcome else ()
                self.world.sent(self, period, units * outcome - units)
        finally:
            payment.settle(billed)

    async def kill(self) -> None:
        """End at once. What was handed over to the log may still be written."""
        for task in (*self.calls, self._life):
            if task is not None:
                task.cancel()
        await asyncio.wait([task for task in (*self.calls, self._life) if task is not None])

    async def stop(self) -> None:
        """End in order: calls are answered, and what was set aside is given back."""
        if self.calls:
            await asyncio.wait(self.calls, timeout=10)
        await self.kill()
        await self.budgets.close()
        await self.process.state.stop()


class Topic(MemoryTopic):
    """A topic that also remembers what compaction took away.

    Of an owner in `losing` it acknowledges the next note, and loses it.
    """

    def __init__(self, *, ack_seconds: float) -> None:
        super().__init__(ack_seconds=ack_seconds)
        self.history: list[StateRecord] = []
        self.losing: set[str] = set()

    def write(self, key: bytes | None, value: bytes | None) -> None:
        for owner in self.losing:
            if value is not None and owner.encode() in (key or b""):
                self.losing.discard(owner)
                return
        super().write(key, value)
        self.history.append(StateRecord(key, value, LoopClock().now()))


class WallClock(LoopClock):
    """The loop's time, and a wall clock that can be put on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class World:
    """The log, the replicas, and what was really spent by period."""

    def __init__(self, *budgets: Budget, ack_seconds: float = 0.01) -> None:
        self.topic = Topic(ack_seconds=ack_seconds)
        self.clock = WallClock()
        self.budgets = budgets
        self.spent: Counter[str] = Counter()

    async def replica(self, *budgets: Budget, chance: Callable[[], float] = lambda: 0.5) -> Replica:
        made = Replica(self, budgets or self.budgets, chance)
        await made.start()
        return made

    def period(self) -> str:
        about = self.budgets[0]
        return period_at(about.period, zone_of(about.timezone), self.clock.now()).mark

    def sent(self, replica: Replica, period: str, units: int) -> None:
        """A call is on the wire, and may be paid for; or it is known now how much more or less it was."""
        self.spent[period] += units
        replica.spent[period] += units

    def lost(self, replica: Replica) -> Counter[str]:
        """By period: what a replica has ever set aside, and did not use."""
        most: Counter[str] = Counter()
        for record in self.topic.history:
            note = decode_record(record.key, record.value)
            if isinstance(note, Note):
                book, owner = read_key(note.key.parts)
                if owner == replica.owner:
                    most[book.mark] = max(most[book.mark], int(decode(note.value).set_aside))
        return most - replica.spent
