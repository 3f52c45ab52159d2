"""One request and its answer: where it is sent, its signature, its row in the codes table, its bill and its counts."""

from __future__ import annotations

import asyncio
import secrets
from itertools import count
from typing import TYPE_CHECKING, Protocol

import structlog

from consumer.errors import NoAnswer, NotSent, Withheld
from consumer.frozen import frozen
from consumer.moderation.calling.service_time import ServiceTime
from consumer.moderation.protocol.billing import bill
from consumer.moderation.protocol.codes import NO_ANSWER, NOT_SENT, look_up
from consumer.moderation.protocol.responses import Layer, read, read_finding, task_id_of
from consumer.moderation.protocol.signing import Signer


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.clock import Clock
    from consumer.moderation.calling.accounting import Accounting
    from consumer.moderation.calling.transport import HttpAnswer, Transport
    from consumer.moderation.credentials import CredentialsSource
    from consumer.moderation.protocol.billing import Price
    from consumer.moderation.protocol.codes import Code
    from consumer.moderation.protocol.endpoints import Endpoint
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.responses import Answer, Finding
    from consumer.moderation.protocol.services import Service
    from consumer.quota import Guard
    from consumer.settings.models import OnDenied
    from consumer.verdict import Billed


__all__ = ["PAID_CODES", "Exchange", "Stake", "Tried"]


PAID_CODES = frozenset({200, 280})
"""The codes whose answers are paid for; the multimodal page adds 280, "in progress"."""

_NONCE_BYTES = 16
_FALLBACK_SECONDS = 60.0
_LONGEST_RETRY_AFTER_SECONDS = 300.0
_log = structlog.get_logger(__name__)


class Stake(Protocol):
    """What an event has in a request; `consumer.engine.ports.Claim` is one."""

    def begin(self) -> None:
        """Say that the request is about to be sent; raises LaneClosed where it may not be."""
        ...

    def end(self, *, billed: bool) -> None:
        """Say that it was answered, or never will be, and whether it can have been billed."""
        ...


@frozen
class Tried:
    """How one request ended, and with what it was signed."""

    row: Code
    sent_at: float
    signer: Signer
    skew: float
    endpoint: Endpoint
    answer: Answer | None = None
    finding: Finding | None = None
    task_id: str | None = None
    billed: tuple[Billed, ...] = ()
    retry_after_seconds: float = 0.0
    detail: str = ""

    @property
    def request_id(self) -> str | None:
        """The service's own name of the request."""
        return None if self.answer is None else self.answer.request_id

    @property
    def code(self) -> int | str:
        """The answer's own code, where it has one."""
        return self.row.code if self.answer is None or self.answer.code is None else self.answer.code

    @property
    def paid(self) -> bool:
        """Whether the answer is one of those that are paid for."""
        return self.code in PAID_CODES


