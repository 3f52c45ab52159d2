"""Calls from their turn at the gate to their judgement, their task or their result: quota, retry, hold and bill."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from consumer.errors import BudgetSpent, CallError, ContentRefused, LaneClosed, TaskLost
from consumer.moderation.calling.accounting import Accounting
from consumer.moderation.calling.breakers import Breakers
from consumer.moderation.calling.exchange import Exchange
from consumer.moderation.calling.hold import Hold
from consumer.moderation.calling.whereabouts import Whereabouts
from consumer.moderation.protocol.answers import is_judged, level_in, member
from consumer.moderation.protocol.billing import bill
from consumer.moderation.protocol.multimodal import result_query
from consumer.moderation.protocol.services import KNOWN, QUOTAS
from consumer.quota import OpenGuard
from consumer.routing import ANY
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.calling.exchange import Stake, Tried
    from consumer.moderation.calling.purse import Payment, Purse
    from consumer.moderation.calling.transport import Transport
    from consumer.moderation.credentials import CredentialsSource
    from consumer.moderation.protocol.billing import Price
    from consumer.moderation.protocol.endpoints import Endpoint
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.protocol.services import Quota, Service
    from consumer.quota import Guard
    from consumer.routing import Route
    from consumer.settings.models import OnDenied, Retry
    from consumer.verdict import Billed


__all__ = ["ModerationClient", "Submitted", "Tokens"]


# 404 and 405: the image page says "check or retry". An image that cannot be had three times will not be had.
_IMAGE_TRIES = 3
# An answer with code 200 is paid for. One that says nothing of the risk, or names no task, is worth one more payment.
_PAID_TRIES = 2
_COMPLAINT_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class Tokens(Protocol):
    """One of the account's limits; `consumer.quota.Bucket` is one."""

    async def acquire(self, flow: str = "", weight: int = 1) -> float:
        """Wait for the right to send one request, and return the seconds waited. Nothing is taken when cancelled.

        Flows that compete get their parts by weight.
        """
        ...

    def throttled(self) -> None:
        """A request was refused for being too many."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission. Without a `task_id` the tries were used up, and `reason` says on what."""

    task_id: str | None
    request_id: str | None
    attempts: int
    billed: tuple[Billed, ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class _Way:
    """What one call has been through so far."""

    served: int
    failed: int
    attempts: int = 0
    counted: float = 0.0
    in_a_row: int = 0
    image_tries: int = 0
    paid_tries: int = 0
    billed: list[Billed] = field(default_factory=list)


class ModerationClient:
    """Sends calls and tries them again until each is judged, refused, or has to be looked at by a person.

    A failure counts against a call in so far as its service has served others in the meantime: an outage, total or not,
    is waited for, however long, and a content that the service fails on does not block its partition for ever. Being
    too fast, and a hold, count against nobody. Where most of a service's calls fail it is held. Each request is signed
    anew. While `guard` is shut nothing is sent, probes and queries included; without one, nothing can replace this
    process. `purse` says what may be spent; without one everything may.
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
        guard: Guard | None = None,
        purse: Purse | None = None,
        fallback: Endpoint | None = None,
        on_denied: OnDenied = "hold",
        services: Mapping[str, Service] = KNOWN,
        exchange: Callable[..., Exchange] = Exchange,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if missing := set(QUOTAS) - set(tokens):
            raise ValueError(f"no tokens for {', '.join(sorted(missing))}")
        self.hold = Hold(clock=clock, metrics=metrics, probe_seconds=hold_probe_seconds)
        self._credentials = credentials
        self._tokens = tokens
        self._retry = retry
        self._clock = clock
        self._guard = guard or OpenGuard()
        self._purse = purse
        self._prices = prices
        self._services = services
        self._chance = chance
        self._accounting = Accounting(metrics)
        self._exchange = exchange(
            transport,
            endpoint=endpoint,
            fallback=fallback,
            on_denied=on_denied,
            credentials=credentials,
            prices=prices,
            accounting=self._accounting,
            clock=clock,
            guard=self._guard,
        )
        self._whereabouts = Whereabouts(endpoint, fallback)
        self._breakers = Breakers(self.hold, longest_pause_seconds=hold_probe_seconds, clock=clock, metrics=metrics)
        self._served: defaultdict[str, int] = defaultdict(int)
        self._failed: defaultdict[str, int] = defaultdict(int)
        self._complained_at: dict[str, float] = {}

    async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
        """Have one call judged; its level is `UNKNOWN`, with a reason, when the tries or the budget are used up.

        When cancelled it abandons its request, which may have been billed; that is counted.

        Raises:
            ContentRefused: the service will never take this content.
            LaneClosed: the claim was lost before a request could be started.
        """
        way = self._way(call.service)
        stakes, gate = (claim,), call.service.gate
        while True:
            try:
                tried = None
                if not self.hold.stands(gate):
                    tried = await self._send(call, stakes, route, way, None, unless_held=gate)
                if tried is None:
                    tried = await self._pass_the_gate(call, stakes, route, way=way)
            except BudgetSpent as spent:
                return _unjudged(call, way, str(spent))
            if tried.finding is not None and tried.finding.risk_level is not RiskLevel.UNKNOWN:
                self._served[gate] += 1
                return _judgement(call, way, tried)
            if not await self._again(call, way, tried):
                return _judgement(call, way, tried)

    async def submit(self, call: Call, claims: Sequence[Stake], *, route: Route = ANY) -> Submitted:
        """Have one call of a multimodal service accepted as a task, for all events that have a claim in it.

        When cancelled it abandons its request, which may have been billed; that is counted.

        Raises:
            ContentRefused: the service will never take this content.
            LaneClosed: one of the claims was lost before a request could be started; what is left may be sent anew.
        """
        way = self._way(call.service)
        while True:
            try:
                tried = await self._pass_the_gate(call, claims, route, way=way)
            except BudgetSpent as spent:
                return Submitted(None, None, way.attempts, tuple(way.billed), str(spent))
            if tried.task_id is not None:
                self._served[call.service.gate] += 1
                self._whereabouts.submitted(tried.task_id, tried.endpoint)
            elif await self._again(call, way, tried):
                continue
            reason = None if tried.task_id is not None else _reason(call, way, tried, "It names no task.")
            return Submitted(tried.task_id, tried.request_id, way.attempts, tuple(way.billed), reason)

    async def query(self, service: str, task_id: str) -> Answer | None:
        """Ask once for a task's result; None while there is none.

        It waits at a gate as calls do, and costs nothing. When cancelled it abandons its request.

        Raises:
            CallError: nothing was learned of the task; it may be asked for again soon.
            TaskLost: the service does not know the task any more.
        """
        known = self._services.get(service) or replace(KNOWN["post_text_image_detection"], name=service)
        call = result_query(known, task_id)
        way = self._way(call.service)
        tried = await self._pass_the_gate(call, (), ANY, way=way, endpoint=self._whereabouts.of(task_id))
        answer = tried.answer
        if answer is not None and is_judged(answer):
            level = level_in(member(answer.data, "RiskLevel"))
            if level is RiskLevel.UNKNOWN and not self._whereabouts.empty(task_id):
                return None
            self._whereabouts.ended(task_id)
            return answer
        if tried.paid:
            self._whereabouts.running(task_id)
            return None
        if tried.row.outcome in {"lost", "refused", "retry_few"}:
            if self._whereabouts.missed(task_id, tried.endpoint):
                raise TaskLost(f"{service} does not know the task {task_id} any more: {tried.code}")
            return None
        await self._learn(call, way, tried)
        raise CallError(f"{tried.code}: {tried.row.meaning}")

    async def _again(self, call: Call, way: _Way, tried: Tried) -> bool:
        """Learn from an answer that was of no use, and wait for the next try; False when the tries are used up."""
        if tried.row.outcome == "review":
            return False
        at_once = await self._learn(call, way, tried)
        if way.counted >= self._retry.attempts or way.paid_tries >= min(_PAID_TRIES, self._retry.attempts):
            return False
        self._accounting.retried(call.service, str(tried.row.code))
        if not at_once:
            await self._clock.sleep(self._pause_seconds(way, tried))
        return True

    async def _learn(self, call: Call, way: _Way, tried: Tried) -> bool:
        """Take note of an answer that judged nothing; True when there is nothing to wait for but the gate.

        Raises:
            ContentRefused: it is of no use to try again.
        """
        row = tried.row
        service = call.service
        gate = service.gate
        match row.outcome:
            case "refused":
                raise _refused(way, tried)
            case "retry_few":
                way.image_tries += 1
                if way.image_tries >= min(_IMAGE_TRIES, self._retry.attempts):
                    raise _refused(way, tried)
            case "throttled":
                self._tokens[service.quota].throttled()
                self._accounting.throttled(service.quota)
            case "hold":
                self.hold.place(row, gate)
                return True
            case "clock" if tried.skew == self._exchange.skew_seconds:
                self.hold.place(row, gate)
                return True
            case "reload_credentials":
                if tried.signer.credentials == self._credentials.current:
                    await self._credentials.reload()
                if tried.signer.credentials == self._credentials.current:
                    self.hold.place(row, gate)
                    return True
            case "clock":
                pass  # the service's time was learned from this answer
            case _ if tried.paid:
                way.paid_tries += 1
            case _:
                self._count_failure(gate, way)
                self._complain(service.name, tried)
                if self.hold.stands(gate) and not tried.retry_after_seconds:
                    return True
        way.in_a_row += 1
        return False

    async def _pass_the_gate(
        self, call: Call, stakes: Sequence[Stake], route: Route, *, way: _Way, endpoint: Endpoint | None = None
    ) -> Tried:
        """Wait while the service is held or the budget spent, take a token, and send; during a hold, as its probe."""
        gate = call.service.gate
        while True:
            while not self.hold.stands(gate):
                if (tried := await self._send(call, stakes, route, way, endpoint, unless_held=gate)) is not None:
                    return tried
            async with self.hold.turn(gate) as probing:
                while probing:
                    if (tried := await self._send(call, stakes, route, way, endpoint)) is not None:
                        return tried

    async def _send(
        self,
        call: Call,
        stakes: Sequence[Stake],
        route: Route,
        way: _Way,
        endpoint: Endpoint | None,
        unless_held: str | None = None,
    ) -> Tried | None:
        """Send when it may be paid for and its turn comes; None where the guard or a hold came in between.

        The token is lost then, and what was set aside to pay for it is not.
        """
        payment: Payment | None = None
        if self._purse is not None and not call.service.free:
            payment = await self._purse.open(route.name, bill(call, self._prices))
        billed: Sequence[Billed] | None = ()
        try:
            quota = call.service.quota
            if self._guard.shut:
                await self._guard.opened()
            self._accounting.token(quota, await self._tokens[quota].acquire(route.name, route.weight))
            if unless_held is not None and self.hold.stands(unless_held):
                return None
            billed = None
            tried = await self._exchange.send(call, stakes, endpoint=endpoint)
            if tried is None or tried.row.billed == "no":
                billed = ()
            elif tried.billed:
                billed = tried.billed
        except LaneClosed:
            billed = ()
            raise
        finally:
            if payment is not None:
                payment.settle(billed)
        if tried is not None:
            way.attempts += 1
            way.billed += tried.billed
            self._mind_gates(call.service.gate, tried)
        return tried

    def _mind_gates(self, gate: str, tried: Tried) -> None:
        """End the holds that an answer disproves: a known number as code means that the gateway let us through.

        What became of the request may also be reason to hold its service, or to hold it no more.
        """
        row = tried.row
        if self.hold.any and isinstance(row.code, int):
            self.hold.lift(None, sent_at=tried.sent_at)
            if row.outcome not in {"hold", "retry"}:
                self.hold.lift(gate, sent_at=tried.sent_at)
        self._breakers.ended(gate, tried)

    def _way(self, service: Service) -> _Way:
        return _Way(self._served[service.gate], self._failed[service.gate])

    def _count_failure(self, gate: str, way: _Way) -> None:
        """Count a failure against the call, unless its service is held, by what became of calls since its last try.

        It counts fully where at most a tenth of them failed, itself included, half where a third did, and not at all
        where all did. So it takes bad luck of one in ten to the power of `attempts` to give up on a call for failures
        that befall all calls alike.
        """
        self._failed[gate] += 1
        served, failed = self._served[gate] - way.served, self._failed[gate] - way.failed
        way.served, way.failed = self._served[gate], self._failed[gate]
        if not self.hold.stands(gate):
            way.counted += min(1.0, math.log10((served + failed) / failed))

    def _pause_seconds(self, way: _Way, tried: Tried) -> float:
        """Twice as long after each try, between half and all of it, and not before the service wants to be asked."""
        longest = min(self._retry.max_seconds, self._retry.base_seconds * 2.0 ** min(way.in_a_row - 1, 30))
        return max(longest * (0.5 + 0.5 * self._chance()), tried.retry_after_seconds)

    def _complain(self, service: str, tried: Tried) -> None:
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


def _judgement(call: Call, way: _Way, tried: Tried) -> Judgement:
    finding = tried.finding
    level = RiskLevel.UNKNOWN if finding is None else finding.risk_level
    reason = _reason(call, way, tried, "It names no risk level that is known.") if level is RiskLevel.UNKNOWN else None
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


def _unjudged(call: Call, way: _Way, reason: str) -> Judgement:
    return Judgement(
        RiskLevel.UNKNOWN, (call.service.name,), attempts=way.attempts, billed=tuple(way.billed), reason=reason
    )


def _reason(call: Call, way: _Way, tried: Tried, if_paid: str) -> str:
    why = if_paid if tried.paid else tried.row.meaning
    return f"{call.service.name}: no usable answer in {way.attempts} tries; the last was {tried.code}: {why}"


def _refused(way: _Way, tried: Tried) -> ContentRefused:
    return ContentRefused(
        tried.row.meaning, code=str(tried.row.code), request_id=tried.request_id, attempts=way.attempts
    )
