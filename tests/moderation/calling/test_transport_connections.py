"""Connections are used again when they can be, never when they cannot, and none is left behind."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress

import pytest

from consumer.errors import CallError, NoAnswer, NotSent
from consumer.moderation.calling import aiohttp_transport
from consumer.moderation.calling.lean import transport as lean_transport
from consumer.settings.models import Timeouts
from tests.moderation.calling.wire import HEAD, Side, answering, black_hole, host, read_request, replies, settle, whole


MANY = 2_000


def test_connections_are_used_again(side: Side) -> None:
    """Twenty requests after each other need one connection."""

    async def main() -> int:
        async with host(answering) as at, side.open() as transport:
            for number in range(20):
                assert (await transport.post(at.url, {}, b"%d" % number)).body == b"%d" % number
            return at.connections

    assert side.run(main()) == 1


def test_requests_at_the_same_time_have_connections_of_their_own(side: Side) -> None:
    """Each of many requests at once has its own answer, and what was opened for them is used by those that follow."""

    async def main() -> int:
        async with host(answering) as at, side.open() as transport:
            for _ in range(3):
                answers = await asyncio.gather(*(transport.post(at.url, {}, b"%d" % one) for one in range(50)))
                assert [answer.body for answer in answers] == [b"%d" % one for one in range(50)]
            return at.connections

    assert side.run(main()) == 50


def test_two_thousand_requests_are_under_way_at_once(side: Side) -> None:
    """Thousands of connections are open at the same time, and each has its own answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MANY + 200
    assert hard == resource.RLIM_INFINITY or hard >= needed, f"ulimit -n has to allow {needed}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    everybody = asyncio.Event()

    async def main() -> int:
        arrived = 0

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal arrived
            request = await read_request(reader)
            arrived += 1
            if arrived == MANY:
                everybody.set()
            await everybody.wait()
            writer.write(whole(request.partition(b"\r\n\r\n")[2]))
            await reader.read()

        patience = Timeouts(connect_seconds=40, read_seconds=40, total_seconds=50)
        async with host(handler) as at, side.open(patience) as transport:
            answers = await asyncio.gather(*(transport.post(at.url, {}, b"%d" % one) for one in range(MANY)))
            assert [answer.body for answer in answers] == [b"%d" % one for one in range(MANY)]
            return at.connections

    try:
        assert side.run(main()) == MANY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_that_the_service_closed_is_not_used(side: Side) -> None:
    """A service that closes idle connections loses no request."""

    async def main() -> int:
        async with host(replies(whole(b"ab"))) as at, side.open() as transport:
            for _ in range(5):
                assert (await transport.post(at.url, {}, b"")).body == b"ab"
                await at.until(lambda: at.open == 0)
                await settle()
            return at.connections

    assert side.run(main()) == 5


def test_a_connection_that_is_closed_under_a_request_is_no_proof(side: Side) -> None:
    """A request on a connection that the service closes under it counts as perhaps read."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"{}"))
        await read_request(reader)

    async def main() -> None:
        async with host(handler) as at, side.open() as transport:
            await transport.post(at.url, {}, b"body")
            with pytest.raises(NoAnswer):
                await transport.post(at.url, {}, b"body")
            assert (await transport.post(at.url, {}, b"body")).body == b"{}"

    side.run(main())


def test_a_connection_that_closes_at_any_moment_gives_an_answer_or_none(side: Side) -> None:
    """Whenever a service closes an idle connection, a request has its own answer, or is known not to have one."""

    async def main() -> None:
        for turns in range(12):
            goes = asyncio.Event()

            async def handler(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goes: asyncio.Event = goes
            ) -> None:
                answers = asyncio.create_task(answering(reader, writer))
                going = asyncio.create_task(goes.wait())
                await asyncio.wait([answers, going], return_when=asyncio.FIRST_COMPLETED)
                for task in (answers, going):
                    task.cancel()
                    with suppress(asyncio.CancelledError, EOFError, ConnectionError):
                        await task

            async with host(handler) as at, side.open() as transport:
                assert (await transport.post(at.url, {}, b"first")).body == b"first"
                goes.set()
                for _ in range(turns):
                    await asyncio.sleep(0)
                with suppress(CallError):
                    assert (await transport.post(at.url, {}, b"second")).body == b"second"

    side.run(main())


def test_a_connection_that_was_idle_for_long_is_closed(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for the time of keeping alive is closed by us, and the next request takes another one."""
    for module in (aiohttp_transport, lean_transport):
        monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.1)

    async def main() -> int:
        async with host(answering) as at, side.open() as transport:
            await transport.post(at.url, {}, b"")
            await asyncio.sleep(0.12)
            assert (await transport.post(at.url, {}, b"ab")).body == b"ab"
            await at.until(lambda: at.open == 0)
            return at.connections

    assert side.run(main()) == 2


