"""Deadlines of routes: an event that is too old before anything was sent for it goes another way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.errors import LaneClosed
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.ports import Claim, Judge
    from consumer.event import Event
    from consumer.metrics import Metrics
    from consumer.record import Record
    from consumer.routing import Route


__all__ = ["Timely"]


_REVIEW = "review"


class Timely:
    """A judge that has no event wait beyond the deadline of its route; see `consumer.engine.ports.Judge`.

    An event's age counts from its record's timestamp; one that lies in the future, or that a record lacks, counts as
    now. When the event is too old and nothing was sent for it yet, its wait ends at once: it goes to the route's
    `on_deadline`, which is another route, or `review`, that is a judgement without a call and without a bill.

    A request that is on the wire is never given up for it, nor what was answered and may have been paid for, nor a task
    that was submitted. A request that was not paid for, and has to be sent again, is subject to the deadline again.

    Args:
        judge: who judges.
        routes: all routes; those with a deadline may name others of them.
        clock: the time.
        metrics: where late events are counted.
        submitted: says whether a task of this route was submitted for this record before, maybe by another process.

    Raises:
        ValueError: a route's `on_deadline` names no route, or one that has a deadline of its own.
    """

    def __init__(
        self,
        judge: Judge,
        routes: Sequence[Route],
        *,
        clock: Clock,
        metrics: Metrics,
        submitted: Callable[[Route, Record], bool] = lambda _route, _record: False,
    ) -> None:
        self._judge = judge
        self._others = _others(routes)
        self._clock = clock
        self._late = metrics.counter("late_events")
        self._submitted = submitted

    def replace(self, routes: Sequence[Route]) -> None:
        """Know these routes from now on; events under way go on by those that they began with.

        Raises:
            ValueError: a route's `on_deadline` names no route, or one that has a deadline of its own.
        """
        self._others = _others(routes)

    def judge(self, event: Event, route: Route, claim: Claim) -> Coroutine[Any, Any, Judgement]:
        """Judge one event by the services of its route, or another way where it is too late for that.

        The judgement names the route it goes by where that is another one. When cancelled it abandons its request.

        Raises:
            RecordError: this event can never be judged; it becomes a dead letter.
            LaneClosed: the claim was lost before a request could be started.
        """
        if route.deadline_seconds is None:
            return self._judge.judge(event, route, claim)
        return self._in_time(event, route, claim, route.deadline_seconds)

    async def _in_time(self, event: Event, route: Route, claim: Claim, deadline_seconds: float) -> Judgement:
        others = self._others
        left = deadline_seconds - self._age_seconds(claim.record)
        if left > 0:
            stake = _Timed(claim, self._clock, left)
            try:
                async with asyncio.timeout(left) as stake.timer:
                    return await self._judge.judge(event, route, stake)
            except TimeoutError:
                if not stake.expired:
                    raise
            except LaneClosed:
                if not stake.late or not claim.held:
                    raise
            finally:
                stake.timer = None
        if self._submitted(route, claim.record):
            return await self._judge.judge(event, route, claim)
        return await self._otherwise(event, route, claim, others)

    async def _otherwise(self, event: Event, route: Route, claim: Claim, others: Mapping[str, Route]) -> Judgement:
        self._late.labels(route.name, route.on_deadline).inc()
        if route.on_deadline != _REVIEW:
            other = others[route.on_deadline]
            return replace(await self._judge.judge(event, other, claim), route=other.name)
        age = self._age_seconds(claim.record)
        reason = f"route {route.name}: {age:.1f} s old before it was sent; its deadline is {route.deadline_seconds:g} s"
        return Judgement(RiskLevel.UNKNOWN, (), attempts=0, reason=reason)

    def _age_seconds(self, record: Record) -> float:
        return 0.0 if record.timestamp < 0 else max(0.0, self._clock.now() - record.timestamp / 1000)


def _others(routes: Sequence[Route]) -> Mapping[str, Route]:
    """The routes without a deadline, by name."""
    others = {route.name: route for route in routes if route.deadline_seconds is None}
    for route in routes:
        if route.deadline_seconds is not None and route.on_deadline not in {_REVIEW, *others}:
            raise ValueError(f"there is no route {route.on_deadline} without a deadline, as {route.name} needs it")
    return others


class _Timed:
    """A claim that is lost when its event is late, and stops the event's timer while something is on the wire."""

    __slots__ = ("_claim", "_clock", "_due_at", "_kept", "_on_wire", "timer")

    def __init__(self, claim: Claim, clock: Clock, left_seconds: float) -> None:
        self._claim = claim
        self._clock = clock
        self._due_at = clock.monotonic() + left_seconds
        self._on_wire = 0
        self._kept = False
        self.timer: asyncio.Timeout | None = None

    @property
    def late(self) -> bool:
        """Whether the deadline has passed, and nothing is on the wire or was kept."""
        return not self._kept and not self._on_wire and self._clock.monotonic() >= self._due_at

    @property
    def expired(self) -> bool:
        """Whether its timer has ended the event's wait."""
        return self.timer is not None and self.timer.expired()

    @property
    def record(self) -> Record:
        return self._claim.record

    @property
    def held(self) -> bool:
        return self._claim.held and not self.late

    def begin(self) -> None:
        if self.late:
            raise LaneClosed(f"{self.record} is older than its route's deadline")
        self._claim.begin()
        self._on_wire += 1
        self._set_timer()

    def end(self, *, billed: bool) -> None:
        self._on_wire -= 1
        self._kept = self._kept or billed
        self._claim.end(billed=billed)
        self._set_timer()

    def park(self) -> None:
        self._kept = True
        self._set_timer()
        self._claim.park()

    def unpark(self) -> None:
        self._claim.unpark()

    def _set_timer(self) -> None:
        """Have it run only while the event may be late. Others may hold a part in the claim after its wait is over."""
        if self.timer is None or self.timer.expired():
            return
        if self._kept or self._on_wire:
            self.timer.reschedule(None)
        else:
            left = max(0.0, self._due_at - self._clock.monotonic())
            self.timer.reschedule(asyncio.get_running_loop().time() + left)
