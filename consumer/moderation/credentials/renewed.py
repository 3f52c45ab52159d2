"""Credentials that are fetched, and fetched anew before they expire, while the old ones stay in use."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import structlog

from consumer.errors import StartError


if TYPE_CHECKING:
    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.credentials.lease import Lease, Provider
    from consumer.moderation.protocol.signing import Credentials


__all__ = ["RenewedCredentials"]


# So long before their end the vendor's libraries take credentials for stale; of short ones, half of their life.
_BEFORE_SECONDS = 900.0
# The wall clock may be set, or the machine sleep: the time left is looked at again after so long.
_LOOK_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class RenewedCredentials:
    """Keeps the credentials of one provider fresh; `consumer.moderation.credentials.OwnedCredentials` says how.

    `current` never waits: a provider that is slow or down is tried again in the background, and what was fetched last
    stays in use, even beyond its end, since the service may see that differently.
    """

    def __init__(self, provider: Provider, *, clock: Clock, metrics: Metrics) -> None:
        self._provider = provider
        self._clock = clock
        self._expiry = metrics.gauge("credentials_expire_at_seconds")
        self._lease: Lease | None = None
        self._renew_at = math.inf
        self._tries = 0
        self._turn = asyncio.Lock()

    @property
    def current(self) -> Credentials:
        """What was fetched last.

        Raises:
            RuntimeError: nothing was, since `start` was not called.
        """
        if self._lease is None:
            raise RuntimeError("the credentials were not started")
        return self._lease.credentials

    async def start(self) -> None:
        """Fetch the first credentials; when cancelled there are none.

        Raises:
            StartError: they cannot be had.
        """
        self._take(await self._provider.fetch())

    async def run(self) -> None:
        """Renew the credentials in time, again and again, until cancelled; failures are logged and tried again."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            while (left := self._renew_at - self._clock.now()) > 0:
                await self._clock.sleep(min(left, _LOOK_SECONDS))
            await self._renew()
            if self._renew_at > self._clock.now():
                pause_seconds = _FIRST_PAUSE_SECONDS
            else:
                await self._clock.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def reload(self) -> None:
        """Fetch once, however many ask at the same time; when that fails, the credentials stay as they are."""
        await self._renew()

    async def _renew(self) -> None:
        tries = self._tries
        async with self._turn:
            if self._tries != tries:
                return  # it was done while we waited for our turn
            try:
                self._take(await self._provider.fetch())
            except StartError as error:
                left = (self._lease.expires_at if self._lease else None) or math.inf
                say = _log.warning if left > self._clock.now() else _log.error
                say("credentials not renewed", error=str(error), remedy=error.remedy, expire_at=left)
            self._tries += 1

    def _take(self, lease: Lease) -> None:
        now = self._clock.now()
        again = lease == self._lease
        self._lease = lease
        self._expiry.set(lease.expires_at or 0.0)
        if lease.expires_at is None:
            self._renew_at = math.inf
        elif again:
            self._renew_at = max(self._renew_at, now + _LOOK_SECONDS)
        else:
            margin = min(_BEFORE_SECONDS, (lease.expires_at - now) / 2)
            self._renew_at = max(lease.expires_at - margin, now + _LOOK_SECONDS)
            _log.info("credentials fetched", expire_at=lease.expires_at)
