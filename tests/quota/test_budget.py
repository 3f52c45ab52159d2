"""What a budget does: it sets aside before a call is sent, warns, and holds, reviews or samples when it is spent."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.errors import BudgetSpent, DeliveryRefused, Stuck
from consumer.metrics import Metrics
from consumer.quota.budget import Budgets
from consumer.quota.budget_notes import decode, encode, key_of, read_key
from consumer.quota.ledger import Slice
from tests import virtual_time
from tests.moderation.tasks.memory_log import Process
from tests.quota.budget_world import Replica, WallClock, World, bill, budget
from tests.virtual_time import EPOCH, LoopClock


HOUR = 3600.0
# The virtual world begins at 03:04:05.
TO_THE_HOUR = 55 * 60 + 55.0


def alone(*budgets: Any, chance: Any = lambda: 0.5) -> Budgets:
    """Budgets in memory only."""
    return Budgets(budgets, clock=LoopClock(), metrics=Metrics(), chance=chance)


def test_a_budget_is_used_up_and_not_passed() -> None:
    """Of a hundred calls at once as many are sent as the limit allows, and the next one not either."""

    async def main() -> None:
        world = World(budget("10"))
        replica = await world.replica()
        assert await replica.calls_made(100) == 10
        assert await replica.calls_made(1) == 0
        assert replica.refused[-1] == "the budget b is spent until 2026-01-03T00:00+00:00"
        assert sum(world.spent.values()) == 10
        await replica.stop()

    virtual_time.run(main())


def test_calls_that_cost_nothing_in_the_end_leave_room_for_others() -> None:
    """What a call that was not billed had set aside is free again, to the last unit; an unknown bill counts as paid."""

    async def main() -> None:
        world = World(budget("10"))
        replica = await world.replica()
        assert await replica.calls_made(10, outcome=0) == 10
        assert await replica.calls_made(4, outcome=None) == 4
        assert await replica.calls_made(10, outcome=1) == 6
        await replica.stop()

    virtual_time.run(main())


def test_a_bill_that_is_higher_than_expected_is_counted() -> None:
    """What a call costs beyond what was set aside for it is taken from what is left."""

    async def main() -> None:
        world = World(budget("10"))
        replica = await world.replica()
        assert await replica.calls_made(3, outcome=3) == 3
        assert await replica.calls_made(9) == 1
        await replica.stop()

    virtual_time.run(main())


def test_few_records_are_written() -> None:
    """At 100 calls a second some two records a second are written, and no call but the first waits for one."""

    async def main() -> None:
        world = World(budget("100000"), ack_seconds=0.05)
        replica = await world.replica()
        waits = []
        for _ in range(1000):
            began = asyncio.get_running_loop().time()
            payment = await replica.budgets.open("r", bill())
            waits.append(asyncio.get_running_loop().time() - began)
            payment.settle(bill())
            await asyncio.sleep(0.01)
        assert len(world.topic.history) <= 40
        assert sum(wait > 0 for wait in waits[100:]) == 0
        assert replica.budgets.status()[0]["set_aside"] <= 110
        await replica.stop()

    virtual_time.run(main())


def test_a_stop_in_order_gives_back_all_that_was_not_used() -> None:
    """After a stop the next process may spend exactly the rest."""

    async def main() -> None:
        world = World(budget("1000"))
        first = await world.replica()
        for _ in range(10):
            assert await first.calls_made(30) == 30
        await first.stop()
        second = await world.replica()
        assert await second.calls_made(1000) == 700
        await second.stop()

    virtual_time.run(main())


def test_a_kill_loses_what_was_set_aside_and_no_more() -> None:
    """After a kill the next process may spend what nobody has set aside: never more than the limit in all."""

    async def main() -> None:
        world = World(budget("1000"))
        first = await world.replica()
        for _ in range(10):
            assert await first.calls_made(30) == 30
        await first.kill()
        lost = world.lost(first).total()
        second = await world.replica()
        assert await second.calls_made(1000) == 700 - lost
        # A second at the rate at which it was spent, and half of one.
        assert lost <= 45 / 0.2
        await second.stop()

    virtual_time.run(main())


def test_replicas_use_all_of_a_budget_together() -> None:
    """Of two replicas that compete for the end of a budget each gets some, none is passed over, and nothing is left."""

    async def main() -> None:
        world = World(budget("61"))
        one, two = await world.replica(), await world.replica()
        sent = await asyncio.gather(one.calls_made(40, 2), two.calls_made(40, 2))
        assert sum(sent) >= 28
        await asyncio.sleep(15)
        assert await one.calls_made(40) + await two.calls_made(40) + 2 * sum(sent) == 61
        for replica in (one, two):
            await replica.stop()

    virtual_time.run(main())


def test_an_idle_replica_keeps_nothing_from_a_busy_one() -> None:
    """What an idle replica had set aside near the end of a budget goes to who still waits for it."""

    async def main() -> None:
        world = World(budget("20", when_spent="hold"))
        idle, busy = await world.replica(), await world.replica()
        assert await idle.calls_made(1) == 1
        async with asyncio.timeout(30):
            assert await busy.calls_made(19) == 19
        for replica in (idle, busy):
            await replica.stop()

    virtual_time.run(main())


def test_who_waits_hears_of_what_another_one_gives_back() -> None:
    """What one replica had set aside for calls that were not billed lets the other one's calls go on."""

    async def main() -> None:
        world = World(budget("5", when_spent="hold"))
        one, two = await world.replica(), await world.replica()
        await one.calls_made(5, outcome=0)
        async with asyncio.timeout(20):
            assert await two.calls_made(5) == 5
        for replica in (one, two):
            await replica.stop()

    virtual_time.run(main())


