"""The service without its sockets: a request comes in as bytes, is checked, counted, judged and billed.

The order is the real service's, as far as it can be told: action, signature, parameters present (gateway, HTTP 4xx,
`Missing<Param>`), quota, then parameters valid (business code in HTTP 200), verdict, bill. A call that the quota
refuses does not count against it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

import orjson

from consumer.simulator import services, signature
from consumer.simulator.account import Account
from consumer.simulator.dialect import spell
from consumer.simulator.faults import OF_CALLBACKS, OF_TASKS, UNBILLED, Fault, Faults
from consumer.simulator.gateway import KNOWN, Refusal
from consumer.simulator.ledger import Ledger
from consumer.simulator.operations import OPERATIONS, result
from consumer.simulator.operations.operation import Asked
from consumer.simulator.settings import QUOTAS
from consumer.simulator.stats import Stats
from consumer.simulator.window import SlidingSecond


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.clock import Clock
    from consumer.simulator.operations.operation import Answer, Operation
    from consumer.simulator.settings import SimulatorSettings
    from consumer.simulator.tasks import Task


__all__ = ["Backend", "Call", "Reply", "Request"]


_JSON = "application/json;charset=utf-8"
_VERSION = "2022-03-02"
_FORM = "application/x-www-form-urlencoded"
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_GARBAGE = b"\x1f\x8b\x08 upstream said: }{"
_SPOILS = frozenset({"reset_billed", "garbage", "truncated", "no_risk_level", "odd_risk_level", "no_task_id"})
_UNREADABLE = frozenset({"reset_billed", "garbage", "truncated"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it stood on the wire; headers by lower-case name."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in and waits for its answer."""

    request_id: str
    host: str
    operation: Operation
    parameters: Mapping[str, str]
    fault: Fault | None = None

    @property
    def service(self) -> str:
        """The service that was called, as the client named it; the operation, where it has no services."""
        return self.parameters.get("Service", self.operation.name)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a body, whole or trickling in over `seconds`, or a connection that is reset or hangs.

    `task` was submitted by the call, and is to be reported to its callback.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    way: Literal["whole", "trickle", "reset", "hang"] = "whole"
    seconds: float = 0.0
    task: Task | None = None


