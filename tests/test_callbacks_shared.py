"""The callback ports of several processes of a group: whichever is called, the task's owner has the result."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from consumer.callbacks import CallbackServer
from consumer.errors import DeliveryRefused
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.seeds import CallbackAddresses, checksum
from consumer.settings.models import Tasks
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.moderation.tasks.support import answer, content, place, task
from tests.virtual_time import LoopClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.tasks.state import StateTopic
    from consumer.moderation.tasks.task import Place


ACCOUNT = "1234567890123456"
SECRET = "a secret of the test"
ADDRESSES = CallbackAddresses("http://callbacks.example.com/moderation", SECRET)


@dataclass(frozen=True)
class Replica:
    """One process of the group, with its board and its callback port."""

    process: Process
    state: StateTopic
    board: TaskBoard
    session: aiohttp.ClientSession

    async def post(self, task_id: str, at: Place, body: bytes, *, seed: str = "") -> tuple[int, str, str | None]:
        """Report a task; returns the status, what is said, and when to come again."""
        signed = checksum(ACCOUNT, seed or ADDRESSES.of(at).seed, body)
        form = {"ReqId": task_id, "Checksum": signed, "Content": body.decode()}
        url = ADDRESSES.of(at).url.removeprefix("http://callbacks.example.com")
        async with self.session.post(url, data=form) as answered:
            return answered.status, (await answered.text()).strip(), answered.headers.get("Retry-After")


class NoQuery:
    """Polling is for other tests."""

    async def query(self, service: str, task_id: str) -> Answer | None:
        raise AssertionError("nothing is polled here")


@asynccontextmanager
async def replica(topic: MemoryTopic) -> AsyncIterator[Replica]:
    """A replica of the group that shares this state topic."""
    process = Process(topic)
    async with process.running() as state:
        board = TaskBoard(
            store=state,
            exchange=state,
            query=NoQuery(),
            settings=Tasks(),
            callbacks=True,
            clock=LoopClock(),
            metrics=process.metrics,
        )
        server = CallbackServer(
            host="127.0.0.1",
            port=0,
            account_id=ACCOUNT,
            secret=SECRET,
            max_body_bytes=65_536,
            receiver=board,
            metrics=process.metrics,
        )
        async with server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield Replica(process, state, board, session)


def test_any_replica_takes_callbacks_for_the_owner() -> None:
    """A replica without the task answers 200, and the event has its result where it waits; a forgery gets nowhere."""

    async def main() -> None:
        topic = MemoryTopic()
        async with replica(topic) as owner, replica(topic) as standby:
            await owner.board.add([task(1)])
            foreign = ADDRESSES.of(place(2)).seed
            assert await standby.post("t1", place(1), content("t1", "none"), seed=foreign) == (403, "forged", None)
            assert await standby.post("t1", place(1), content("t1", "high")) == (200, "forwarded", None)
            async with asyncio.timeout(5):
                assert await owner.board.result(task(1)) == answer("t1", "high")
            assert await owner.post("t1", place(1), content("t1", "high")) == (200, "repeated", None)
        assert standby.process.counted("callbacks", outcome="forwarded") == 1
        assert standby.process.counted("callbacks", outcome="forged") == 1

    asyncio.run(main())


def test_a_callback_that_cannot_be_passed_on_is_asked_to_come_again() -> None:
    """While the state topic refuses it, a callback of a task that is not here gets a 503, and is taken later."""

    async def main() -> None:
        topic = MemoryTopic()
        async with replica(topic) as owner, replica(topic) as standby:
            await owner.board.add([task(1)])
            topic.refusal = DeliveryRefused("too large")
            status, said, again = await standby.post("t1", place(1), content("t1"))
            assert (status, said) == (503, "unknown")
            assert int(again or "") > 0
            topic.refusal = None
            assert await standby.post("t1", place(1), content("t1")) == (200, "forwarded", None)
            async with asyncio.timeout(5):
                assert await owner.board.result(task(1)) == answer("t1")

    asyncio.run(main())
