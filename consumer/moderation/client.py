"""One call from its turn at the gate to its judgement: quota, signature, retry, hold and bill."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from consumer.errors import ContentRefused, NoAnswer, NotSent
from consumer.moderation.accounting import Accounting
from consumer.moderation.billing import bill
from consumer.moderation.codes import NO_ANSWER, NOT_SENT, look_up
from consumer.moderation.hold import Hold
from consumer.moderation.responses import Layer, read, read_finding
from consumer.moderation.service_time import ServiceTime
from consumer.moderation.services import QUOTAS
from consumer.moderation.signing import Signer
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.engine.ports import Claim
    from consumer.metrics import Metrics
    from consumer.moderation.billing import Price
    from consumer.moderation.codes import Code
    from consumer.moderation.credentials import CredentialsSource
    from consumer.moderation.endpoints import Endpoint
    from consumer.moderation.requests import Call
    from consumer.moderation.responses import Answer, Finding
    from consumer.moderation.services import Quota
    from consumer.moderation.transport import HttpAnswer, Transport
    from consumer.settings.models import Retry
    from consumer.verdict import Billed


__all__ = ["ModerationClient", "Tokens"]


# 404 and 405: the image page says "check or retry". An image that cannot be had three times will not be had.
_IMAGE_TRIES = 3
# An answer with code 200 is paid for. One that says nothing of the risk is worth one more payment, not many.
_PAID_TRIES = 2
_LONGEST_RETRY_AFTER_SECONDS = 300.0
_COMPLAINT_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class Tokens(Protocol):
    """One of the account's limits; `consumer.quota.Bucket` is one."""

    async def acquire(self) -> float:
        """Wait for the right to send one request, and return the seconds waited. Nothing is taken when cancelled."""
        ...

    def throttled(self) -> None:
        """A request was refused for being too many."""
        ...


@dataclass(frozen=True, slots=True)
class _Tried:
    """How one request ended, and with what it was signed."""

    row: Code
    sent_at: float
    signer: Signer
    skew: float
    answer: Answer | None = None
    finding: Finding | None = None
    billed: Billed | None = None
    retry_after_seconds: float = 0.0
    detail: str = ""

    @property
    def request_id(self) -> str | None:
        return None if self.answer is None else self.answer.request_id

    @property
    def code(self) -> int | str:
        """The answer's own code, where it has one."""
        return self.row.code if self.answer is None or self.answer.code is None else self.answer.code


@dataclass(slots=True)
class _Way:
    """What one call has been through so far."""

    others_served: int
    attempts: int = 0
    counted: int = 0
    in_a_row: int = 0
    image_tries: int = 0
    paid_tries: int = 0
    billed: list[Billed] = field(default_factory=list)


