"""A client of the simulator made of nothing but the standard library, and a clock that stands still."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from consumer.simulator.backend import Backend, Call, Reply, Request
from consumer.simulator.settings import SimulatorSettings


__all__ = ["Bench", "StillClock", "form", "query", "signed"]


START = 1_767_323_045.0  # 2026-01-02T03:04:05Z
_NONCES = itertools.count()


class StillClock:
    """Time moves when a test says so; whoever sleeps moves it on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return START + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def form(service: str, **parameters: Any) -> bytes:
    """The body of a text or image call."""
    return urlencode({"Service": service, "ServiceParameters": json.dumps(parameters)}).encode()


def query(parameters: dict[str, str]) -> str:
    """A query as it is signed."""
    return "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(parameters.items()))


def signed(
    action: str,
    body: bytes,
    *,
    now: float,
    query: str = "",
    host: str = "127.0.0.1",
    key: str = "testid",
    secret: str = "testsecret",
    unsigned: tuple[str, ...] = (),
    **more: str,
) -> dict[str, str]:
    """Headers of a call, signed as the page of the V3 signature says; `query` as it is signed.

    `more` are headers to send and sign (`_` for `-`), or to replace; `unsigned` are sent and left out of the signature.
    """
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": "2022-03-02",
        "x-acs-date": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": f"nonce-{next(_NONCES)}",
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        **({"content-type": "application/x-www-form-urlencoded"} if body else {}),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    names = sorted(headers.keys() - set(unsigned))
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical = f"POST\n/\n{query}\n{lines}\n{';'.join(names)}\n{headers['x-acs-content-sha256']}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), to_sign.encode(), "sha256").hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key},SignedHeaders={';'.join(names)},Signature={signature}"
    )
    return headers


class Bench:
    """The service without its sockets, and one call at a time to it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = StillClock()
        self.backend = Backend(SimulatorSettings(**settings), self.clock)

    def send(self, request: Request) -> Reply:
        """What comes back for a request; nothing takes any time."""
        received = self.backend.receive(request)
        return self.backend.answer(received) if isinstance(received, Call) else received

    def request(self, action: str, body: bytes, **how: Any) -> Request:
        """A well-signed request."""
        return Request("POST", "/", signed(action, body, now=self.clock.now(), **how), body)

    def ask(self, action: str, service: str, **parameters: Any) -> dict[str, Any]:
        """The parsed answer to a well-signed call."""
        reply = self.send(self.request(action, form(service, **parameters)))
        answer: dict[str, Any] = json.loads(reply.body)
        return answer

    def text(self, content: Any, service: str = "ugc_moderation_byllm", **parameters: Any) -> dict[str, Any]:
        """The answer of a text service."""
        return self.ask("TextModerationPlus", service, content=content, **parameters)

    def image(self, url: Any, service: str = "baselineCheck_global", **parameters: Any) -> dict[str, Any]:
        """The answer of an image service."""
        return self.ask("ImageModeration", service, imageUrl=url, **parameters)

    def reply(self, action: str, **parameters: str) -> Reply:
        """What comes back for a well-signed call whose parameters stand in the query."""
        text = query(parameters)
        headers = signed(action, b"", now=self.clock.now(), query=text)
        return self.send(Request("POST", f"/?{text}" if text else "/", headers, b""))

    def submit(self, service: str = "post_text_image_detection", **parameters: Any) -> dict[str, Any]:
        """The answer to a submission of a multimodal task."""
        reply = self.reply("MultimodalAsyncModeration", Service=service, ServiceParameters=json.dumps(parameters))
        answer: dict[str, Any] = json.loads(reply.body)
        return answer

    def result(self, task_id: str) -> dict[str, Any]:
        """The answer to a query for the result of a task."""
        answer: dict[str, Any] = json.loads(self.reply("DescribeMultimodalModerationResult", ReqId=task_id).body)
        return answer
