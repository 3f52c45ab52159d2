"""Tests of the callback port over real sockets: what is taken in, what is refused, and that nothing counts twice."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.callbacks import CallbackServer
from consumer.clock import SystemClock
from consumer.errors import StartError
from consumer.metrics import Metrics
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.seeds import CallbackAddresses, checksum
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.tasks.task import Place, Task
from consumer.settings.models import Tasks


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from consumer.moderation.protocol.responses import Answer


ACCOUNT = "1234567890123456"
SECRET = "a secret of the test"
ONE, TWO = Place("ugc", 0, 1), Place("ugc.posts", 7, 2**40)
TASKS = {"t1": ONE, "t2": TWO}
ADDRESSES = CallbackAddresses("http://callbacks.example.com/moderation", SECRET)


def content(task_id: str, level: str = "high", words: str = "+ %41 & 世界=") -> str:
    """A result with bytes that a careless decoder would change."""
    data = f'{{"ReqId":"{task_id}","DataId":"d","RiskLevel":"{level}"}}'
    return f'{{"RequestId":"R","Code":200,"Msg":"{words}","Data":{data}}}'


def form(task_id: str, body: str | None = None, **signed_with: str) -> dict[str, str]:
    """A callback as the service sends it, or signed with something else."""
    body = content(task_id) if body is None else body
    seed = signed_with.get("seed", ADDRESSES.of(TASKS[task_id]).seed)
    return {
        "ReqId": task_id,
        "Checksum": checksum(signed_with.get("account_id", ACCOUNT), seed, body.encode()),
        "Content": body,
    }


class Bench:
    """A server over a board on which the events ONE and TWO wait for the tasks t1 and t2."""

    def __init__(self, *, max_body_bytes: int = 65_536) -> None:
        self.metrics = Metrics()
        self.board = TaskBoard(
            store=MemoryTaskStore(),
            query=self,
            settings=Tasks(),
            callbacks=True,
            clock=SystemClock(),
            metrics=self.metrics,
        )
        self.server = CallbackServer(
            host="127.0.0.1",
            port=0,
            account_id=ACCOUNT,
            secret=SECRET,
            max_body_bytes=max_body_bytes,
            receiver=self.board,
            metrics=self.metrics,
        )

    async def query(self, service: str, task_id: str) -> Answer | None:
        raise AssertionError("nothing is polled in these tests")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[aiohttp.ClientSession]:
        await self.board.add([self.task(task_id) for task_id in TASKS])
        async with self.server, aiohttp.ClientSession(f"http://127.0.0.1:{self.server.port}") as session:
            yield session

    def task(self, task_id: str) -> Task:
        now = SystemClock().now()
        return Task(TASKS[task_id], "f", "post_text_image_detection", task_id, (), now, now + 30)

    async def level(self, task_id: str) -> str | None:
        """The risk level that a task's event got; None while it waits."""
        try:
            async with asyncio.timeout(0):
                found = await self.board.result(self.task(task_id))
        except TimeoutError:
            return None
        return None if found is None else found.data["RiskLevel"]

    def counted(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("moderation_callbacks_total", {"outcome": outcome}) or 0.0


def path(place: Place) -> str:
    return ADDRESSES.of(place).url.removeprefix("http://callbacks.example.com")


async def post(
    session: aiohttp.ClientSession, place: Place, body: Mapping[str, str] | bytes | str, **headers: str
) -> tuple[int, str]:
    """Post a callback, and return the status and what the answer says."""
    data = urlencode(body) if not isinstance(body, (bytes, str)) else body
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"} | headers
    async with session.post(path(place), data=data, headers=headers) as answered:
        return answered.status, (await answered.text()).strip()


def test_a_callback_of_the_service_is_the_tasks_result() -> None:
    """An authentic callback is answered 200, and its event has its result, of this task only."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, form("t1")) == (200, "accepted")
            assert (await bench.level("t1"), await bench.level("t2")) == ("high", None)
            assert await post(session, TWO, form("t2", content("t2", "none"))) == (200, "accepted")
            assert await bench.level("t2") == "none"
        assert bench.counted("accepted") == 2

    asyncio.run(main())


ANOTHER_SEED = ADDRESSES.of(TWO).seed
FORGED = {
    "a wrong checksum": (ONE, form("t1") | {"Checksum": "0" * 64}),
    "the seed of another path": (ONE, form("t1", seed=ANOTHER_SEED)),
    "a guessed seed": (ONE, form("t1", seed="abc_123")),
    "tampered content": (ONE, form("t1") | {"Content": content("t1", "none")}),
    "the checksum of another task": (ONE, form("t1") | {"Checksum": form("t2")["Checksum"]}),
    "another account's id": (ONE, form("t1", account_id="6543210987654321")),
    "a replay under another path": (TWO, form("t1")),
    "a replay under another path and task": (TWO, form("t1") | {"ReqId": "t2"}),
    "a replay for another task": (ONE, form("t1") | {"ReqId": "t2"}),
    "no checksum": (ONE, form("t1") | {"Checksum": ""}),
    "a checksum that is no hex": (ONE, form("t1") | {"Checksum": "世界"}),
}


@pytest.mark.parametrize(("place", "forged"), FORGED.values(), ids=FORGED)
def test_a_forged_callback_is_refused(place: Place, forged: dict[str, str]) -> None:
    """What the service did not send for this very task is answered 403, counted, and judges nothing."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, place, forged) == (403, "forged")
            assert (await bench.level("t1"), await bench.level("t2")) == (None, None)
            assert await post(session, ONE, form("t1")) == (200, "accepted")
        assert (bench.counted("forged"), bench.counted("accepted")) == (1, 1)

    asyncio.run(main())


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_no_changed_byte_gets_through(data: st.DataObject) -> None:
    """Whatever byte of the checksum or of the content is changed, the callback is refused."""
    name = data.draw(st.sampled_from(["Checksum", "Content"]))
    honest = form("t1")[name].encode()
    at = data.draw(st.integers(0, len(honest) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: chr(byte).lower() != chr(honest[at]).lower()))
    changed = honest[:at] + bytes([byte]) + honest[at + 1 :]
    fields = form("t1") | {name: ""}
    body = urlencode(fields).encode().replace(f"{name}=".encode(), f"{name}={quote_plus(changed)}".encode())

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, body) == (403, "forged")
            assert await bench.level("t1") is None

    asyncio.run(main())


