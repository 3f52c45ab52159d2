"""Judges short texts several in one billed call, where that was measured to miss no risk and nothing is lost by it."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from consumer.batching.long_text import length
from consumer.batching.pace import Pace
from consumer.batching.packed import Room, longest_packed
from consumer.errors import LaneClosed
from consumer.moderation.packed_group import Group, Member
from consumer.moderation.packed_savings import Balance
from consumer.moderation.savings import Savings
from consumer.moderation.shadow import MemoryEvidence, Shadow
from consumer.routing import ANY
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Quota
    from consumer.moderation.shadow import Evidence
    from consumer.routing import Route
    from consumer.settings.saving import Packed as Settings
    from consumer.verdict import Judgement


__all__ = ["Free", "Packed"]


# Where texts come often, the next one is waited for so many times as long as an event of a thread is: a call that goes
# too early costs as much as a full one.
_MORE_PATIENT = 3
# How often a text that nothing is gained by waiting for looks whether a token has become free.
_LOOK_AGAIN_SECONDS = 0.01


class Free(Protocol):
    """A limit that can be asked whether it stands in the way; `consumer.quota.Bucket` is one."""

    def free(self) -> bool:
        """Whether a call could be sent now without waiting."""
        ...


@dataclass(slots=True, eq=False)
class _Window:
    """Texts that gather for one call."""

    group: Group
    room: Room
    opened_at: float
    last_at: float
    closed: bool = False
    stirred: asyncio.Event = field(default_factory=asyncio.Event)


class Packed:
    """A caller that asks about several texts at once. Use it as a context manager: calls belong to it.

    What is packed are short texts of `services`, each a whole text of its event, of one route. They gather for at most
    `max_age_seconds`, and for no time at all where no other text is to be expected so soon. A clean answer clears all
    of a call; any other has parts of it asked about, until each text that was not cleared has a verdict of its own.

    Nothing is packed before a sample has shown that packed calls find the risk that single ones find, and no longer
    than it shows that; see `Shadow`. Until then, and for all other calls, this adds nothing to the inner caller.

    A call is never given up while any of its events waits: one that is cancelled, or whose partition is taken away,
    leaves it if it has not been sent, and is ignored if it has.
    """

    def __init__(
        self,
        inner: Caller,
        settings: Settings,
        services: Collection[str],
        *,
        tokens: Mapping[Quota, Free],
        clock: Clock,
        metrics: Metrics,
        evidence: Evidence | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._services = frozenset(services)
        self._tokens = tokens
        self._clock = clock
        self._max_age_seconds = settings.max_age_seconds
        self._wait_seconds = metrics.histogram("packed_wait_seconds")
        self._texts = metrics.counter("packed_texts")
        self._calls = metrics.counter("packed_calls")
        self._savings = Savings(metrics)
        self._balance = Balance()
        self._pace: Pace[tuple[str, str]] = Pace(settings.max_age_seconds)
        self._open: dict[tuple[str, str], _Window] = {}
        self._members: set[Member] = set()
        self._group: asyncio.TaskGroup | None = None
        self._stopped = False
        self._owned: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._shadow = Shadow(
            inner,
            settings,
            self._services,
            own=self._own,
            evidence=evidence or MemoryEvidence(),
            clock=clock,
            metrics=metrics,
            chance=chance,
        )

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._shadow.close()
        for task in tuple(self._owned):
            task.cancel()
        for member in self._members:
            member.fail(LaneClosed("the judge was stopped"))
        self._group, self._stopped = None, True
        return await self._stack.__aexit__(kind, error, trace)

    async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
        """Have one call judged; see `consumer.moderation.caller.Caller`."""
        service = call.service.name
        if service not in self._services or not self._fits(call):
            return await self._inner.call(call, claim, route=route)
        picked = self._shadow.picks(service)
        size = self._shadow.size(service)
        if self._shadow.packs(service) and size > 1 and not picked:
            return await self._packed(call, claim, route, size)
        judged = await self._inner.call(call, claim, route=route)
        if judged.risk_level is not RiskLevel.UNKNOWN:
            self._shadow.saw(service, 1, judged.risk_level is not RiskLevel.NONE)
            if picked:
                self._shadow.add(call, route, judged)
        return judged

    def status(self) -> dict[str, Any]:
        """What was measured of each service, and whether its texts are packed."""
        return self._shadow.status()

    def _fits(self, call: Call) -> bool:
        return call.offset == 0 and 0 < length(call.content) <= longest_packed(call.service.max_characters)

    async def _packed(self, call: Call, claim: Stake, route: Route, size: int) -> Judgement:
        member = Member(call, claim, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        group = self._join(member, route, size)
        self._members.add(member)
        try:
            return await member.outcome
        finally:
            self._members.discard(member)
            if member.outcome.cancelled():
                group.end_if_left()

    # Gathering

    def _join(self, member: Member, route: Route, size: int) -> Group:
        service, now = member.call.service, member.came_at
        key = (service.name, route.name)
        window = self._open.get(key)
        if window is not None and not window.room.take(member.call.content):
            self._close(key, window)
            window = None
        self._pace.came(key, now)
        if window is None:
            window = _Window(Group(self._inner, route), Room(service.max_characters, size), now, now)
            window.room.take(member.call.content)
            self._own(self._run(key, window, self._tokens[service.quota]))
            self._open[key] = window
        window.group.members.append(member)
        window.last_at = now
        if window.room.full:
            self._close(key, window)
        return window.group

    async def _run(self, key: tuple[str, str], window: _Window, tokens: Free) -> None:
        """Wait until the window closes, then have its texts judged."""
        try:
            while not window.closed and (wait := self._wait(key, window, tokens)) > 0:
                window.stirred.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await window.stirred.wait()
        finally:
            self._close(key, window)
        await self._judge(key[0], window.group)

    def _wait(self, key: tuple[str, str], window: _Window, tokens: Free) -> float:
        """How many seconds until there is something to decide; 0 where it is decided that the window closes."""
        now = self._clock.monotonic()
        old_in = window.opened_at + self._max_age_seconds - now
        quiet_in = window.last_at + _MORE_PATIENT * self._pace.patience_seconds(key) - now
        if old_in <= 0 or (quiet_in <= 0 and tokens.free()):
            return 0.0
        return min(old_in, quiet_in if quiet_in > 0 else _LOOK_AGAIN_SECONDS)

    def _close(self, key: tuple[str, str], window: _Window) -> None:
        window.closed = True
        window.stirred.set()
        if self._open.get(key) is window:
            del self._open[key]

    # Judging, owned by this

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            if self._stopped:
                raise LaneClosed("the judge was stopped")
            raise RuntimeError("packed texts need an owner of their calls: use it with `async with`")
        task = self._group.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    async def _judge(self, service: str, group: Group) -> None:
        now = self._clock.monotonic()
        for member in group.members:
            self._wait_seconds.labels(service).observe(now - member.came_at)
        try:
            risky = await group.settle()
            self._shadow.saw(service, group.judged, risky)
        finally:
            self._calls.labels(service).inc(group.calls)
            self._texts.labels(service, "cleared").inc(group.cleared)
            self._texts.labels(service, "alone").inc(group.judged - group.cleared)
            self._savings.add("packed", self._balance.saved(group.cleared, group.shared))