def test_a_late_reader_asks_again() -> None:
    """A replica that has missed records, since they were compacted, sets aside anew, and overspends nothing."""

    async def main() -> None:
        world = World(budget("10"))
        one, two = await world.replica(), await world.replica()
        two.process.log.lagging = True
        await asyncio.sleep(6)
        # One sets aside before the other's record, and after it, and only the later of its records is left.
        assert await one.calls_made(3) == 3
        late = asyncio.create_task(two.calls_made(10))
        await asyncio.sleep(15)
        world.topic.compact()
        two.process.log.lagging = False
        assert await late == 7
        assert two.process.state.gaps == 1
        for replica in (one, two):
            await replica.stop()

    virtual_time.run(main())


def test_a_record_that_is_lost_is_written_again() -> None:
    """A record that was acknowledged and cannot be read, since the topic was made anew, holds calls up for seconds."""

    async def main() -> None:
        world = World(budget("10"))
        replica = await world.replica()
        world.topic.losing.add(replica.owner)
        began = asyncio.get_running_loop().time()
        with capture_logs() as logs:
            assert await replica.calls_made(3) == 3
        assert 10 <= asyncio.get_running_loop().time() - began <= 12
        [said] = [entry for entry in logs if entry["log_level"] == "warning"]
        assert said == {
            "event": "budget_note_not_read",
            "log_level": "warning",
            "budget": "b",
            "seconds": 10.0,
        }
        # From here on all goes as ever.
        assert await replica.calls_made(10) == 7
        await replica.stop()
        assert sum(world.spent.values()) == 10

    virtual_time.run(main())


@pytest.mark.parametrize("lag_seconds", [9.0, 25.0, 300.0])
def test_a_record_that_is_read_late_counts_as_soon_as_it_is_read(lag_seconds: float) -> None:
    """Who reads with a great delay waits for that long and no longer, and what was written twice pays for one."""

    async def main() -> None:
        world = World(budget("10", when_spent="hold"))
        replica, other = await world.replica(), await world.replica()
        replica.process.log.lagging = True
        await asyncio.sleep(6)
        began = asyncio.get_running_loop().time()
        calls = asyncio.create_task(replica.calls_made(4))
        asyncio.get_running_loop().call_later(lag_seconds, setattr, replica.process.log, "lagging", False)
        assert await calls == 4
        assert asyncio.get_running_loop().time() - began <= lag_seconds + 2
        assert await other.calls_made(6) == 6
        other.call()
        await asyncio.sleep(60)
        assert sum(world.spent.values()) == 10
        for one in (replica, other):
            await one.kill()

    virtual_time.run(main())


