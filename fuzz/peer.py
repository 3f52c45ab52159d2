"""A service in memory: it says to each transport what it is told to say, in pieces, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from consumer.errors import NoAnswer, NotSent
from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.calling.lean import LeanTransport
from consumer.moderation.calling.lean.addresses import Addresses
from consumer.settings.models import Timeouts
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.moderation.calling.transport import Transport


__all__ = ["KINDS", "Ending", "Said", "Script", "Verdict", "verdict"]


Ending = Literal["stay", "close", "reset"]
Kind = Literal["aiohttp", "lean"]
KINDS: tuple[Kind, ...] = ("aiohttp", "lean")
TIMEOUTS = Timeouts(connect_seconds=5, read_seconds=4, total_seconds=20)
_GRACE_SECONDS = 1.5  # aiohttp rounds its time-outs up to whole seconds
_SECOND = b"the second answer"


@dataclass(frozen=True, slots=True)
class Said:
    """One piece of an answer, and how long the service waits before it."""

    data: bytes
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """What the service says to the first request, and what it does with the connection then."""

    pieces: tuple[Said, ...]
    ending: Ending

    @property
    def raw(self) -> bytes:
        """All that is said."""
        return b"".join(piece.data for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a transport made of it: status and body, or None for no answer; and the promises that it broke."""

    answer: tuple[int, bytes] | None
    broken: tuple[str, ...] = ()
    reused: bool = False


@dataclass(eq=False)
class _Line(asyncio.Transport):
    """One connection, as the loop would give it."""

    protocol: asyncio.Protocol
    hears: Callable[[_Line, bytes], None]
    paused: bool = False
    closing: bool = False
    waiting: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def write(self, data: Any) -> None:
        if not self.closing:
            self.hears(self, bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def say(self, data: bytes) -> None:
        """Have the client read this, when it does."""
        if self.closing:
            return
        if self.paused:
            self.waiting.append(data)
        elif data:
            try:
                self.protocol.data_received(data)
            except Exception as error:  # noqa: BLE001  # as the loop does
                asyncio.get_running_loop().call_exception_handler({"exception": error})
                self._lose(error)

    def end(self, ending: Ending) -> None:
        """Close it from the service's side."""
        if self.closing:
            return
        if ending == "reset":
            self._lose(ConnectionResetError(104, "Connection reset by peer"))
        elif not self.protocol.eof_received():
            self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        while self.waiting and not self.paused:
            self.say(self.waiting.pop(0))

    def is_reading(self) -> bool:
        return not self.paused

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002  # there is nothing to be known
        return default


class _Service:
    """Answers the first request by the script, and every other one as it should be."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.said_all = asyncio.Event()
        self.lines: list[_Line] = []
        self.used: list[_Line] = []
        self._heard: dict[_Line, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    async def connect(self, factory: Callable[[], asyncio.Protocol], **_: Any) -> tuple[_Line, asyncio.Protocol]:
        """What `create_connection` does."""
        protocol = factory()
        line = _Line(protocol, self._hear)
        self.lines.append(line)
        protocol.connection_made(line)
        return line, protocol

    def _hear(self, line: _Line, data: bytes) -> None:
        heard = self._heard[line] = self._heard.get(line, b"") + data
        _, _, body = heard.partition(b"\r\n\r\n")
        if len(body) < 4:
            return
        self._heard[line] = b""
        self.used.append(line)
        if len(self.used) == 1:
            self._task = asyncio.create_task(self._play(line))
        else:
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_SECOND) + _SECOND
            asyncio.get_running_loop().call_soon(line.say, answer)

    async def _play(self, line: _Line) -> None:
        for piece in self.script.pieces:
            await asyncio.sleep(piece.after_seconds)
            line.say(piece.data)
        await asyncio.sleep(0)
        if self.script.ending != "stay":
            line.end(self.script.ending)
        self.said_all.set()


async def _connected(*_: Any, **__: Any) -> None:
    """There is no socket."""


async def _found(_: str, port: int) -> list[tuple[int, int, int, str, Any]]:
    return [(2, 1, 6, "", ("127.0.0.1", port))]


async def _another(transport: Transport) -> bytes:
    """The answer to one more request. One that is known not to have been sent is sent again, as its caller would."""
    try:
        answer = await transport.post("http://127.0.0.1:1/", {}, b"next")
    except NotSent:
        answer = await transport.post("http://127.0.0.1:1/", {}, b"next")
    return answer.body


async def _tried(kind: Kind, service: _Service) -> Verdict:
    """What becomes of two requests after each other."""
    began = asyncio.get_running_loop().time()
    script, broken, answer = service.script, list[str](), None
    lean = kind == "lean"
    async with (
        LeanTransport(TIMEOUTS, addresses=Addresses(_found)) if lean else AiohttpTransport(TIMEOUTS) as transport
    ):
        try:
            first = await transport.post("http://127.0.0.1:1/", {}, b"body")
            answer = first.status, first.body
        except NoAnswer:
            pass
        except Exception as error:  # noqa: BLE001  # that nothing else is raised is the promise
            broken.append(f"raised {type(error).__name__}: {error}")
        took = asyncio.get_running_loop().time() - began
        if took > TIMEOUTS.total_seconds + _GRACE_SECONDS:
            broken.append(f"took {took} seconds")
        # The service says all first: nobody could tell a late piece from the answer to the second request.
        if service.used:
            await service.said_all.wait()
        await asyncio.sleep(0.01)
        try:
            second = await _another(transport)
        except Exception as error:  # noqa: BLE001  # of whatever kind, the second request should have its answer
            broken.append(f"the second request raised {type(error).__name__}: {error}")
        else:
            if second != _SECOND:
                broken.append(f"the second request was answered with {second!r}")
        reused = len(service.used) > 1 and service.used[1] is service.used[0]
        # What aiohttp cannot unpack was a clean answer for all that; the lean transport takes no chances.
        if reused and (script.ending != "stay" or (lean and answer is None)):
            broken.append("a connection was used again that should not be")
    if open_lines := sum(not line.closing for line in service.lines):
        broken.append(f"{open_lines} connections were left open")
    return Verdict(answer, tuple(broken), reused)


def verdict(kind: Kind, script: Script) -> Verdict:
    """What one of the transports makes of a script, and what becomes of the request behind it."""
    complaints: list[str] = []

    async def main() -> Verdict:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
        service = _Service(script)
        with (
            mock.patch.object(loop, "create_connection", service.connect),
            mock.patch("aiohappyeyeballs.start_connection", _connected),
        ):
            try:
                async with asyncio.timeout(10 * TIMEOUTS.total_seconds):
                    return await _tried(kind, service)
            except TimeoutError:
                return Verdict(None, ("it hung",))

    found = run(main())
    return Verdict(found.answer, (*found.broken, *complaints), found.reused)
