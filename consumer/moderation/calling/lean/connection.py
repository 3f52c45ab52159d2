"""One connection to the service: a request at a time, its answer, and what it says of a request without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from consumer.errors import NoAnswer
from consumer.moderation.calling.transport import MAX_ANSWER_BYTES, HttpAnswer
from consumer.moderation.calling.unpacking import TOO_LARGE, unpacked


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Connection"]


_MAX_HEAD_BYTES = 65_536
_HEAD_TOO_LARGE = f"the head of the answer is larger than {_MAX_HEAD_BYTES} bytes"
_SLICE_BYTES = 65_536
_ENDS_WITH_THE_HEAD = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """One connection, for the callbacks of the event loop and of the parser.

    `lost` is told when the connection is gone. `usable` says whether it can carry another request: the last answer was
    whole, nothing came behind it, and neither side wants to close.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_head_bytes",
        "_headers",
        "_heard",
        "_heard_at",
        "_in_head",
        "_loop",
        "_open_end",
        "_parser",
        "_parts",
        "_read_seconds",
        "_size",
        "_timer",
        "_timer_at",
        "_transport",
        "_until",
        "_void_bytes",
        "_wrong",
        "idle_since",
        "lost",
        "made_at",
        "usable",
    )

    def __init__(self, lost: Callable[[Connection], None], *, read_seconds: float) -> None:
        self.lost = lost
        self.usable = False
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self.made_at = self._loop.time()
        self._read_seconds = read_seconds
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._until = self._heard_at = 0.0
        self._forget()

    def _forget(self) -> None:
        """Make ready for the next answer."""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._parts: bytearray | None = None
        self._size = self._head_bytes = self._void_bytes = 0
        self._in_head = True
        self._heard = self._open_end = False
        self._wrong = ""

    def send(self, request: bytes, *, until: float) -> asyncio.Future[HttpAnswer]:
        """Write a request, whose answer has to be there at this moment of the loop's clock.

        The future ends with `NoAnswer` where no whole answer comes. Who stops waiting for it has to `give_up`.
        """
        if self._transport is None or self._answer is not None:
            raise RuntimeError("this connection is gone, or carries a request")
        self.usable = False
        self._forget()
        self._heard_at = self._loop.time()
        self._until = until
        self._watch()
        answer = self._answer = self._loop.create_future()
        if len(request) <= _SLICE_BYTES:
            self._transport.write(request)
        else:
            # TLS hands all that it is given at once to the socket, and does not tell any more what of it is written.
            for at in range(0, len(request), _SLICE_BYTES):
                if self._transport.is_closing():
                    break
                self._transport.write(request[at : at + _SLICE_BYTES])
        return answer

    def ready(self) -> bool:
        """Whether it can carry another request now: the loop tells that it is gone only a moment later."""
        return self.usable and self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it in an orderly way."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once: a request that it carries ends without an answer."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """Close it at once, since nobody waits for its answer any more."""
        self._answer = None
        self.abort()

    # Time

    def _watch(self) -> None:
        """Have the loop look in time. A look that is due earlier is kept: it finds out when to look again."""
        due = min(self._until, self._heard_at + self._read_seconds)
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._answer is None:
            return
        now = self._loop.time()
        if now >= self._until:
            self._fail("the answer took too long")
        elif now >= self._heard_at + self._read_seconds:
            self._fail("silence")
        else:
            self._watch()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """A piece of an answer came."""
        if self._answer is None:
            # Nobody asked: what it is of cannot be known.
            self.close()
            return
        self._heard = True
        self._heard_at = self._loop.time()
        # The parser keeps what is not whole yet, such as a header without end, and tells nobody: so this is counted
        # until a piece of the body comes.
        self._void_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._wrong = self._wrong or "the service changed the protocol"
        except httptools.HttpParserError as error:
            # Its class alone: its text may have a piece of the answer in it.
            self._wrong = self._wrong or type(error).__name__
        if self._void_bytes > _MAX_HEAD_BYTES and self._answer is not None:
            self._wrong = self._wrong or (_HEAD_TOO_LARGE if self._in_head else "the answer goes on without a body")
        if self._wrong:
            self._fail(self._wrong)

    def eof_received(self) -> None:
        """The service has said all it will say."""
        self.usable = False
        if self._answer is None:
            return
        if self._open_end:
            self._finish(again=False)
        else:
            self._fail("the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.usable = False
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answer is not None:
            said = f"{type(exc).__name__}: {exc}" if isinstance(exc, OSError) else "the connection was closed"
            self._fail(said)
        # They refer to each other, and nobody should have to look for the circle.
        del self._parser
        self.lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; there is one for each request, but for those that only say that more will come."""
        if self._answer is None:
            self._wrong = "something came behind the answer"

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or what stands behind a body in chunks. Of those with the same name the first counts."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._wrong = _HEAD_TOO_LARGE
        elif self._in_head:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        headers = self._headers
        size = headers.get("content-length")
        if size is None:
            status = self._parser.get_status_code()
            bare = status < 200 or status in _ENDS_WITH_THE_HEAD
            self._open_end = not bare and "transfer-encoding" not in headers
        elif int(size[:20]) > MAX_ANSWER_BYTES:
            self._wrong = TOO_LARGE

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._void_bytes = 0
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self._wrong = TOO_LARGE
        elif self._parts is not None:
            self._parts += body
        elif not self._body:
            self._body = body
        else:
            self._parts = bytearray(self._body)
            self._parts += body

    def on_message_complete(self) -> None:
        """The answer is whole; 1xx only say that one will come."""
        if self._parser.get_status_code() < 200:
            self._headers = {}
            self._in_head = True
            self._open_end = False
        elif not self._wrong:
            self._finish(again=self._parser.should_keep_alive())

    # How it ends

    def _finish(self, *, again: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is None or self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            # It was answered before it was read: the rest would be written to be thrown away, if it is read at all.
            self.abort()
        elif again and not self._transport.is_closing():
            self.usable = True
        else:
            self.close()
        if answer.done():
            return
        body = self._body if self._parts is None else bytes(self._parts)
        encoding = self._headers.get("content-encoding")
        if encoding is not None:
            try:
                body = unpacked(body, encoding)
            except NoAnswer as error:
                answer.set_exception(error)
                return
        answer.set_result(HttpAnswer(self._parser.get_status_code(), body, self._headers))

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            seen = "within an answer" if self._heard else "before any of an answer"
            answer.set_exception(NoAnswer(f"{why}, {seen}", begun=self._heard))