def test_a_slow_reader_that_misses_records_asks_again() -> None:
    """What was missed before a record is not forgotten while that record is written again: nothing is overspent."""

    async def main() -> None:
        world = World(budget("10"))
        one, two = await world.replica(), await world.replica()
        log = two.process.log
        log.lagging = True
        await asyncio.sleep(6)
        # Of one only the later record is left, behind the other's; before that a foreign one shows that some are gone.
        assert await one.calls_made(3) == 3
        world.topic.write(b"note/budget/foreign/units/day/20260102T000000Z/x", encode(Slice(1, Decimal(4))))
        late = asyncio.create_task(two.calls_made(10))
        await asyncio.sleep(8)
        world.topic.compact()
        read, unread = log.read, list[Any]()

        async def slowly() -> list[Any]:
            if not unread:
                unread.extend(await read())
                return []
            await asyncio.sleep(12)
            return [unread.pop(0)]

        log.read = slowly  # type: ignore[method-assign]  # one record at a time
        log.lagging = False
        assert await late == 7
        assert two.process.state.gaps == 1
        assert sum(world.spent.values()) == 10
        for replica in (one, two):
            await replica.kill()

    virtual_time.run(main())


def test_a_record_that_overtakes_a_later_one_is_put_right() -> None:
    """A record that is written once more after the next one misleads nobody, also not who reads only what is left."""

    async def main() -> None:
        world = World(budget("10"))
        first, standby = await world.replica(), await world.replica()
        await first.calls_made(2)
        await first.calls_made(5)
        early = world.topic.history[0]
        await first.kill()
        await asyncio.sleep(1)
        world.topic.write(early.key, early.value)
        await asyncio.sleep(1)
        world.topic.compact()
        lost = world.lost(first).total()
        heir = await world.replica()
        assert await heir.calls_made(10) == 3 - lost
        for replica in (standby, heir):
            await replica.stop()

    virtual_time.run(main())


def test_a_hold_lasts_until_the_next_period() -> None:
    """Events wait without being refused, it is shown why and until when, and all go on when the hour is full."""

    async def main() -> None:
        world = World(budget("5", period="hour", when_spent="hold"))
        replica = await world.replica()
        with capture_logs() as logs:
            for _ in range(12):
                replica.call()
            await asyncio.sleep(60)
            assert sum(world.spent.values()) == 5
            [hold] = replica.budgets.holds()
            assert hold["reason"] == "budget"
            assert hold["budget"] == "b"
            assert hold["until"] == "2026-01-02T04:00+00:00"
            assert hold["since"] == pytest.approx(EPOCH, abs=1)
            assert replica.metric("holding", reason="budget") == 1
            assert replica.budgets.status()[0]["waiting"] == 7
            await asyncio.sleep(TO_THE_HOUR - 61)
            assert sum(world.spent.values()) == 5
            await asyncio.sleep(2)
            assert sum(world.spent.values()) == 10
            await asyncio.sleep(HOUR)
            assert sum(world.spent.values()) == 12
        assert replica.budgets.holds() == []
        assert replica.metric("holding", reason="budget") == 0
        said = [(entry["event"], entry.get("budget")) for entry in logs if entry["event"].startswith("hold")]
        assert said[:2] == [("holding", "b"), ("hold is over", "b")]
        await replica.stop()

    virtual_time.run(main())


def test_a_hold_ends_when_something_is_given_back() -> None:
    """A call that was not billed after all lets one go on that waits."""

    async def main() -> None:
        budgets = alone(budget("2", when_spent="hold"))
        payments = [await budgets.open("r", bill()) for _ in range(2)]
        waiting = asyncio.create_task(budgets.open("r", bill()))
        await asyncio.sleep(5)
        assert not waiting.done()
        payments[0].settle(())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting.done()

    virtual_time.run(main())


