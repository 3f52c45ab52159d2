"""Tests of counters that say nothing until something goes wrong: they are there before, at zero."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from consumer.clock import SystemClock
from consumer.kafka.keeper import Keeper
from consumer.kafka.offsets import Start
from consumer.kafka.places import Places
from consumer.metrics import Metrics
from consumer.moderation.tasks.state import StateTopic
from consumer.quota.budget import Budgets
from consumer.record import Partition
from consumer.settings.saving import Budget
from tests import virtual_time
from tests.engine.memory import Cluster, ScriptedJudge, killed


def test_stalls_of_a_lane_are_counted_from_zero() -> None:
    """The topic of a lane has its count of stalls as soon as the lane is there, so that the first one is a growth."""
    cluster, metrics = Cluster(), Metrics()
    cluster.fill(5)
    virtual_time.run(killed(cluster, ScriptedJudge(), 5, metrics=metrics))
    assert metrics.totals("lane_stalls") == {("ugc",): 0.0}


def test_expired_records_are_counted_from_zero() -> None:
    """A partition that has lost nothing has its topic's count of expired records at zero, and a loss is added to it."""

    class Reader:
        def move(self, partition: Partition, offset: int) -> None:
            pass

    metrics = Metrics()
    places = Places("group", cast("Any", Reader()), metrics)
    places.place(Partition("ugc", 0), Start(7))
    assert metrics.totals("records_expired") == {("ugc",): 0.0}
    places.place(Partition("ugc", 1), Start(7, expired=3))
    assert metrics.totals("records_expired") == {("ugc",): 3.0}


def test_failed_writes_of_the_state_are_counted_from_zero() -> None:
    """Each kind of record has its count of failed writes before any has failed."""
    metrics = Metrics()
    StateTopic(cast("Any", None), clock=SystemClock(), metrics=metrics)
    assert set(metrics.totals("state_writes_failed")) == {("task",), ("callback",), ("note",), ("tombstone",)}
    assert set(metrics.totals("state_writes_failed").values()) == {0.0}


def test_marks_of_a_budget_are_counted_from_zero() -> None:
    """Each mark of each budget has its count before it is passed."""
    metrics = Metrics()
    one = Budget(name="day", limit=Decimal(5), unit="CNY")
    Budgets([one], clock=SystemClock(), metrics=metrics)
    assert metrics.totals("budget_thresholds") == {("day", "50"): 0.0, ("day", "80"): 0.0, ("day", "100"): 0.0}


def test_rejoins_are_counted_from_zero() -> None:
    """Each reason to join anew has its count before that has happened."""
    metrics = Metrics()
    unused = cast("Any", None)
    Keeper(
        unused,
        parts=(),
        owner=unused,
        give_up=unused,
        assignor=unused,
        rebalance_seconds=1,
        metadata_max_age_seconds=1,
        leave_seconds=1,
        metrics=metrics,
    )
    assert metrics.totals("rejoins")["asked",] == 0.0
    assert set(metrics.totals("rejoins").values()) == {0.0}
