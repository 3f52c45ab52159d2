"""A bucket of whole tokens and a log of send times: no second, wherever it starts, holds more sends than its limit."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from consumer.quota.fair import FairQueue
from consumer.quota.wire import expect


if TYPE_CHECKING:
    from consumer.clock import Clock


__all__ = ["Bucket"]


# The service counts calls in a second of its own: two sends 1 s + jitter apart can never meet in one of them.
_WINDOW_SECONDS = 1.0
# Sends are spread a little tighter than the limit itself, so that the pace never costs throughput.
_PACE = 0.9
# How far behind its pace a late event loop may be and still catch up.
_CATCH_UP_SECONDS = 0.1
_SHRINK = 0.7
# Calls that were on the wire together are refused together: that is one lesson, not many.
_ONE_LESSON_SECONDS = 1.0
_RECOVERY_SECONDS = 60.0
# Those who wait for so long at most use every token, however seldom the others behind them look.
_NEAR_SECONDS = 0.1
_NEVER = float("-inf")


class Bucket:
    """At most `limit` sends in any 1 s + `jitter_seconds`.

    Flows that compete get their parts of them by weight, and none more than a token too few; within a flow it is first
    come, first served. Who finds a token free takes it, whatever its weight.

    While work waits, `limit / (1 + jitter_seconds)` calls a second are sent: no sender that must never be refused can
    do more, since the network may bunch up all sends of such a window into one second of the service. Refusals shrink
    the limit at once by 30 % and it grows back within a minute.

    A token counts from when it was taken, or from when its request was written if that is later: what a busy loop or a
    new connection keeps back on its way to the wire meets no other call there.

    Where several processes share a limit, each is handed out its part of the tokens with `hand_out`. A part that grows
    does so `window_seconds` later, since who had those tokens may just have used them.
    """

    def __init__(self, limit: int, *, jitter_seconds: float, clock: Clock) -> None:
        if limit < 1:
            raise ValueError(f"a bucket needs at least one token, got {limit}")
        self.limit = limit
        """Calls a second that this process may send where no call was refused."""
        self.window_seconds = _WINDOW_SECONDS + jitter_seconds
        """Sends that lie so far apart can never be counted into the same second by the service."""
        self._clock = clock
        # Who waits sleeps until its event is set. It is set for one of them at a time: that one waits for the token.
        self._queue: FairQueue[asyncio.Event] = FairQueue()
        self._sent: deque[float] = deque(maxlen=limit)
        self._paced_at = _NEVER
        self._share = 1.0
        self._shrunk_at = _NEVER
        self._any = asyncio.Event()
        self._any.set()

    @property
    def limit_now(self) -> int:
        """Calls a second that are allowed now: the limit, or less for a while after a refusal."""
        if self._share == 1.0 or not self.limit:
            return self.limit
        age = self._clock.monotonic() - self._shrunk_at
        # The share was made from whole tokens: a little more than nothing is added for what division lost of them.
        return min(self.limit, max(1, int(self.limit * (self._share + age * (1 - _SHRINK) / _RECOVERY_SECONDS) + 1e-9)))

    @property
    def used_now(self) -> int:
        """How many were sent within the last window."""
        since = self._clock.monotonic() - self.window_seconds
        return sum(1 for sent_at in self._sent if sent_at > since)

    @property
    def waiting(self) -> int:
        """How many wait for a token."""
        return len(self._queue)

    @property
    def rate_now(self) -> float:
        """Calls a second that can be sent for long."""
        return self.limit_now / self.window_seconds

    def hand_out(self, limit: int) -> None:
        """Use so many tokens from now on; with none, whoever asks for one waits. What was sent before counts on.

        Tokens that come to those we had count as used just now. A share that was lost to refusals stays lost until it
        has grown back.
        """
        if limit < 0:
            raise ValueError(f"tokens cannot be fewer than none, got {limit}")
        if limit > (self._sent.maxlen or 0):
            self._sent = deque(self._sent, maxlen=limit)
        self._sent.extend([self._clock.monotonic()] * (limit - self.limit))
        self.limit = limit
        # Who sleeps looks again when it wakes; who waits because there is no token at all has to be told.
        if limit:
            self._any.set()
        else:
            self._any.clear()

    def free(self) -> bool:
        """Whether a token could be taken now without waiting."""
        return not self._queue and self._due() <= self._clock.monotonic()

    def near(self) -> bool:
        """Whether whoever asks now has a token within a moment; were nobody let in to wait, tokens would lapse."""
        return len(self._queue) <= max(1.0, _NEAR_SECONDS * self.limit_now)

    async def acquire(self, flow: str = "", weight: int = 1) -> float:
        """Take one token, waiting for it if need be; the send must follow at once. Returns the seconds waited.

        While others wait, this one's flow gets its part by `weight`. When cancelled while waiting, no token is taken,
        it costs its flow nothing, and the next in line goes on.

        Raises:
            ValueError: it would have to wait, and the weight is less than one.
        """
        asked_at = now = self._clock.monotonic()
        queue = self._queue
        if not queue and self._due() <= now:
            self._take(now)
            return 0.0
        turn = asyncio.Event()
        if not queue:
            turn.set()
        queue.push(turn, flow, weight)
        try:
            now = await self._comes(turn)
        except BaseException:
            queue.remove(turn, flow)
            raise
        else:
            queue.pop()
            self._take(now)
        finally:
            if turn.is_set() and queue:
                queue.first().set()
        return now - asked_at

    async def _comes(self, turn: asyncio.Event) -> float:
        """Return when there is a token and it is this one's turn; the time of it."""
        while True:
            await turn.wait()
            wait = self._due() - (now := self._clock.monotonic())
            if wait > 0:
                if self.limit:
                    await self._clock.sleep(wait)
                else:
                    await self._any.wait()
            elif (first := self._queue.first()) is turn:
                return now
            else:
                # One that came later goes before this one. It takes the token at the time at which it sends.
                turn.clear()
                first.set()

    def throttled(self) -> None:
        """The service refused a call for the quota: allow fewer from now on."""
        now = self._clock.monotonic()
        if now - self._shrunk_at < _ONE_LESSON_SECONDS or not self.limit:
            return
        self._share = max(1, int(self.limit_now * _SHRINK)) / self.limit
        self._shrunk_at = now

    def _take(self, now: float) -> None:
        sent = self._sent
        # What is older than the window keeps nobody waiting: the log grows with the pace, and not to the limit.
        while sent and sent[0] + self.window_seconds <= now:
            sent.popleft()
        sent.append(now)
        self._paced_at = max(self._paced_at + _PACE * self.window_seconds / self.limit_now, now - _CATCH_UP_SECONDS)
        expect(partial(self._left, now))

    def _left(self, taken_at: float) -> None:
        """The request with the token of this time has left only now: a busy loop or a new connection kept it back."""
        sent = self._sent
        later: list[float] = []
        while sent and sent[-1] > taken_at:
            later.append(sent.pop())
        if sent and sent[-1] == taken_at:
            sent.pop()
        sent.extend(reversed(later))
        sent.append(self._clock.monotonic())

    def _due(self) -> float:
        limit = self.limit_now
        if not limit:
            return float("inf")
        paced = self._paced_at + _PACE * self.window_seconds / limit
        if len(self._sent) < limit:
            return paced
        return max(paced, self._sent[-limit] + self.window_seconds)