def test_a_cancelled_wait_sets_nothing_aside() -> None:
    """Who gives up waiting, for the next period or for a record, leaves nothing behind."""

    async def main() -> None:
        world = World(budget("5", when_spent="hold"), budget("3", name="c", when_spent="hold"), ack_seconds=5)
        replica = await world.replica()
        for _ in range(20):
            replica.call()
        await asyncio.sleep(0.1)
        for call in replica.calls:
            call.cancel()
        await asyncio.sleep(0.1)
        world.topic.ack_seconds = 0.01
        assert await replica.calls_made(3) == 3
        waiting = asyncio.create_task(replica.calls_made(2))
        await asyncio.sleep(20)
        for call in replica.calls:
            call.cancel()
        await waiting
        assert [one["spent"] for one in replica.budgets.status()] == [3, 3]
        assert [one["waiting"] for one in replica.budgets.status()] == [0, 0]
        await replica.stop()
        assert [decode(value).set_aside for value in world.topic.live().values()] == [3, 3]

    virtual_time.run(main())


def test_a_call_that_no_period_can_pay_for_does_not_wait() -> None:
    """What costs more than the whole limit goes to a person instead of waiting for ever, and nothing is said spent."""

    async def main() -> None:
        budgets = alone(budget("5", when_spent="hold"))
        with pytest.raises(BudgetSpent, match="it costs 6 units, more than all of b"), capture_logs() as logs:
            await budgets.open("r", bill(6))
        assert logs == []
        await budgets.open("r", bill(5))

    virtual_time.run(main())


def test_a_sample_is_paid_for_beyond_the_limit() -> None:
    """Of what comes after the limit the configured share is sent and counted, and the rest goes to a person."""

    async def main() -> None:
        numbers = itertools.cycle(n / 10 for n in range(10))
        world = World(budget("10", when_spent="sample", sample=0.3))
        replica = await world.replica(chance=lambda: next(numbers))
        assert await replica.calls_made(10) == 10
        assert await replica.calls_made(100) == 30
        [status] = replica.budgets.status()
        assert (status["spent"], status["beyond"]) == (40, 30)
        await asyncio.sleep(15)
        assert replica.metric("budget_share", budget="b") == 4
        heir = await world.replica()
        assert heir.budgets.status()[0]["spent"] == 40
        for one in (replica, heir):
            await one.stop()

    virtual_time.run(main())


def test_thresholds_are_said_once() -> None:
    """Half, 80 % and all of a budget are said once in a period, by one replica, and a takeover repeats nothing."""

    async def main() -> None:
        world = World(budget("10", period="hour"))
        with capture_logs() as logs:
            first, standby = await world.replica(), await world.replica()
            for _ in range(5):
                await first.calls_made(1)
            await asyncio.sleep(1)
            await first.stop()
            for _ in range(5):
                await standby.calls_made(1)
            await standby.calls_made(3)
            await asyncio.sleep(1)
            last = await world.replica()
            await last.calls_made(2)
            said = [entry["percent"] for entry in logs if entry["event"] == "budget_threshold"]
            assert said == [50, 80, 100]
            assert first.metric("budget_thresholds_total", budget="b", percent="50") == 1
            world.clock.ahead = HOUR
            await last.calls_made(6)
            said = [entry["percent"] for entry in logs if entry["event"] == "budget_threshold"]
            assert said == [50, 80, 100, 50]
            for one in (standby, last):
                await one.stop()

    virtual_time.run(main())


def test_a_call_is_paid_from_all_budgets_that_cover_it_or_from_none() -> None:
    """The tightest budget decides, and a call that waits for one has taken nothing from another."""

    async def main() -> None:
        world = World(
            budget("4", name="hour", period="hour", when_spent="hold"),
            budget("6", name="day"),
            budget("1", name="others", routes=["other"]),
        )
        replica = await world.replica()
        for _ in range(7):
            replica.call()
        await asyncio.sleep(30)
        spent = {one["name"]: one["spent"] for one in replica.budgets.status()}
        assert spent == {"hour": 4, "day": 4, "others": 0}
        await asyncio.sleep(HOUR)
        assert sum(world.spent.values()) == 6
        assert replica.refused == ["the budget day is spent until 2026-01-03T00:00+00:00"]
        await replica.stop()

    virtual_time.run(main())