def test_a_callback_delivered_again_changes_nothing() -> None:
    """Re-deliveries, replays and later reports of a task that has its result are answered 200 and ignored."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, form("t1")) == (200, "accepted")
            again = [form("t1")] * 15 + [form("t1", content("t1", "none"))]
            answers = await asyncio.gather(*(post(session, ONE, one) for one in again))
            assert answers == [(200, "repeated")] * 16
            assert await bench.level("t1") == "high"
            await bench.board.forget([ONE])
            assert await post(session, ONE, form("t1")) == (200, "repeated")
            assert await bench.level("t2") is None
        assert (bench.counted("accepted"), bench.counted("repeated")) == (1, 17)
        seconds = bench.metrics.registry.get_sample_value("moderation_task_seconds_count", {"how": "callback"})
        assert seconds == 1

    asyncio.run(main())


def test_an_authentic_callback_of_an_unknown_task_is_asked_to_come_again() -> None:
    """A callback may overtake the submission's answer: it gets a 503, and is taken in when it comes again."""
    place = Place("ugc", 3, 99)
    body = content("t3")
    early = {
        "ReqId": "t3",
        "Checksum": checksum(ACCOUNT, ADDRESSES.of(place).seed, body.encode()),
        "Content": body,
    }

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            async with session.post(path(place), data=early) as answered:
                assert answered.status == 503
                assert int(answered.headers["Retry-After"]) > 0
            now = SystemClock().now()
            await bench.board.add([Task(place, "f", "s", "t3", (), now, now + 30)])
            assert await post(session, place, early) == (200, "accepted")
        assert bench.counted("unknown") == 1

    asyncio.run(main())


def test_content_that_is_no_result_is_taken_note_of_only() -> None:
    """An authentic report without a result is answered 200, since it would be the same again, and ends nothing."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            for body in ('{"Code":280,"Data":{"ReqId":"t1"}}', '{"Code":200}', "not json", ""):
                assert await post(session, ONE, form("t1", body)) == (200, "no_result")
            assert await bench.level("t1") is None
            data_only = '{"ReqId":"t1","RiskLevel":"low"}'
            assert await post(session, ONE, form("t1", data_only)) == (200, "accepted")
            assert await bench.level("t1") == "low"

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        lambda honest: urlencode({name.lower(): value for name, value in honest.items()}),
        lambda honest: urlencode({name.upper(): value for name, value in honest.items()}),
        lambda honest: urlencode(dict(reversed(honest.items()))),
        lambda honest: urlencode({"more": "1", "": "x", **honest}) + "&&a&=b",
        lambda honest: urlencode(honest, quote_via=quote),
        lambda honest: urlencode(honest | {"Checksum": honest["Checksum"].upper()}),
        lambda honest: "&".join(f"{name}={value.encode().hex('%')}" for name, value in honest.items()).replace(
            "=", "=%"
        ),
        lambda honest: (
            f"ReqId={honest['ReqId']}&Checksum={honest['Checksum']}&Content=".encode()
            + honest["Content"].encode().replace(b"%", b"%25").replace(b"+", b"%2B").replace(b"&", b"%26")
        ),
    ],
    ids=["lower", "upper", "order", "more", "spaces as %20", "checksum in capitals", "all escaped", "raw UTF-8"],
)
def test_the_form_may_be_written_in_any_way(change: Callable[[dict[str, str]], str | bytes]) -> None:
    """Letter case, order, other fields and ways of escaping make no difference: the bytes that they stand for count."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, change(form("t1"))) == (200, "accepted")
            async with session.post(path(TWO), data=urlencode(form("t2")).encode()) as untyped:
                assert untyped.status == 200

    asyncio.run(main())