class Backend:
    """The account's service: its quota, its faults, its ledger."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.faults = Faults(settings.faults, settings.latency, seed=settings.seed)
        self.ledger = Ledger(keep_calls=settings.keep_calls)
        self.stats = Stats()
        self.account = Account(settings, clock)
        self._forget()

    def reset(self) -> None:
        """As it was when it started; calls under way are answered."""
        self.faults.set(self._settings.faults)
        self.faults.set_latency(self._settings.latency)
        self.faults.fired.clear()
        self.ledger.clear()
        self.stats.clear()
        self.account.clear()
        self._forget()

    def _forget(self) -> None:
        self._nonces = signature.Nonces()
        self._quotas = {
            **{name: SlidingSecond(getattr(self._settings, f"{name}_per_second")) for name in QUOTAS},
            "upload_token": SlidingSecond(None),  # no page names a limit
        }

    def receive(self, request: Request) -> Call | Reply:
        """Let a request in, or turn it away. This is the moment that counts for the quota."""
        request_id = str(uuid.uuid4()).upper()
        operation = OPERATIONS.get(request.headers.get("x-acs-action", ""))
        refusal = self._refusal(request, operation)
        if refusal is not None or operation is None:
            return self._turned_away(refusal or Refusal("InvalidAction.NotFound"), request, operation, request_id)
        parameters = _parameters(request, operation)
        for name in operation.parameters:
            if name not in parameters:
                detail = f"{name} is mandatory for this action."
                return self._turned_away(Refusal(f"Missing{name}", detail), request, operation, request_id)
        now = self._clock.monotonic()
        quota = services.quota(operation.name, parameters.get("Service", ""), operation.quota)
        admitted = self._quotas[quota].admit(now)
        self.stats.quota_asked(quota, now, admitted=admitted)
        if operation is result.OPERATION:
            self.account.tasks.asked(parameters["ReqId"], now)
        call = Call(request_id, request.headers.get("host", ""), operation, parameters)
        if not admitted:
            return self._business(call, operation.over_quota)
        return replace(call, fault=self.faults.strike(operation.name, call.service))

    def answer(self, call: Call) -> Reply:
        """Judge a call that was let in, and bill it, unless its fault says otherwise."""
        fault = call.fault
        code = int(fault.code) if fault is not None and fault.code is not None and fault.code.isdecimal() else None
        if fault is not None and fault.kind in UNBILLED and code not in call.operation.billed_codes:
            return self._unjudged(call, fault)
        answer = call.operation.handler(Asked(call.parameters, call.host, self.account))
        if code is not None and answer.code == 200:
            answer = replace(answer, code=code, message=call.operation.messages[code])
        self._book(call, answer, spoilt=fault is not None and fault.kind in _SPOILS)
        task = None if answer.task is None else self._accepted(call, answer.task)
        unreadable = fault is not None and fault.kind in _UNREADABLE
        self.stats.saw(call.operation.name, fault.kind if fault is not None and unreadable else str(answer.code))
        if fault is None:
            return Reply(body=orjson.dumps(self._body(call, answer.code, answer.message, answer.data)), task=task)
        return replace(self._spoilt(call, answer, fault), task=task)

    def report(self, task: Task) -> bytes | None:
        """What a callback says of a task, as a query would be answered now; None once it is forgotten."""
        if task.task_id not in self.account.tasks:
            return None
        call = Call(str(uuid.uuid4()).upper(), "", result.OPERATION, {})
        body = self._body(call, 200, result.OPERATION.messages[200], task.data)
        return orjson.dumps(body if self._settings.callback_envelope else body["Data"])

    def _accepted(self, call: Call, task: Task) -> Task | None:
        """The task, if it is to be reported, after what may befall it has."""
        kinds = OF_TASKS | OF_CALLBACKS if task.callback is not None else OF_TASKS
        fault = self.faults.strike(call.operation.name, call.service, kinds)
        if fault is not None:
            self.account.tasks.befall(task, fault, self._clock.monotonic())
        return task if task.callback is not None else None

    def _refusal(self, request: Request, operation: Operation | None) -> Refusal | None:
        headers = request.headers
        if request.method != "POST":
            return Refusal("UnsupportedHTTPMethod")
        if request.target.partition("?")[0] != "/":
            return Refusal("InvalidApi.NotFound")
        if operation is None:
            return Refusal("InvalidAction.NotFound")
        if headers.get("x-acs-version") != _VERSION:
            return Refusal("InvalidVersion")
        if not self._settings.verify:
            return None
        now = self._clock.now()
        refusal = signature.check(
            request.target,
            headers,
            request.body,
            access_key_id=self._settings.access_key_id,
            access_key_secret=self._settings.access_key_secret,
            security_token=self._settings.security_token,
            now=now,
        )
        # Only the nonce of a request that is truly the account's own is spent.
        if refusal is None and not self._nonces.use(headers["x-acs-signature-nonce"], now):
            return Refusal("SignatureNonceUsed")
        return refusal

    def _turned_away(self, refusal: Refusal, request: Request, operation: Operation | None, request_id: str) -> Reply:
        self.stats.saw(operation.name if operation else "unknown", refusal.code)
        host = request.headers.get("host", "")
        return Reply(status=refusal.status, body=orjson.dumps(refusal.body(host, request_id)))

    def _business(self, call: Call, code: int) -> Reply:
        self.stats.saw(call.operation.name, str(code))
        self.ledger.answered_free(call.service, str(code))
        message = call.operation.messages.get(code, "simulated")
        return Reply(body=orjson.dumps(self._body(call, code, message, None)))

    def _unjudged(self, call: Call, fault: Fault) -> Reply:
        if fault.code is not None and fault.code.isdecimal():
            return self._business(call, int(fault.code))
        if fault.code is not None:
            self.stats.saw(call.operation.name, fault.code)
            refusal = Refusal(fault.code, "" if fault.code in KNOWN else "simulated")
            after = {} if fault.retry_after_ms is None else {"x-acs-retry-after": str(fault.retry_after_ms)}
            return Reply(refusal.status, orjson.dumps(refusal.body(call.host, call.request_id)), headers=after)
        self.stats.saw(call.operation.name, fault.kind)
        if fault.kind == "http_500":
            return Reply(500, content_type="text/plain")
        if fault.kind == "http_502":
            return Reply(502, _HTML, content_type="text/html")
        return Reply(way="hang" if fault.kind == "hang" else "reset")

    def _book(self, call: Call, answer: Answer, *, spoilt: bool) -> None:
        if not answer.bills:
            self.ledger.answered_free(call.service, str(answer.code))
            return
        self.ledger.bill(call.request_id, call.service, answer.data_id, answer.bills)
        if spoilt:
            self.ledger.lost += 1

    def _spoilt(self, call: Call, answer: Answer, fault: Fault) -> Reply:
        if fault.kind == "reset_billed":
            return Reply(way="reset")
        if fault.kind == "garbage":
            return Reply(body=_GARBAGE)
        body = self._body(call, answer.code, answer.message, answer.data)
        data = body.get("Data")
        if data is not None:
            if fault.kind == "no_risk_level":
                data.pop("RiskLevel", None)
            elif fault.kind == "odd_risk_level" and "RiskLevel" in data:
                data["RiskLevel"] = "severe"
            elif fault.kind == "no_task_id":
                data.pop("ReqId", None)
                data.pop("TaskId", None)
        whole = orjson.dumps(body)
        if fault.kind == "truncated":
            return Reply(body=whole[: len(whole) // 2])
        if fault.kind == "slow":
            return Reply(body=whole, way="trickle", seconds=fault.seconds)
        return Reply(body=whole)

    def _body(self, call: Call, code: int, message: str, data: dict[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {"Code": code, call.operation.message_field: message, "RequestId": call.request_id}
        if data is not None:
            body["Data"] = dict(data)
        return spell(body, call.operation.name, self._settings.dialect)


def _parameters(request: Request, operation: Operation) -> dict[str, str]:
    """The parameters that stand where this operation has them; those elsewhere are not seen."""
    if operation.where == "query":
        return dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
    if not request.headers.get("content-type", "").startswith(_FORM):
        return {}
    return dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
