"""One connection to the service: a request at a time, its answer, and what it says of a request without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from consumer.errors import NoAnswer
from consumer.moderation.calling.lean.reading import Reading


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.moderation.calling.lean.rounds import Rounds
    from consumer.moderation.calling.transport import HttpAnswer


__all__ = ["Connection"]


_SLICE_BYTES = 65_536
# Most answers come in one piece: few are being read at the same time, of thousands that are waited for.
_MOST_READINGS = 64


class Connection(asyncio.Protocol):
    """One connection, for the callbacks of the event loop.

    `lost` is told when the connection is gone. `readings` are those that no connection uses now, for all connections of
    a transport, and `rounds` looks at all of them in time. `usable` says whether it can carry another request: the last
    answer was whole, nothing came behind it, and neither side wants to close.
    """

    __slots__ = (
        "_answer",
        "_heard",
        "_heard_at",
        "_look_at",
        "_loop",
        "_read_seconds",
        "_reading",
        "_readings",
        "_rounds",
        "_transport",
        "_until",
        "idle_since",
        "lost",
        "made_at",
        "usable",
    )

    def __init__(
        self, lost: Callable[[Connection], None], readings: list[Reading], rounds: Rounds, *, read_seconds: float
    ) -> None:
        self.lost = lost
        self.usable = False
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self.made_at = self._loop.time()
        self._read_seconds = read_seconds
        self._readings = readings
        self._rounds = rounds
        self._reading: Reading | None = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._look_at: float | None = None
        self._until = self._heard_at = 0.0
        self._heard = False

    def send(self, request: bytes, *, until: float) -> asyncio.Future[HttpAnswer]:
        """Write a request, whose answer has to be there at this moment of the loop's clock.

        The future ends with `NoAnswer` where no whole answer comes. Who stops waiting for it has to `give_up`.
        """
        if self._transport is None or self._answer is not None:
            raise RuntimeError("this connection is gone, or carries a request")
        self.usable = False
        self._heard = False
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
        """Have it looked at in time. A look that is due earlier is kept: it finds out when to look again."""
        due = min(self._until, self._heard_at + self._read_seconds)
        if self._look_at is not None:
            if self._look_at <= due + self._rounds.late_seconds:
                return
            self._rounds.leave(self, self._look_at)
        self._look_at = self._rounds.join(self, due)

    def look(self) -> None:
        """End the wait for an answer whose time is up."""
        self._look_at = None
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
        reading = self._reading
        if reading is None:
            reading = self._reading = self._readings.pop() if self._readings else Reading()
        reading.feed(data)
        if reading.whole:
            self._finish(reading)
        elif reading.wrong:
            self._fail(reading.wrong)

    def eof_received(self) -> None:
        """The service has said all it will say."""
        self.usable = False
        if self._answer is None:
            return
        if self._reading is not None and self._reading.open_end:
            self._finish(self._reading)
        else:
            self._fail("the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.usable = False
        self._transport = None
        if self._look_at is not None:
            self._rounds.leave(self, self._look_at)
            self._look_at = None
        if self._answer is not None:
            said = f"{type(exc).__name__}: {exc}" if isinstance(exc, OSError) else "the connection was closed"
            self._fail(said)
        self._drop_reading()
        self.lost(self)

    # How it ends

    def _finish(self, reading: Reading) -> None:
        answer, self._answer = self._answer, None
        if answer is None or self._transport is None:
            return
        if reading.wrong or self._transport.get_write_buffer_size():
            # Something came behind it, or it was answered before it was read: the rest would be written to be thrown
            # away, if it is read at all.
            self.abort()
        elif reading.again and not self._transport.is_closing():
            self.usable = True
        else:
            self.close()
        if not answer.done():
            try:
                answer.set_result(reading.answer())
            except NoAnswer as error:
                answer.set_exception(error)
        if self.usable and len(self._readings) < _MOST_READINGS:
            self._reading = None
            reading.begin()
            self._readings.append(reading)
        else:
            self._drop_reading()

    def _drop_reading(self) -> None:
        if self._reading is not None:
            self._reading.drop()
            self._reading = None

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            seen = "within an answer" if self._heard else "before any of an answer"
            answer.set_exception(NoAnswer(f"{why}, {seen}", begun=self._heard))
