"""A client on a scripted service in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson

from consumer.errors import LaneClosed
from consumer.metrics import Metrics
from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.credentials import CredentialsSource, FixedCredentials
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.services import KNOWN, QUOTAS
from consumer.moderation.protocol.signing import Credentials
from consumer.record import Partition, Record
from consumer.settings.models import OnDenied, Retry
from tests.virtual_time import LoopClock


if TYPE_CHECKING:
    from consumer.quota import Guard


__all__ = [
    "IMAGE",
    "TEXT",
    "Claim",
    "Door",
    "Reply",
    "Request",
    "Rig",
    "Service",
    "Tokens",
    "WallClock",
    "answer",
    "clean",
    "gateway",
    "text_call",
]


TEXT = KNOWN["ugc_moderation_byllm"]
IMAGE = KNOWN["baselineCheck_global"]


class Request:
    """One request as the scripted service sees it; `at` is in virtual seconds."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes, at: float) -> None:
        self.url = url
        self.headers = headers
        form = parse_qs(body.decode() or urlsplit(url).query)
        self.operation = headers["x-acs-action"]
        self.service = form.get("Service", [""])[0]
        self.parameters: dict[str, Any] = orjson.loads(form.get("ServiceParameters", ["{}"])[0])
        self.task_id = form.get("ReqId", [""])[0]
        self.at = at


Reply = HttpAnswer | Exception
Script = Sequence[Reply] | Callable[[Request], Reply | Awaitable[Reply]]


def answer(code: int | str, *, level: str | None = None, status: int = 200, **headers: str) -> HttpAnswer:
    """An answer of this code."""
    body: dict[str, Any] = {"Code": code, "RequestId": f"R-{code}"}
    if level is not None:
        body["Data"] = {"RiskLevel": level, "Result": [{"Label": "nonLabel"}]}
    return HttpAnswer(status, orjson.dumps(body), {name.replace("_", "-"): value for name, value in headers.items()})


def clean() -> HttpAnswer:
    """A clean answer."""
    return answer(200, level="none")


def gateway(code: str, status: int = 400, **headers: str) -> HttpAnswer:
    """An answer of the gateway."""
    return answer(code, status=status, **headers)


class Service:
    """Answers by a script: a list of replies, the last of which goes on for ever, or a function of the request."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Request] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        request = Request(url, headers, body, asyncio.get_running_loop().time())
        self.requests.append(request)
        await asyncio.sleep(0.05)
        if isinstance(self._script, Sequence):
            reply = self._script[min(len(self.requests), len(self._script)) - 1]
        else:
            found = self._script(request)
            reply = await found if isinstance(found, Awaitable) else found
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def times(self) -> list[float]:
        return [round(request.at, 3) for request in self.requests]


class Tokens:
    """A limit that makes everybody wait for as long, notes what it was told, and looks taken until `free_from`."""

    def __init__(self) -> None:
        self.wait_seconds = self.free_from = 0.0
        self.taken = 0
        self.refusals = 0

    async def acquire(self, flow: str = "", weight: int = 1) -> float:
        if self.wait_seconds:
            await asyncio.sleep(self.wait_seconds)
        self.taken += 1
        return self.wait_seconds

    def throttled(self) -> None:
        self.refusals += 1

    def free(self) -> bool:
        return asyncio.get_running_loop().time() >= self.free_from

    def near(self) -> bool:
        return True


class Claim:
    """A claim that is held until it is lost, and notes what was begun."""

    def __init__(self, offset: int = 0) -> None:
        self.record = Record(Partition("events", 0), offset, 0, None, b"{}")
        self.held = True
        self.begun = 0
        self.ended: list[bool] = []
        self.parked = False
        self.parkings = 0

    def begin(self) -> None:
        if not self.held:
            raise LaneClosed("the partition went to another member")
        self.begun += 1

    def end(self, *, billed: bool) -> None:
        self.ended.append(billed)

    def park(self) -> None:
        self.parked = True
        self.parkings += 1

    def unpark(self) -> None:
        self.parked = False


class Door:
    """A guard that is opened and shut by hand."""

    def __init__(self, *, shut: bool = True) -> None:
        self._open = asyncio.Event()
        if not shut:
            self.open()

    @property
    def shut(self) -> bool:
        return not self._open.is_set()

    async def opened(self) -> None:
        await self._open.wait()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()


class WallClock(LoopClock):
    """A machine whose wall clock goes wrong by so many seconds."""

    def __init__(self, wrong_by: float = 0.0) -> None:
        self.wrong_by = wrong_by

    def now(self) -> float:
        return super().now() + self.wrong_by


class Rig:
    """A client with everything around it."""

    def __init__(
        self,
        script: Script,
        *,
        retry: Retry | None = None,
        credentials: CredentialsSource | None = None,
        clock: WallClock | None = None,
        fallback: Endpoint | None = None,
        on_denied: OnDenied = "hold",
        guard: Guard | None = None,
    ) -> None:
        self.service = Service(script)
        self.metrics = Metrics()
        self.tokens = {quota: Tokens() for quota in QUOTAS}
        self.claim = Claim()
        self.client = ModerationClient(
            self.service,
            endpoint=Endpoint("http", "127.0.0.1:1"),
            credentials=credentials or FixedCredentials(Credentials("testid", "testsecret")),
            tokens=self.tokens,
            prices=LIST_PRICES,
            retry=retry or Retry(),
            hold_probe_seconds=30.0,
            clock=clock or WallClock(),
            metrics=self.metrics,
            guard=guard,
            fallback=fallback,
            on_denied=on_denied,
            chance=lambda: 1.0,
        )

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now, 0 where it has none yet."""
        return self.metrics.registry.get_sample_value(f"moderation_{name}", labels) or 0.0


def text_call(text: str = "hello") -> Call:
    """A call of the text service."""
    parameters = orjson.dumps({"content": text}).decode()
    return Call(TEXT, f"Service={TEXT.name}&ServiceParameters={parameters}".encode(), characters=len(text))