def test_other_routes_go_on() -> None:
    """A route whose budget is spent waits by itself."""

    async def main() -> None:
        world = World(budget("2", routes=["chat"], when_spent="hold"))
        replica = await world.replica()
        for _ in range(5):
            replica.call(route="chat")
        await asyncio.sleep(5)
        before = sum(world.spent.values())
        for _ in range(5):
            replica.call(route="posts")
        await asyncio.sleep(5)
        assert (before, sum(world.spent.values())) == (2, 7)
        await replica.stop()

    virtual_time.run(main())


def test_money_of_another_currency_does_not_count() -> None:
    """A budget in CNY pays for what is billed in CNY, to the last digit, and lets everything else pass."""

    async def main() -> None:
        budgets = alone(budget("0.01", unit="CNY"))
        for _ in range(20):
            (await budgets.open("r", bill(1, "5", "USD"))).settle(None)
        for _ in range(3):
            (await budgets.open("r", bill(1, "0.0031"))).settle(None)
        with pytest.raises(BudgetSpent):
            await budgets.open("r", bill(1, "0.00071"))
        (await budgets.open("r", bill(1, "0.0007"))).settle(None)
        assert budgets.status()[0]["spent"] == 0.01

    virtual_time.run(main())


def test_a_day_ends_by_its_own_clock() -> None:
    """The day of a budget in Shanghai begins at its midnight, and has its limit anew."""

    async def main() -> None:
        clock = WallClock()
        clock.ahead = datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC).timestamp() - EPOCH
        budgets = Budgets([budget("1", timezone="Asia/Shanghai")], clock=clock, metrics=Metrics())
        await budgets.open("r", bill())
        with pytest.raises(BudgetSpent, match=r"until 2026-03-02T00:00\+08:00"):
            await budgets.open("r", bill())
        clock.ahead += 1
        await budgets.open("r", bill())

    virtual_time.run(main())


def test_what_was_paid_in_a_period_that_is_over_is_not_counted_in_the_next() -> None:
    """A call that was sent before midnight and answered after it is in the budget of the day it was sent."""

    async def main() -> None:
        world = World(budget("10", period="hour"))
        replica = await world.replica()
        for _ in range(10):
            replica.call(seconds=5.0)
        await asyncio.sleep(2)
        world.clock.ahead = HOUR
        assert await replica.calls_made(10) == 10
        assert set(world.spent.values()) == {10}
        await replica.stop()

    virtual_time.run(main())


def test_notes_of_periods_long_over_are_deleted() -> None:
    """A day after its end nothing is left of a period, whoever wrote it, and the present one stays."""

    async def main() -> None:
        world = World(budget("10", period="hour"))
        killed, stays = await world.replica(), await world.replica()
        for replica in (killed, stays):
            await replica.calls_made(1)
        await killed.kill()
        world.clock.ahead = 27 * HOUR
        await stays.calls_made(1)
        await asyncio.sleep(1500)
        [key] = world.topic.live()
        assert b"/hour/20260103T060000Z/" in (key or b"")
        await stays.stop()

    virtual_time.run(main())


