"""What was spent this hour, day and month, and what it comes to at this rate: shown, kept, and shared."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.metrics import Metrics
from consumer.quota.periods import zone_of
from consumer.quota.spending import Spending
from tests import virtual_time
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.quota.budget_world import WallClock
from tests.virtual_time import EPOCH


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


KIND = "text_llm_standard"
DAY = 86_400.0
# The virtual world begins on January 2 at 03:04:05.
DAY_LEFT = DAY - 3 * 3600 - 4 * 60 - 5
MONTH_LEFT = DAY_LEFT + 29 * DAY


def pay(metrics: Metrics, cost: float, currency: str = "CNY", units: int = 1) -> None:
    """An answer was paid for."""
    metrics.counter("billed_cost").labels(KIND, currency).inc(cost)
    metrics.counter("billed_units").labels(KIND).inc(units)


@asynccontextmanager
async def spending(
    topic: MemoryTopic, clock: WallClock, *, killed: bool = False, zone: str = "UTC"
) -> AsyncIterator[tuple[Spending, Metrics]]:
    """A process that keeps books in a topic; ended in order, or as one is that is killed."""
    process = Process(topic)
    made = Spending(clock=clock, metrics=process.metrics, zone=zone_of(zone), notes=process.state)
    async with process.alive():
        running = asyncio.create_task(made.run())
        yield made, process.metrics
        running.cancel()
        await asyncio.wait({running})
    if not killed:
        await made.close()
        await process.state.stop()


def cost(made: Spending, currency: str = "CNY") -> dict[str, Any]:
    found: dict[str, Any] = made.status()["cost"][currency]
    return found


def test_what_was_spent_is_shown_by_period_and_currency() -> None:
    """The hour, day and month each begin anew, in each currency by itself, and units are counted beside."""

    async def main() -> None:
        clock, metrics = WallClock(), Metrics()
        made = Spending(clock=clock, metrics=metrics, zone=UTC)
        pay(metrics, 0.004, units=2)
        pay(metrics, 0.3, "USD")
        assert made.status()["units"] == {KIND: {"hour": 3, "day": 3, "month": 3}}
        for ahead, hour, day, month in (
            (3600.0, 0.1, 0.104, 0.104),
            (DAY, 0.1, 0.1, 0.204),
            (30 * DAY, 0.1, 0.1, 0.1),
        ):
            clock.ahead = ahead
            pay(metrics, 0.1)
            found = cost(made)
            assert [found[kind] for kind in ("hour", "day", "month")] == [hour, day, month]

    virtual_time.run(main())


def test_what_was_billed_before_it_began_is_not_counted() -> None:
    """Only what is counted from now on is spent in this life of the process."""

    async def main() -> None:
        metrics = Metrics()
        pay(metrics, 5)
        made = Spending(clock=WallClock(), metrics=metrics, zone=UTC)
        assert made.status()["cost"] == {}

    virtual_time.run(main())


def test_the_forecast_goes_on_at_the_rate_of_the_last_hour() -> None:
    """What is spent so far, and what the last hour's rate comes to until the day and the month end."""

    async def main() -> None:
        clock, metrics = WallClock(), Metrics()
        made = Spending(clock=clock, metrics=metrics, zone=UTC)
        for minute in range(120):
            clock.ahead = minute * 60.0
            pay(metrics, 0.5 if minute < 50 else 0.01)
            made.status()
        clock.ahead = 7200.0
        found = cost(made)
        assert found["day"] == pytest.approx(25.7)
        per_second = 0.01 / 60
        assert found["day_forecast"] == pytest.approx(25.7 + per_second * (DAY_LEFT - 7200), rel=0.05)
        assert found["month_forecast"] == pytest.approx(25.7 + per_second * (MONTH_LEFT - 7200), rel=0.05)

    virtual_time.run(main())


def test_a_process_that_is_younger_than_an_hour_goes_by_its_life() -> None:
    """The first minutes are not thinned out over an hour that has not been."""

    async def main() -> None:
        clock, metrics = WallClock(), Metrics()
        made = Spending(clock=clock, metrics=metrics, zone=UTC)
        for second in range(600):
            clock.ahead = float(second)
            pay(metrics, 0.001)
        clock.ahead = 600.0
        assert cost(made)["day_forecast"] == pytest.approx(0.6 + 0.001 * (DAY_LEFT - 600), rel=0.01)

    virtual_time.run(main())


