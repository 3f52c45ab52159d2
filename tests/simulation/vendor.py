"""The moderation service in memory: seeded latency, a strict quota, faults, tasks, and a ledger of what was billed."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from consumer.errors import NoAnswer
from tests.simulation.loop import PROCESS


if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable

    from tests.simulation.loop import Process
    from tests.simulation.network import Network


__all__ = ["CALL_TIMEOUT_SECONDS", "Answered", "Charge", "Mishap", "Vendor"]


Mishap = Literal["error", "reset", "hang", "throttle"]
"""What goes wrong with a call: an error before it is billed, a reset after, no answer, a refusal for the quota."""

Answered = Literal["judged", "refused", "error", "throttled"]
"""What a call's answer says."""

CALL_TIMEOUT_SECONDS = 1.5
_WAY_SECONDS = 0.005
_QUOTA_SECONDS = 1.0


@dataclass(slots=True)
class Charge:
    """One billed call: for which event, by whom and when. `lost` is set where the vendor's own fault ate the answer."""

    event: str
    client: str
    at: float
    lost: bool = False


class _Caller:
    """Who waits for an answer; a dead process hears nothing."""

    __slots__ = ("future", "process")

    def __init__(self, future: asyncio.Future[Any], process: Process | None) -> None:
        self.future = future
        self.process = process

    @property
    def _listens(self) -> bool:
        return not self.future.done() and (self.process is None or self.process.alive)

    def answer(self, answer: object) -> None:
        if self._listens:
            self.future.set_result(answer)

    def fail(self) -> None:
        if self._listens:
            self.future.set_exception(NoAnswer("the connection broke"))
            self.future.exception()  # whoever waited may be gone; then nobody needs to hear of it


@dataclass(slots=True)
class _Task:
    event: str
    done_at: float


@dataclass(slots=True)
class Vendor:
    """Judges calls. `limit` is the most that it takes in any second; what is more is refused, and an overrun.

    `mishaps` are what goes wrong with a share `trouble` of the calls.
    """

    network: Network
    chance: random.Random
    limit: int
    jitter_seconds: float = 0.03
    latency_seconds: tuple[float, float] = (0.02, 0.3)
    task_seconds: tuple[float, float] = (0.5, 3.0)
    trouble: float = 0.0
    mishaps: tuple[Mishap, ...] = ()
    ledger: list[Charge] = field(default_factory=list)
    submitted: list[Charge] = field(default_factory=list)
    overruns: list[tuple[float, str]] = field(default_factory=list)
    told: Callable[[str, str, str], None] = lambda *_: None
    _windows: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _tasks: dict[str, _Task] = field(default_factory=dict)

    def call(self, client: str, event: str) -> asyncio.Future[Answered]:
        """Have one event judged. The future fails with NoAnswer when no answer comes in time."""
        return self._send(self._judge, client, event)

    def submit(self, client: str, event: str) -> asyncio.Future[str]:
        """Have one event judged by a task; the future brings the task's id, or the words "error" and "throttled"."""
        return self._send(self._submit, client, event)

    def query(self, client: str, task_id: str) -> asyncio.Future[bool]:
        """Ask for a task's result: whether it is there."""
        self.told(client, "query", task_id)
        return self._send(self._look, client, task_id)

    def _send(self, serve: Callable[[_Caller, str, str], None], client: str, what: str) -> asyncio.Future[Any]:
        to = _Caller(self.network.loop.create_future(), PROCESS.get())
        seconds = _WAY_SECONDS + self.jitter_seconds * self.chance.random()
        self.network.loop.call_later(seconds, serve, to, client, what, context=self.network.world)
        return to.future

    # When a request arrives

    def _judge(self, to: _Caller, client: str, event: str) -> None:
        mishap = self._mishap("call")
        if mishap == "throttle":
            self._answer(to, "throttled", 0.0)
        elif mishap == "error":
            self._answer(to, "error", self._latency())
        elif event.startswith("refused"):
            self._answer(to, "refused", self._latency())
        else:
            charge = Charge(event, client, self.network.loop.time())
            self.ledger.append(charge)
            self.told(client, "billed", event)
            self._finish(to, mishap, charge, "judged")

    def _submit(self, to: _Caller, client: str, event: str) -> None:
        mishap = self._mishap("submit")
        if mishap in ("throttle", "error"):
            self._answer(to, "throttled" if mishap == "throttle" else "error", 0.0)
            return
        charge = Charge(event, client, self.network.loop.time())
        self.submitted.append(charge)
        task_id = f"t{len(self.submitted)}"
        done_at = charge.at + self.chance.uniform(*self.task_seconds)
        self._tasks[task_id] = _Task(event, done_at)
        self.told(client, "submitted", f"{event} as {task_id}")
        self._finish(to, mishap, charge, task_id)

    def _look(self, to: _Caller, client: str, task_id: str) -> None:
        self._count("query")
        self._answer(to, self._tasks[task_id].done_at <= self.network.loop.time(), 0.01)

    def _mishap(self, quota: str) -> Mishap | None:
        """What goes wrong with the request that arrives now."""
        if not self._count(quota):
            return "throttle"
        if self.mishaps and self.chance.random() < self.trouble:
            return self.chance.choice(self.mishaps)
        return None

    def _count(self, quota: str) -> bool:
        """Whether the quota has room for a request that arrives now."""
        now = self.network.loop.time()
        window = self._windows[quota]
        while window and window[0] <= now - _QUOTA_SECONDS:
            window.popleft()
        if len(window) >= self.limit:
            self.overruns.append((now, quota))
            self.told("vendor", "overrun", quota)
            return False
        window.append(now)
        return True

    # When it is answered

    def _finish(self, to: _Caller, mishap: Mishap | None, charge: Charge, answer: str) -> None:
        charge.lost = mishap in ("hang", "reset")
        if charge.lost:
            self.told("vendor", f"answer lost ({mishap})", charge.event)
            seconds = CALL_TIMEOUT_SECONDS if mishap == "hang" else self._latency()
            self.network.loop.call_later(seconds, to.fail, context=self.network.world)
        else:
            self._answer(to, answer, self._latency())

    def _latency(self) -> float:
        return self.chance.uniform(*self.latency_seconds)

    def _answer(self, to: _Caller, answer: object, seconds: float) -> None:
        self.network.loop.call_later(seconds + _WAY_SECONDS, to.answer, answer, context=self.network.world)