def test_notes_that_cannot_be_used_are_counted() -> None:
    """What is damaged or of a later version is passed over, and what stands beside it counts."""

    async def main() -> None:
        world = World(budget("10"))
        process = Process(world.topic)
        book = "note/budget/b/units/day/20260102T000000Z/"
        good = encode(Slice(1, Decimal(4)))
        async with process.running() as state:
            for owner, value in (("x", b"{}"), ("y", good.replace(b'"version":1', b'"version":2')), ("z", good)):
                world.topic.write(f"{book}{owner}".encode(), value)
            for key in (("budget", "b"), ("budget", "b", "units", "week", "20260102T000000Z", "o")):
                await state.put(key, good)
            await state.put(("budget", "b", "units", "day", "yesterday", "o"), good)
        replica = await world.replica()
        assert replica.metric("state_records_skipped_total", reason="damaged") == 4
        assert replica.metric("state_records_skipped_total", reason="version") == 1
        assert await replica.calls_made(10) == 6
        await replica.stop()

    virtual_time.run(main())


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b'{"version":1}', b"\xff", b'{"version":true}', b'{"version":1,"number":-1}', b'{"version":"1"}'],
)
def test_any_damage_to_a_note_is_harmless(damage: bytes) -> None:
    """Whatever stands in place of a note's value is passed over."""

    async def main() -> None:
        world = World(budget("10"))
        world.topic.write(b"note/budget/b/units/day/20260102T000000Z/x", damage)
        replica = await world.replica()
        assert await replica.calls_made(11) == 10
        await replica.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("wrong", ["NaN", "-1", "1e999999", "x", "9" * 200])
def test_no_amount_is_taken_on_trust(wrong: str) -> None:
    """An amount that is none makes its note unusable, and nothing else."""

    async def main() -> None:
        world = World(budget("10"))
        value = encode(Slice(1, Decimal(4))).replace(b'"4"', f'"{wrong}"'.encode())
        world.topic.write(b"note/budget/b/units/day/20260102T000000Z/x", value)
        replica = await world.replica()
        assert replica.metric("state_records_skipped_total", reason="damaged") == 1
        await replica.stop()

    virtual_time.run(main())


def test_keys_name_their_book() -> None:
    """A key says which budget, unit and period it is of, and who wrote it."""
    book, owner = read_key(("budget", "a/b", "CNY", "month", "20260101T000000Z", "o"))
    assert key_of(book, owner) == ("budget", "a/b", "CNY", "month", "20260101T000000Z", "o")
    assert book.start == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_what_cannot_be_recorded_ends_the_process() -> None:
    """A log that refuses notes for good is an error that says so: nothing could be spent any more."""

    async def main() -> None:
        world = World(budget("10"))
        world.topic.refusal = DeliveryRefused("we may not write")
        replica = Replica(world, world.budgets, lambda: 0.5)
        await replica.process.state.start()
        running = asyncio.create_task(replica.budgets.run())
        opening = asyncio.create_task(replica.budgets.open("r", bill()))
        with pytest.raises(ExceptionGroup) as raised:
            await running
        assert raised.group_contains(Stuck, match="we may not write")
        opening.cancel()
        await asyncio.wait({opening})
        await replica.process.state.stop()

    virtual_time.run(main())


def test_a_stop_ends_though_the_log_is_away() -> None:
    """What cannot be given back in time is lost to the period, and the log says so."""

    async def main() -> None:
        world = World(budget("1000"))
        replica = await world.replica()
        await replica.calls_made(100)
        world.topic.away = True
        await replica.kill()
        began = asyncio.get_running_loop().time()
        with capture_logs() as logs:
            await replica.budgets.close()
        assert asyncio.get_running_loop().time() - began == 2
        assert [entry["event"] for entry in logs] == ["budgets_not_given_back"]
        world.topic.away = False
        await replica.process.state.stop()

    virtual_time.run(main())


def test_without_notes_a_budget_lives_in_memory() -> None:
    """A process that shares nothing has all of the limit, at once, and shows what it has spent."""

    async def main() -> None:
        metrics = Metrics()
        budgets = Budgets([budget("3")], clock=LoopClock(), metrics=metrics)
        running = asyncio.create_task(budgets.run())
        for _ in range(2):
            (await budgets.open("r", bill())).settle(bill())
        await asyncio.sleep(2)
        assert metrics.registry.get_sample_value("moderation_budget_spent", {"budget": "b"}) == 2
        assert metrics.registry.get_sample_value("moderation_budget_limit", {"budget": "b"}) == 3
        running.cancel()
        await asyncio.wait({running})
        await budgets.close()

    virtual_time.run(main())
