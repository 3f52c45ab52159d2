"""The callback port: takes in what the service reports of tasks, and refuses what is not its own."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self
from urllib.parse import unquote_to_bytes

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from consumer.listening import listening
from consumer.moderation.tasks.content import task_in
from consumer.moderation.tasks.seeds import is_authentic, place_in, seed


if TYPE_CHECKING:
    from types import TracebackType

    from consumer.metrics import Metrics
    from consumer.moderation.tasks.board import Delivery
    from consumer.moderation.tasks.task import Place


__all__ = ["CallbackServer", "Receiver"]


Outcome = Literal["malformed", "too_large", "forged"]

# An honest sender needs a fraction of a second; connections that stay half open would pile up.
_READ_SECONDS = 10.0
# When an authentic callback may come again that is of no task known here and could not be passed on.
_RETRY_AFTER_SECONDS = 10
_LONGEST_TASK_ID = 128
_STATUS: dict[Outcome | Delivery, int] = {
    "accepted": 200,
    "repeated": 200,
    "finished": 200,
    "no_result": 200,
    "forwarded": 200,
    "unknown": 503,
    "malformed": 400,
    "forged": 403,
    "too_large": 413,
}


def _quotes_nothing(record: logging.LogRecord) -> bool:
    """Whether a log record is free of what was sent: the HTTP parser's complaints quote the bytes around a fault."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_http_log = logging.getLogger(__name__)
_http_log.addFilter(_quotes_nothing)


class Receiver(Protocol):
    """Who gets the callbacks that were verified; `consumer.moderation.tasks.board.TaskBoard` is one."""

    async def deliver(self, task_id: str, content: bytes, place: Place) -> Delivery:
        """Take in what the service says of a task, at the address of the event at `place`, or record it for who can."""
        ...


class _Malformed(Exception):
    """The body is not the form that the page on callbacks describes."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The three parameters of a callback, form-decoded and not parsed."""

    task_id: str
    checksum: bytes
    content: bytes


class CallbackServer:
    """Serves the callback port while its context is entered.

    It needs no state to tell an authentic callback: the seed follows from the path it came to. So every process of a
    group serves it, also one that stands by or holds. Neither logs nor answers repeat anything of a request.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        account_id: str,
        secret: str,
        max_body_bytes: int,
        receiver: Receiver,
        metrics: Metrics,
    ) -> None:
        self._host = host
        self._asked_port = port
        self._account_id = account_id
        self._secret = secret.encode()
        self._max_body_bytes = max_body_bytes
        self._receiver = receiver
        self._counter = metrics.counter("callbacks")
        self._stack = AsyncExitStack()
        self.port = port

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=self._max_body_bytes)
        app.router.add_route("*", "/{path:.*}", self._serve)
        # Compressed bodies are none of the service's, and one of them may be anything once it is unpacked.
        runner = web.AppRunner(app, access_log=None, logger=_http_log, shutdown_timeout=1.0, auto_decompress=False)
        port = listening(runner, self._host, self._asked_port, name="callback", setting="callbacks.port")
        self.port = await self._stack.enter_async_context(port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _serve(self, request: web.Request) -> web.Response:
        place = place_in(request.rel_url.raw_path)
        if place is None:
            return web.Response(status=404, text="no callback address\n")
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"}, text="callbacks are posted\n")
        outcome = await self._outcome(request, place)
        self._counter.labels(outcome).inc()
        headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if outcome == "unknown" else None
        return web.Response(status=_STATUS[outcome], headers=headers, text=f"{outcome}\n")

    async def _outcome(self, request: web.Request, place: Place) -> Outcome | Delivery:
        if (request.content_length or 0) > self._max_body_bytes:
            return "too_large"
        try:
            async with asyncio.timeout(_READ_SECONDS):
                form = _form(await request.read())
        except web.HTTPRequestEntityTooLarge:
            return "too_large"
        except (_Malformed, ConnectionError, TimeoutError):
            return "malformed"
        own_seed = seed(self._secret, place)
        if not is_authentic(form.checksum, account_id=self._account_id, seed=own_seed, content=form.content):
            return "forged"
        # The checksum does not cover the form's own id: content that was sent for one task proves nothing of another.
        if task_in(form.content) not in {None, form.task_id}:
            return "forged"
        return await self._receiver.deliver(form.task_id, form.content, place)


def _form(body: bytes) -> _Form:
    """Read `ReqId`, `Checksum` and `Content`, in any letter case and order, as bytes: the checksum is over bytes.

    Raises:
        _Malformed: one of them is missing or there twice, or the task's id is none.
    """
    found: dict[bytes, bytes] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        name = _decoded(name).lower()
        if name in {b"reqid", b"checksum", b"content"}:
            if name in found:
                raise _Malformed
            found[name] = _decoded(value)
    try:
        task_id = found[b"reqid"].decode().strip()
        form = _Form(task_id, found[b"checksum"].strip(), found[b"content"])
    except (KeyError, UnicodeDecodeError):
        raise _Malformed from None
    if not 0 < len(task_id) <= _LONGEST_TASK_ID:
        raise _Malformed
    return form


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))
