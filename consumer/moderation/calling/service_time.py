"""The service's time: what requests are dated by, learned from its answers."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import structlog

from consumer.moderation.protocol.signing import timestamp


if TYPE_CHECKING:
    from consumer.clock import Clock


__all__ = ["ServiceTime"]


# Signatures are good for 15 minutes: smaller differences are the network's, and following them gains nothing.
_LEAST_SKEW_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class ServiceTime:
    """This machine's wall clock, corrected by `skew_seconds` where the `Date` of the answers is clearly another."""

    def __init__(self, clock: Clock) -> None:
        self.skew_seconds = 0.0
        self._clock = clock
        self._heard = ""
        self._second = 0
        self._stamp = timestamp(0)

    def stamp(self) -> str:
        """Now, as a request is dated."""
        second = int(self._clock.now() + self.skew_seconds)
        if second != self._second:
            self._second = second
            self._stamp = timestamp(second)
        return self._stamp

    def hear(self, date: str | None) -> None:
        """Take note of an answer's `Date`; one that cannot be read is ignored."""
        if date is None or date == self._heard:
            return
        self._heard = date
        try:
            skew = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp() - self._clock.now()
        except (ValueError, OverflowError):
            return
        if abs(skew - self.skew_seconds) > _LEAST_SKEW_SECONDS:
            self.skew_seconds = skew
            _log.warning("this machine's clock is not the service's: signing by the service's", skew_seconds=skew)