class Exchange:
    """Sends single requests. While no connection to `endpoint` can be made it sends them to `fallback`.

    It goes back to the first endpoint after a minute, or when the fallback cannot be reached either.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        endpoint: Endpoint,
        fallback: Endpoint | None,
        on_denied: OnDenied,
        credentials: CredentialsSource,
        prices: Mapping[str, Price],
        accounting: Accounting,
        clock: Clock,
        guard: Guard,
    ) -> None:
        self.endpoint = endpoint
        self.fallback = fallback
        self._transport = transport
        self._on_denied = on_denied
        self._credentials = credentials
        self._prices = prices
        self._accounting = accounting
        self._clock = clock
        self._guard = guard
        self._time = ServiceTime(clock)
        self._signers: dict[str, Signer] = {}
        # A nonce is never used twice; nobody has to be unable to guess it, since the signature covers it.
        self._nonces = secrets.token_hex(_NONCE_BYTES)
        self._number = count()
        self._fallback_until = float("-inf")

    @property
    def skew_seconds(self) -> float:
        """How far the service's time is from this machine's, as far as it matters."""
        return self._time.skew_seconds

    async def send(self, call: Call, stakes: Sequence[Stake], *, endpoint: Endpoint | None = None) -> Tried | None:
        """Send one request, to `endpoint` if it is given, and say how it ended; None if it was not sent.

        Nothing is sent while the guard is shut: whoever was about to send when the process stood still learns of it
        here, before the stakes are begun, or from the transport, directly before the first byte is written.

        When cancelled it abandons the request, which may have been billed; that is counted.

        Raises:
            LaneClosed: one of the stakes may not be begun; nothing was sent, and the others are ended.
        """
        service = call.service
        place = endpoint or self._place(service)
        signer = self._signer(place.host)
        skew = self._time.skew_seconds
        headers = signer.sign(
            service.operation,
            date=self._time.stamp(),
            nonce=f"{self._nonces}{next(self._number):x}",
            body=call.body,
            query=call.query,
        )
        url = f"{place.url}?{call.query}" if call.query else place.url
        sent_at = self._clock.monotonic()
        if self._guard.shut:
            return None
        _begin(stakes)
        may_be_billed = True
        try:
            answered = self._transport.post(url, headers, call.body)
            # For as long as the answer takes, only the transport keeps what it still needs of them.
            del headers, url
            http = await answered
            tried = self._read(call, http, sent_at, signer, skew, place)
            may_be_billed = tried.row.billed != "no"
        except Withheld:
            may_be_billed = False
            return None
        except NotSent as error:
            tried = Tried(NOT_SENT, sent_at, signer, skew, place, detail=str(error))
            may_be_billed = False
            self._not_reached(place)
        except NoAnswer as error:
            tried = Tried(NO_ANSWER, sent_at, signer, skew, place, detail=str(error))
        except asyncio.CancelledError:
            self._accounting.abandoned(service)
            raise
        finally:
            for stake in stakes:
                stake.end(billed=may_be_billed)
        self._count(call, tried)
        return tried

    def _read(
        self, call: Call, http: HttpAnswer, sent_at: float, signer: Signer, skew: float, place: Endpoint
    ) -> Tried:
        """What an answer says, and what it cost. A task without an id can have cost something, or nothing."""
        service = call.service
        answer = read(http.body, http.status)
        row = look_up(answer, self._on_denied)
        if answer.layer is not Layer.UNREADABLE:
            self._time.hear(http.headers.get("date"))
        finding = task_id = None
        billed: tuple[Billed, ...] = ()
        if service.media == "multimodal":
            task_id = task_id_of(answer) if answer.code in PAID_CODES else None
            billed = bill(call, self._prices) if task_id is not None else ()
        elif row.outcome == "judged":
            finding = read_finding(answer, call)
            billed = bill(call, self._prices)
        return Tried(
            row,
            sent_at,
            signer,
            skew,
            place,
            answer,
            finding,
            task_id,
            billed,
            0.0 if row.outcome == "judged" else _retry_after_seconds(http.headers),
            f"HTTP {http.status}",
        )

    def _count(self, call: Call, tried: Tried) -> None:
        self._accounting.called(call.service, tried.row, self._clock.monotonic() - tried.sent_at)
        for one in tried.billed:
            self._accounting.billed(one)
        if tried.paid and not tried.billed and tried.row.billed != "unknown":
            self._accounting.bill_unknown(call.service)

    def _place(self, service: Service) -> Endpoint:
        if service.endpoint is not None:
            return service.endpoint
        if self.fallback is not None and self._clock.monotonic() < self._fallback_until:
            return self.fallback
        return self.endpoint

    def _not_reached(self, place: Endpoint) -> None:
        if place == self.fallback:
            self._fallback_until = float("-inf")
        elif place == self.endpoint and self.fallback is not None:
            now = self._clock.monotonic()
            if now >= self._fallback_until:
                _log.warning("falling back", unreachable=place.host, fallback=self.fallback.host)
            self._fallback_until = now + _FALLBACK_SECONDS

    def _signer(self, host: str) -> Signer:
        signer = self._signers.get(host)
        current = self._credentials.current
        if signer is None or (signer.credentials is not current and signer.credentials != current):
            signer = self._signers[host] = Signer(host, current)
        return signer


def _begin(stakes: Sequence[Stake]) -> None:
    """Begin all of them, or none."""
    begun: list[Stake] = []
    try:
        for stake in stakes:
            stake.begin()
            begun.append(stake)
    except BaseException:
        for stake in begun:
            stake.end(billed=False)
        raise


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """How long the service wants to be left alone: the gateway's own header in milliseconds, or HTTP's in seconds."""
    for name, seconds in (("x-acs-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return min(_LONGEST_RETRY_AFTER_SECONDS, int(value[:12]) * seconds)
    return 0.0
