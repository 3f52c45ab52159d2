"""Turns in the event loop: where plugins take long, all else in the program gets on between their calls."""

from __future__ import annotations

import asyncio
from collections import deque

from consumer.errors import NotYet
from consumer.plugins.calling import KEPT


__all__ = ["Pace"]


# Calls of plugins may take so long in one turn of the event loop. It is far below what a probe waits.
_TURN_SECONDS = 0.05
# When they took longer, the loop goes on without them for so long: what has to be done at once, such as to answer a
# probe, to begin a stop or to write what is done, is several steps, each of which takes a turn.
_PAUSE_SECONDS = 0.01


class Pace:
    """Has records give way where plugins are slow: it belongs in front of what calls them.

    Once plugins have taken too long in one turn of the event loop, who comes next waits, and goes on after a pause, in
    the order in which they came; those that are judged before those that are to be read. As long as plugins are quick,
    nobody waits.

    Attributes:
        on: Whether there are plugins at all; without any, nobody need ask.
    """

    __slots__ = ("_admitted", "_judged", "_kept_before", "_most", "_pausing", "_unread", "_watching", "on")

    def __init__(self) -> None:
        self.on = False
        self._unread: deque[asyncio.Future[None]] = deque()
        self._judged: deque[asyncio.Future[None]] = deque()
        self._admitted = False
        self._most = 1
        self._pausing = False
        self._watching = False
        self._kept_before = 0.0

    def enter(self) -> None:
        """Read a record at once, or not yet.

        Raises:
            NotYet: a turn of the event loop has to be waited for; who has waited goes on at once.
        """
        if self._admitted:
            self._admitted = False
        elif self._must_wait():
            raise NotYet("plugins have kept the event loop for too long", self._admit)

    async def judged(self) -> None:
        """Return when the policy may be asked: at once, as a rule. Who is cancelled meanwhile keeps nobody back."""
        if self._must_wait():
            await self._wait(self._judged)

    async def _admit(self) -> None:
        await self._wait(self._unread)
        # It enters before anybody else can: nothing is waited for in between.
        self._admitted = True

    def _must_wait(self) -> bool:
        if self._pausing or self._judged or self._unread:
            return True
        if not self._watching:
            self._watch()
        return self._too_long()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        if not self._watching:
            self._watch()
        await mine

    def _watch(self) -> None:
        self._watching = True
        self._kept_before = KEPT.seconds
        asyncio.get_running_loop().call_soon(self._turned)

    def _too_long(self) -> bool:
        return KEPT.seconds - self._kept_before > _TURN_SECONDS

    def _turned(self) -> None:
        """The loop has turned, or a pause is over: let go on who may; where calls turn out quick, more at each turn."""
        if not self._pausing and self._too_long():
            self._pausing, self._most = True, max(1, self._most // 2)
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._turned)
            return
        waiting = len(self._judged) + len(self._unread)
        if waiting and not self._pausing:
            self._most = min(2 * self._most, waiting)
        self._watching = self._pausing = False
        if waiting:
            self._let_go_on()
            self._watch()

    def _let_go_on(self) -> None:
        left = self._most
        while left and (queue := self._judged or self._unread):
            first = queue.popleft()
            if not first.done():
                first.set_result(None)
                left -= 1
