"""The hold: while the account is refused, calls wait at a gate, and one at a time tries whether it is over."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

import structlog

from consumer.moderation.protocol.codes import HoldReason


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.protocol.codes import Code


__all__ = ["Hold", "Standing"]


_ACCOUNT = "account"
_FAILING: HoldReason = "failing"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """One hold that stands, for people to read. `since` is in seconds since the epoch; no `service` means all."""

    reason: HoldReason
    service: str | None
    code: int | str
    meaning: str
    remedy: str
    since: float


@dataclass(slots=True)
class _Held:
    about: Standing
    began_at: float
    pause_seconds: float
    probe_at: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hold:
    """Which services, or the whole account, are held, and why. No record is lost for it: calls wait until it is over.

    Every `probe_seconds` one waiting call is sent as a probe; an answer that shows the account served again lets all
    others go on. A service may be held twice: since the account is refused, and since its calls fail. Of the latter a
    breaker says how soon to probe, and when it is over.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, probe_seconds: float) -> None:
        self._clock = clock
        self._gauge = metrics.gauge("holding")
        self._probe_seconds = probe_seconds
        self._held: dict[str, _Held] = {}
        for reason in get_args(HoldReason):
            self._gauge.labels(reason).set(0)

    @property
    def account_wide(self) -> bool:
        """Whether nothing at all can be judged."""
        return _ACCOUNT in self._held

    @property
    def any(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def reasons(self) -> tuple[HoldReason, ...]:
        """Why anything is held, each reason once; empty while nothing is."""
        return tuple(dict.fromkeys(held.about.reason for held in self._held.values()))

    def standing(self) -> tuple[Standing, ...]:
        """All holds that stand."""
        return tuple(held.about for held in self._held.values())

    def stands(self, service: str) -> bool:
        """Whether calls of this service have to wait."""
        return bool(self._held) and self._of(service) is not None

    def place(self, row: Code, service: str) -> None:
        """An answer says that nobody is served: hold what the row says, unless that is held already."""
        if row.reason is None:
            raise ValueError(f"code {row.code} holds nothing")
        scope = _ACCOUNT if row.holds == "account" else _scope(service, row.reason)
        if scope in self._held:
            return
        now = self._clock.monotonic()
        whose = None if scope == _ACCOUNT else service
        about = Standing(row.reason, whose, row.code, row.meaning, row.remedy, self._clock.now())
        self._held[scope] = _Held(about, now, self._probe_seconds, now + self._probe_seconds)
        self._gauge.labels(row.reason).set(1)
        _log.error("holding", reason=row.reason, service=whose, code=row.code, meaning=row.meaning, remedy=row.remedy)

    def lift(self, service: str | None, *, sent_at: float) -> None:
        """A request sent at this (monotonic) time was served: the service is not refused, or None for the account.

        A request from before the hold began proves nothing.
        """
        scope = _ACCOUNT if service is None else _scope(service)
        held = self._held.get(scope)
        if held is not None and sent_at >= held.began_at:
            self._end(scope, held)

    def pace(self, service: str, pause_seconds: float) -> None:
        """Of a service whose calls fail: probe after this pause, and after one as long from then on."""
        if (held := self._held.get(_scope(service, _FAILING))) is not None:
            held.pause_seconds = pause_seconds
            held.probe_at = self._clock.monotonic() + pause_seconds

    def recovered(self, service: str) -> None:
        """Its calls do not fail any more."""
        scope = _scope(service, _FAILING)
        if (held := self._held.get(scope)) is not None:
            self._end(scope, held)

    def _end(self, scope: str, held: _Held) -> None:
        del self._held[scope]
        held.over.set()
        reason = held.about.reason
        if reason not in self.reasons():
            self._gauge.labels(reason).set(0)
        _log.warning("hold is over", reason=reason, service=held.about.service)

    @asynccontextmanager
    async def turn(self, service: str) -> AsyncIterator[bool]:
        """Wait at the gate. True: go on as the probe, which ends with the context. False: the hold is over.

        When cancelled, the next in line takes the turn.
        """
        held = self._of(service)
        if held is None:
            yield False
            return
        async with held.turn:
            while not held.over.is_set() and (wait := held.probe_at - self._clock.monotonic()) > 0:
                await self._sleep(wait, held.over)
            if not held.over.is_set():
                # Whatever becomes of this probe, the next one has to wait.
                held.probe_at = self._clock.monotonic() + held.pause_seconds
            yield not held.over.is_set()

    def _of(self, service: str) -> _Held | None:
        scopes = (_ACCOUNT, _scope(service), _scope(service, _FAILING))
        return next((self._held[scope] for scope in scopes if scope in self._held), None)

    async def _sleep(self, seconds: float, unless: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(unless.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _scope(service: str, reason: HoldReason | None = None) -> str:
    return f"failing {service}" if reason == _FAILING else f"service {service}"
