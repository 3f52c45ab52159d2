"""What is kept while thousands of requests wait for their answers: as little as possible, and nothing is mixed up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.moderation.calling.lean import transport as lean_transport
from consumer.moderation.calling.lean.rounds import Rounds
from tests.moderation.calling.wire import HEAD, Side, answering, host, read_request, settle, whole
from tests.virtual_time import run


if TYPE_CHECKING:
    import pytest


class _Headers(dict[str, str]):
    """Headers whose end can be seen."""


def test_a_request_is_let_go_when_it_is_written(side: Side) -> None:
    """Nothing keeps the headers of a request while its answer is waited for; aiohttp keeps them in its own request."""
    if not side.lean:
        return

    async def main() -> None:
        arrived, goes = asyncio.Event(), asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            arrived.set()
            await goes.wait()
            writer.write(whole(b"answer"))
            await reader.read()

        async with host(handler) as at, side.open() as transport:
            headers = _Headers(authorization="signed")
            kept = weakref.ref(headers)
            waiting = asyncio.create_task(transport.post(at.url, headers, b"body"))
            del headers
            await arrived.wait()
            gc.collect()
            assert kept() is None
            goes.set()
            assert (await waiting).body == b"answer"

    side.run(main())


def test_answers_that_come_in_pieces_by_turns_are_not_mixed_up(side: Side) -> None:
    """Each of several answers that come in pieces, one piece of each after the other, is whole; so are later ones."""
    count, pieces = 8, 5

    async def main() -> None:
        everybody = asyncio.Barrier(count)

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                name = (await read_request(reader)).partition(b"\r\n\r\n")[2]
                head = HEAD + b"X-Name: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % name
                size = len(head) // 2
                chunk = b"%x\r\n%s\r\n" % (len(name), name)
                for part in (head[:size], head[size:], *[chunk] * pieces, b"0\r\n\r\n"):
                    await everybody.wait()
                    writer.write(part)
                    await settle()

        async with host(handler) as at, side.open() as transport:
            for _ in range(2):
                answers = await asyncio.gather(*(transport.post(at.url, {}, b"<%d>" % one) for one in range(count)))
                assert [answer.body for answer in answers] == [b"<%d>" % one * pieces for one in range(count)]
                assert [answer.headers["x-name"] for answer in answers] == [f"<{one}>" for one in range(count)]
            assert at.connections == count

    side.run(main())


def test_only_so_many_connections_are_made_at_once(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty requests at once make no more than four connections at the same time, and all are answered."""
    if not side.lean:
        return
    making, most = 0, 0
    usual = aiohappyeyeballs.start_connection

    async def start_connection(*given: Any, **options: Any) -> Any:
        nonlocal making, most
        making += 1
        most = max(most, making)
        try:
            await asyncio.sleep(0.001)
            return await usual(*given, **options)
        finally:
            making -= 1

    monkeypatch.setattr(lean_transport, "_MADE_AT_ONCE", 4)
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start_connection)

    async def main() -> None:
        async with host(answering) as at, side.open() as transport:
            answers = await asyncio.gather(*(transport.post(at.url, {}, b"%d" % one) for one in range(30)))
            assert [answer.body for answer in answers] == [b"%d" % one for one in range(30)]

    side.run(main())
    assert most == 4


class _Looked:
    """Notes when it was looked at."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def look(self) -> None:
        self.at.append(asyncio.get_running_loop().time())


@settings(max_examples=50)
@given(
    dues=st.lists(st.floats(0.01, 200), min_size=1, max_size=20),
    read_seconds=st.floats(0.1, 100),
    stays=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_a_look_comes_in_time(dues: list[float], read_seconds: float, stays: list[bool]) -> None:
    """A look comes once, never too soon, and later by no more than one in a hundred of the silence that is allowed."""

    async def main() -> None:
        rounds = Rounds(asyncio.get_running_loop(), read_seconds=read_seconds)
        all_of_them = [(due, stay, _Looked()) for due, stay in zip(dues, stays, strict=False)]
        for due, stay, looked in all_of_them:
            at = rounds.join(looked, due)
            if not stay:
                rounds.leave(looked, at)
        await asyncio.sleep(max(dues) + read_seconds)
        for due, stay, looked in all_of_them:
            assert len(looked.at) == stay
            assert all(due - 1e-6 <= at <= due + read_seconds / 100 for at in looked.at)

    run(main())