def test_a_connection_grows_only_so_old(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lean transport follows a service that moves although its connections are in use all the time."""
    if not side.lean:
        return  # aiohttp uses a connection for as long as it lasts
    monkeypatch.setattr(lean_transport, "_AGE_SECONDS", 0.1)

    async def main() -> int:
        async with host(answering) as at, side.open() as transport:
            await transport.post(at.url, {}, b"")
            await asyncio.sleep(0.12)
            await transport.post(at.url, {}, b"")
            await at.until(lambda: at.open == 1)
            return at.connections

    assert side.run(main()) == 2


STAGES = ["looking up", "connecting", "handshaking", "waiting", "within the head", "within the body"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ending", ["cancelled", "timed out"])
def test_a_request_that_ends_in_any_stage_leaves_nothing_behind(side: Side, stage: str, ending: str) -> None:
    """Cancelled or too late while it looks up, connects, shakes hands or waits: its connection is gone at once."""
    begin = {"within the head": HEAD[:30], "within the body": HEAD + b"Content-Length: 9\r\n\r\n{"}.get(stage, b"")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage != "handshaking":
            await read_request(reader)
            writer.write(begin)
        await reader.read()

    async def main() -> None:
        side.names.known["slow.test"] = asyncio.Event()
        sent = STAGES.index(stage) > STAGES.index("handshaking")
        patience = Timeouts()
        if ending == "timed out":
            patience = Timeouts(read_seconds=0.3) if sent else Timeouts(connect_seconds=0.3)
        reached = STAGES.index(stage) > STAGES.index("connecting")
        async with black_hole() as dead, host(handler) as at, side.open(patience) as transport:
            url = {
                "looking up": f"http://slow.test:{at.port}/",
                "connecting": f"http://127.0.0.2:{dead}/",
                "handshaking": f"https://127.0.0.1:{at.port}/",
            }.get(stage, at.url)
            task = asyncio.create_task(transport.post(url, {}, b"body"))
            if ending == "timed out":
                with pytest.raises(NoAnswer if sent else NotSent):
                    await task
            else:
                await at.until(lambda: at.open == reached)
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await at.until(lambda: at.connections == reached and at.open == 0)

    side.run(main())


def test_a_request_that_is_cancelled_at_any_moment_spoils_no_other(side: Side) -> None:
    """Cancelled at each turn of the loop, that of its answer too: the next has its own answer, and nothing leaks."""

    async def main() -> None:
        async with host(answering) as at, side.open() as transport:
            answered = turns = 0
            while answered < 3:
                task = asyncio.create_task(transport.post(at.url, {}, b"%d" % turns))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    assert (await task).body == b"%d" % turns
                    answered += 1
                assert (await transport.post(at.url, {}, b"next to %d" % turns)).body == b"next to %d" % turns
                turns += 1
            assert turns > 3
            await at.until(lambda: at.open == 1)

    side.run(main())


def test_closing_ends_what_is_under_way(side: Side) -> None:
    """Who closes the transport does not wait for requests: those on the wire end without an answer, others unsent."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        slow = asyncio.Event()
        side.names.known["slow.test"] = slow
        async with black_hole() as dead, host(silent) as at:
            async with side.open() as transport:
                urls = [at.url, at.url, f"http://slow.test:{at.port}/", f"http://127.0.0.2:{dead}/"]
                tasks = [asyncio.create_task(transport.post(url, {}, b"body")) for url in urls]
                await at.until(lambda: at.open == 2)
                await asyncio.sleep(0.05)
            for task in tasks[:2]:
                with pytest.raises(NoAnswer):
                    await task
            slow.set()
            for task in tasks[2:]:
                task.cancel()
                with pytest.raises((asyncio.CancelledError, NotSent)):
                    await task
            await at.until(lambda: at.open == 0)

    side.run(main())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice for what is large
def test_closing_does_not_wait_for_a_request_that_is_not_read(side: Side) -> None:
    """A service that does not read a large request cannot keep the transport from closing."""

    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await asyncio.Event().wait()

    async def main() -> None:
        async with host(deaf) as at:
            async with side.open() as transport:
                task = asyncio.create_task(transport.post(at.url, {}, b"x" * 20_000_000))
                await at.until(lambda: at.open == 1)
                await asyncio.sleep(0.05)
            # aiohttp leaves the request to its own time-out.
            async with asyncio.timeout(10 if side.lean else 0.1):
                with pytest.raises(NoAnswer if side.lean else asyncio.CancelledError):
                    await task

    side.run(main())


def test_a_request_behind_the_closing_is_not_sent(side: Side) -> None:
    """Where the connection comes when the transport is closed already, nothing is written to it."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def main() -> None:
        slow = asyncio.Event()
        side.names.known["slow.test"] = slow
        async with host(handler) as at:
            async with side.open() as transport:
                task = asyncio.create_task(transport.post(f"http://slow.test:{at.port}/", {}, b"body"))
                await asyncio.sleep(0.05)
            slow.set()
            with pytest.raises(NotSent if side.lean else asyncio.CancelledError):  # aiohttp cancels the look-up
                await task
            await asyncio.sleep(0.05)

    side.run(main())
    assert b"".join(seen) == b""