MALFORMED = {
    "nothing": b"",
    "no content": urlencode({"ReqId": "t1", "Checksum": "0"}).encode(),
    "no task": urlencode({"Checksum": "0", "Content": "{}"}).encode(),
    "an empty task": urlencode({"ReqId": " ", "Checksum": "0", "Content": "{}"}).encode(),
    "an endless task": urlencode({"ReqId": "t" * 129, "Checksum": "0", "Content": "{}"}).encode(),
    "a task in no encoding": b"ReqId=%FF&Checksum=0&Content=x",
    "two contents": (urlencode(form("t1")) + "&content=x").encode(),
    "JSON": b'{"ReqId":"t1","Checksum":"0","Content":"{}"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_callback_form_is_malformed(body: bytes) -> None:
    """A body without the three parameters, each once, is answered 400."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, body) == (400, "malformed")
        assert bench.counted("malformed") == 1

    asyncio.run(main())


def test_compressed_bodies_are_not_unpacked() -> None:
    """A body that says it is compressed is read as it is, so that nothing small can become large."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            assert await post(session, ONE, b"x\x9c", **{"Content-Encoding": "deflate"}) == (400, "malformed")

    asyncio.run(main())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(*, chunked: bool) -> None:
    """Bodies up to the limit are read, larger ones are answered 413, also when they do not say how large they are."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    async def main() -> None:
        bench = Bench(max_body_bytes=4096)
        async with bench.running() as session:
            for more, status in ((1, 413), (200_000, 413), (-1, 200)):
                body = urlencode(form("t1")).encode()
                body += b"&pad=" + b"x" * (4096 + more - len(body) - len(b"&pad="))
                assert len(body) == 4096 + more
                async with session.post(path(ONE), data=pieces(body) if chunked else body) as answered:
                    assert answered.status == status
        assert bench.counted("too_large") == 2

    asyncio.run(main())


def test_other_methods_and_paths_are_refused() -> None:
    """Only a POST to an event's address is a callback."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            for method in ("GET", "PUT", "DELETE", "HEAD"):
                async with session.request(method, path(ONE)) as answered:
                    assert (answered.status, answered.headers["Allow"]) == (405, "POST")
            for wrong in ("/", "/moderation", "/moderation/ugc/0", "/moderation/ugc/0/x", "/metrics"):
                async with session.post(wrong, data=form("t1")) as answered:
                    assert answered.status == 404

    asyncio.run(main())


def test_a_proxy_may_change_the_prefix() -> None:
    """An event's address counts from its topic on, whatever a proxy takes away or puts before it."""

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            for task_id, prefix in (("t1", ""), ("t2", "/somewhere/else")):
                place = TASKS[task_id]
                wanted = f"{prefix}/{place.topic}/{place.partition}/{place.offset}"
                async with session.post(wanted, data=form(task_id)) as answered:
                    assert answered.status == 200

    asyncio.run(main())


def test_broken_requests_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Requests that break off or are no HTTP harm nobody, and nothing of what was sent gets into the log."""
    head = f"POST {path(ONE)} HTTP/1.1\r\nHost: x\r\n".encode()
    broken = [
        head + b"Content-Length: 100\r\n\r\nContent=planted",
        head + b"Transfer-Encoding: chunked\r\n\r\nplanted\r\nplanted\r\n",
        b"planted\r\n\r\n",
    ]
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        bench = Bench()
        async with bench.running() as session:
            for sent in broken:
                reader, writer = await asyncio.open_connection("127.0.0.1", bench.server.port)
                writer.write(sent)
                writer.write_eof()
                await reader.read()
                writer.close()
                await writer.wait_closed()
            assert await post(session, ONE, form("t1", content("t1", words="planted"))) == (200, "accepted")
            assert await post(session, ONE, form("t1") | {"Content": "planted"}) == (403, "forged")

    asyncio.run(main())
    assert "planted" not in caplog.text


def test_a_port_that_is_taken_is_said_so() -> None:
    """A callback port that cannot be opened ends the start with a message that names the setting."""

    async def main() -> None:
        bench = Bench()
        async with bench.running():
            other = Bench().server
            other._asked_port = bench.server.port
            with pytest.raises(StartError, match="callback port") as raised:
                await other.__aenter__()
            assert "callbacks.port" in raised.value.remedy

    asyncio.run(main())
