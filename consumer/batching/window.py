"""Windows: events of one thread gather for a while, and go on together when waiting longer would gain nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from consumer.batching.pace import Pace
from consumer.batching.thread import Planner


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from consumer.clock import Clock
    from consumer.event import Event


__all__ = ["Tokens", "Windows"]


K = TypeVar("K", bound="Hashable")
T = TypeVar("T")

# How often an old enough window looks whether a token has become free.
_LOOK_AGAIN_SECONDS = 0.05
# Events that were read together come one after the other, within a breath.
_BREATH_SECONDS = 0.005


class Tokens(Protocol):
    """A limit that can be asked whether it stands in the way; `consumer.quota.Bucket` is one."""

    def free(self) -> bool:
        """Whether a call could be sent now without waiting."""
        ...

    def near(self) -> bool:
        """Whether a call would be sent within a moment: fewer than that would leave tokens unused."""
        ...


@dataclass(slots=True, eq=False)
class _Window(Generic[T]):
    opened_at: float
    last_at: float
    planner: Planner = field(default_factory=Planner)
    items: list[T] = field(default_factory=list)
    closed: bool = False
    stirred: asyncio.Event = field(default_factory=asyncio.Event)


class Windows(Generic[K, T]):
    """Gathers items by key, and hands those of a window to `send` when it closes.

    A window closes

    - when the next event no longer fits into its call;
    - when a token is free, and no event came within the patience: three times the usual time between two events of the
      key, at most `quiet_seconds`. Where events come more rarely, the patience is a breath, and so there is no
      wait while the quota is not used up;
    - when its first event has waited for `max_age_seconds`. While no token comes near, that would gain nothing: the
      oldest window closes when its turn at the tokens comes near, and more may join until then.

    Each window is a coroutine that `own` makes a task of: it waits for the close and then runs `send`. Cancelled, it
    drops its items.
    """

    def __init__(
        self,
        *,
        own: Callable[[Coroutine[Any, Any, None]], object],
        send: Callable[[K, list[T]], Coroutine[Any, Any, None]],
        tokens: Tokens,
        max_age_seconds: float,
        quiet_seconds: float,
        clock: Clock,
    ) -> None:
        self._own = own
        self._send = send
        self._tokens = tokens
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._pace: Pace[K] = Pace(quiet_seconds)
        # Those opened first stand first.
        self._open: dict[K, _Window[T]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def join(self, key: K, event: Event, item: T) -> None:
        """Put an item into the window of its key; its event says how much room it takes.

        Raises:
            ValueError: no call takes this event whole.
        """
        window = self._open.get(key)
        if window is not None and not window.planner.add(len(window.items), event):
            self._close(key, window)
            window = None
        now = self._clock.monotonic()
        if window is None:
            window = _Window(now, now)
            if not window.planner.add(0, event):
                raise ValueError("an event that no call takes whole has to be split before it joins a window")
            self._open[key] = window
            self._own(self._run(key, window))
        window.items.append(item)
        window.last_at = now
        self._pace.came(key, now)
        if window.planner.full:
            self._close(key, window)

    async def _run(self, key: K, window: _Window[T]) -> None:
        try:
            while not window.closed and (wait := self._wait_seconds(key, window)) > 0:
                window.stirred.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await window.stirred.wait()
        finally:
            self._close(key, window)
        await self._send(key, window.items)

    def _wait_seconds(self, key: K, window: _Window[T]) -> float:
        """How long until there is something to decide; 0 where it is decided that the window closes."""
        now = self._clock.monotonic()
        old_in = window.opened_at + self._max_age_seconds - now
        if old_in <= 0:
            oldest = next(iter(self._open.values()))
            return 0 if window is oldest and self._tokens.near() else _LOOK_AGAIN_SECONDS
        quiet_in = window.last_at + max(_BREATH_SECONDS, self._pace.patience_seconds(key)) - now
        if quiet_in <= 0 and self._tokens.free():
            return 0
        return min(old_in, quiet_in if quiet_in > 0 else _LOOK_AGAIN_SECONDS)

    def _close(self, key: K, window: _Window[T]) -> None:
        window.closed = True
        window.stirred.set()
        if self._open.get(key) is window:
            del self._open[key]
            if self._open:
                # It may be the turn of the next oldest.
                next(iter(self._open.values())).stirred.set()