class ModerationClient:
    """Sends calls and tries them again until each is judged, refused, or has to be looked at by a person.

    A failure counts against a call only if its service has served another call in the meantime: an outage is waited
    for, however long, and a content that the service fails on does not block its partition for ever. Being too fast,
    and a hold, count against nobody. Each request is signed anew.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        endpoint: Endpoint,
        credentials: CredentialsSource,
        tokens: Mapping[Quota, Tokens],
        prices: Mapping[str, Price],
        retry: Retry,
        hold_probe_seconds: float,
        clock: Clock,
        metrics: Metrics,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if missing := set(QUOTAS) - set(tokens):
            raise ValueError(f"no tokens for {', '.join(sorted(missing))}")
        self.hold = Hold(clock=clock, metrics=metrics, probe_seconds=hold_probe_seconds)
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._tokens = tokens
        self._prices = prices
        self._retry = retry
        self._clock = clock
        self._accounting = Accounting(metrics)
        self._chance = chance
        self._signers: dict[str, Signer] = {}
        self._served: Counter[str] = Counter()
        self._time = ServiceTime(clock)
        self._complained_at: dict[str, float] = {}

    async def call(self, call: Call, claim: Claim) -> Judgement:
        """Have one call judged; its level is `UNKNOWN`, with a reason, when the tries are used up.

        When cancelled it abandons its request, which may have been billed; that is counted.

        Raises:
            ContentRefused: the service will never take this content.
            LaneClosed: the claim was lost before a request could be started.
        """
        name = call.service.name
        way = _Way(self._served[name])
        while True:
            tried = await self._pass_the_gate(call, claim)
            way.attempts += 1
            if tried.billed is not None:
                way.billed.append(tried.billed)
            if tried.finding is not None and tried.finding.risk_level is not RiskLevel.UNKNOWN:
                self._served[name] += 1
                return _judgement(call, way, tried)
            at_once = await self._learn(call, way, tried)
            if way.counted >= self._retry.attempts or way.paid_tries >= min(_PAID_TRIES, self._retry.attempts):
                return _judgement(call, way, tried)
            self._accounting.retried(call.service, str(tried.row.code))
            if not at_once:
                await self._clock.sleep(self._pause_seconds(way, tried))

    async def _learn(self, call: Call, way: _Way, tried: _Tried) -> bool:
        """Take note of an answer that judged nothing; True when there is nothing to wait for but the gate.

        Raises:
            ContentRefused: it is of no use to try again.
        """
        row = tried.row
        service = call.service
        match row.outcome:
            case "refused":
                raise _refused(way, tried)
            case "retry_few":
                way.image_tries += 1
                if way.image_tries >= min(_IMAGE_TRIES, self._retry.attempts):
                    raise _refused(way, tried)
            case "judged":
                way.paid_tries += 1
            case "throttled":
                self._tokens[service.quota].throttled()
                self._accounting.throttled(service.quota)
            case "hold":
                self.hold.place(row, service.name)
                return True
            case "clock" if tried.skew == self._time.skew_seconds:
                self.hold.place(row, service.name)
                return True
            case "reload_credentials":
                if tried.signer.credentials == self._credentials.current:
                    await self._credentials.reload()
                if tried.signer.credentials == self._credentials.current:
                    self.hold.place(row, service.name)
                    return True
            case "retry":
                served = self._served[service.name]
                if served > way.others_served:
                    way.counted += 1
                way.others_served = served
                self._complain(service.name, tried)
            case _:
                pass
        way.in_a_row += 1
        return False

    async def _pass_the_gate(self, call: Call, claim: Claim) -> _Tried:
        """Wait while the service is held, take a token, and send; during a hold, as its probe."""
        name = call.service.name
        while True:
            if not self.hold.stands(name):
                await self._take_token(call.service.quota)
                if not self.hold.stands(name):
                    return await self._send(call, claim)
            async with self.hold.turn(name) as probing:
                if probing:
                    await self._take_token(call.service.quota)
                    return await self._send(call, claim)

    async def _take_token(self, quota: Quota) -> None:
        self._accounting.token(quota, await self._tokens[quota].acquire())

    async def _send(self, call: Call, claim: Claim) -> _Tried:
        service = call.service
        endpoint = service.endpoint or self._endpoint
        signer = self._signer(endpoint.host)
        skew = self._time.skew_seconds
        headers = signer.sign(
            service.operation,
            date=self._time.stamp(),
            nonce=secrets.token_hex(16),
            body=call.body,
            query=call.query,
        )
        url = f"{endpoint.url}?{call.query}" if call.query else endpoint.url
        claim.begin()
        sent_at = self._clock.monotonic()
        may_be_billed = True
        try:
            http = await self._transport.post(url, headers, call.body)
            tried = self._read(call, http, sent_at, signer, skew)
            may_be_billed = tried.row.billed != "no"
        except NotSent as error:
            tried = _Tried(NOT_SENT, sent_at, signer, skew, detail=str(error))
            may_be_billed = False
        except NoAnswer as error:
            tried = _Tried(NO_ANSWER, sent_at, signer, skew, detail=str(error))
        except asyncio.CancelledError:
            self._accounting.abandoned(service)
            raise
        finally:
            claim.end(billed=may_be_billed)
        self._accounting.called(service, tried.row, self._clock.monotonic() - sent_at)
        if tried.billed is not None:
            self._accounting.billed(tried.billed)
        self._open_gates(service.name, tried)
        return tried

    def _read(self, call: Call, http: HttpAnswer, sent_at: float, signer: Signer, skew: float) -> _Tried:
        answer = read(http.body, http.status)
        row = look_up(answer)
        if answer.layer is not Layer.UNREADABLE:
            self._time.hear(http.headers.get("date"))
        if row.outcome == "judged":
            paid = bill(call, self._prices)
            return _Tried(row, sent_at, signer, skew, answer, read_finding(answer, call), paid)
        detail = f"HTTP {http.status}"
        return _Tried(row, sent_at, signer, skew, answer, None, None, _retry_after_seconds(http.headers), detail)

    def _open_gates(self, service: str, tried: _Tried) -> None:
        """End the holds that an answer disproves: a known number as code means that the gateway let us through."""
        row = tried.row
        if isinstance(row.code, int):
            self.hold.lift(None, sent_at=tried.sent_at)
            if row.outcome not in {"hold", "retry"}:
                self.hold.lift(service, sent_at=tried.sent_at)

    def _pause_seconds(self, way: _Way, tried: _Tried) -> float:
        """Twice as long after each try, between half and all of it, and not before the service wants to be asked."""
        longest = min(self._retry.max_seconds, self._retry.base_seconds * 2.0 ** min(way.in_a_row - 1, 30))
        return max(longest * (0.5 + 0.5 * self._chance()), tried.retry_after_seconds)

    def _complain(self, service: str, tried: _Tried) -> None:
        """Log a failure, but not each of the thousands of an outage."""
        now = self._clock.monotonic()
        if now - self._complained_at.get(service, -_COMPLAINT_SECONDS) >= _COMPLAINT_SECONDS:
            self._complained_at[service] = now
            _log.warning(
                "calls fail",
                service=service,
                code=tried.code,
                meaning=tried.row.meaning,
                remedy=tried.row.remedy,
                request_id=tried.request_id,
                detail=tried.detail,
            )

    def _signer(self, host: str) -> Signer:
        signer = self._signers.get(host)
        current = self._credentials.current
        if signer is None or signer.credentials != current:
            signer = self._signers[host] = Signer(host, current)
        return signer


def _judgement(call: Call, way: _Way, tried: _Tried) -> Judgement:
    finding = tried.finding
    level = RiskLevel.UNKNOWN if finding is None else finding.risk_level
    reason = None
    if level is RiskLevel.UNKNOWN:
        why = tried.row.meaning if finding is None else "It names no risk level that is known."
        reason = f"{call.service.name}: no usable answer in {way.attempts} tries; the last was {tried.code}: {why}"
    return Judgement(
        risk_level=level,
        services=(call.service.name,),
        labels=() if finding is None else finding.labels,
        request_ids=() if tried.request_id is None else (tried.request_id,),
        attempts=way.attempts,
        billed=tuple(way.billed),
        reason=reason,
        extra={} if finding is None else finding.extra,
    )


def _refused(way: _Way, tried: _Tried) -> ContentRefused:
    return ContentRefused(
        tried.row.meaning, code=str(tried.row.code), request_id=tried.request_id, attempts=way.attempts
    )


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """How long the service wants to be left alone: the gateway's own header in milliseconds, or HTTP's in seconds."""
    for name, seconds in (("x-acs-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return min(_LONGEST_RETRY_AFTER_SECONDS, int(value[:12]) * seconds)
    return 0.0