def test_metrics_show_it() -> None:
    """What is spent and what is to come stand in the metrics within seconds."""

    async def main() -> None:
        metrics = Metrics()
        made = Spending(clock=WallClock(), metrics=metrics, zone=UTC)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(5)
        pay(metrics, 2)
        await asyncio.sleep(5.5)
        value = metrics.registry.get_sample_value
        shown = [
            value("moderation_spent_cost", {"currency": "CNY", "period": kind}) for kind in ("hour", "day", "month")
        ]
        assert shown == [2, 2, 2]
        forecast = value("moderation_forecast_cost", {"currency": "CNY", "period": "day"})
        assert forecast == pytest.approx(2 + 0.2 * (DAY_LEFT - 10), rel=0.01)
        running.cancel()
        await asyncio.wait({running})
        await made.close()

    virtual_time.run(main())


def test_totals_and_rate_outlive_the_process() -> None:
    """After a restart the day, the month and the rate go on, to the last half minute of a process that was killed."""

    async def main() -> None:
        topic, clock = MemoryTopic(), WallClock()
        async with spending(topic, clock, killed=True) as (_, metrics):
            for _ in range(100):
                pay(metrics, 0.1)
                await asyncio.sleep(1)
        async with spending(topic, clock) as (made, metrics):
            assert 7 <= cost(made)["month"] <= 10
            pay(metrics, 0.25)
            kept = cost(made)["day"]
        async with spending(topic, clock) as (made, _):
            found = cost(made)
            assert found["day"] == found["month"] == kept
            assert found["day_forecast"] == pytest.approx(kept + kept / 100 * (DAY_LEFT - 100), rel=0.02)

    virtual_time.run(main())


def test_replicas_show_what_all_of_them_spend() -> None:
    """Each replica shows the sum of all, and none counts another one's twice."""

    async def main() -> None:
        topic, clock = MemoryTopic(), WallClock()
        async with spending(topic, clock) as (one, first), spending(topic, clock) as (two, second):
            for _ in range(10):
                pay(first, 0.1)
                pay(second, 0.2)
                await asyncio.sleep(20)
            await asyncio.sleep(60)
            assert cost(one)["day"] == cost(two)["day"] == pytest.approx(3.0)
            assert cost(one)["day_forecast"] == pytest.approx(cost(two)["day_forecast"])

    virtual_time.run(main())


def test_a_month_that_is_over_leaves_nothing_behind() -> None:
    """A note that says nothing of this month any more is not counted, and deleted in the end."""

    async def main() -> None:
        topic, clock = MemoryTopic(), WallClock()
        async with spending(topic, clock) as (_, metrics):
            pay(metrics, 1)
            await asyncio.sleep(1)
        clock.ahead = 35 * DAY
        async with spending(topic, clock) as (made, metrics):
            pay(metrics, 0.5)
            assert cost(made)["month"] == 0.5
            await asyncio.sleep(1300)
        assert len(topic.live()) == 1

    virtual_time.run(main())


def test_days_begin_where_the_zone_says() -> None:
    """In Shanghai the day is eight hours ahead of UTC."""

    async def main() -> None:
        clock, metrics = WallClock(), Metrics()
        made = Spending(clock=clock, metrics=metrics, zone=zone_of("Asia/Shanghai"))
        clock.ahead = datetime(2026, 1, 2, 15, 59, tzinfo=UTC).timestamp() - EPOCH
        pay(metrics, 1)
        assert cost(made)["day"] == 1
        clock.ahead += 60
        assert cost(made)["day"] == 0

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "damaged"),
        (b"[]", "damaged"),
        (b'{"version":2}', "version"),
        (b'{"version":1}', "damaged"),
        (b'{"version":"1"}', "damaged"),
        (None, "damaged"),
    ],
)
def test_any_damage_to_a_note_is_harmless(value: bytes | None, reason: str) -> None:
    """A note that cannot be used is counted, and changes nothing."""

    async def main() -> None:
        topic, clock = MemoryTopic(), WallClock()
        async with spending(topic, clock) as (_, metrics):
            pay(metrics, 1)
            await asyncio.sleep(1)
        [good] = topic.live().values()
        broken = orjson.dumps({**orjson.loads(good), "month": {"start": 1, "cost": {"CNY": "much"}, "units": {}}})
        topic.write(b"note/spent/x", broken if value is None else value)
        async with spending(topic, clock) as (made, metrics):
            assert cost(made)["month"] == 1
            skipped = metrics.registry.get_sample_value("moderation_state_records_skipped_total", {"reason": reason})
            assert skipped == 1

    virtual_time.run(main())


def test_a_stop_ends_though_the_log_is_away() -> None:
    """What cannot be written in time is not shown after the next start, and the stop ends all the same."""

    async def main() -> None:
        topic, clock = MemoryTopic(), WallClock()
        async with spending(topic, clock) as (_, metrics):
            pay(metrics, 1)
            topic.away = True
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began <= 4 + 1

    virtual_time.run(main())
