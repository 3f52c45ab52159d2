"""A board on a scripted service in virtual time, with a record of every query and when it was made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from consumer.metrics import Metrics
from consumer.moderation.protocol.responses import Answer, Layer
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.tasks.task import Place, Task
from consumer.settings.models import Tasks
from tests.virtual_time import EPOCH, LoopClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.moderation.tasks.store import CallbackExchange, TaskStore


__all__ = ["Reply", "Rig", "answer", "content", "now", "place", "task"]


Reply = Callable[[str], "Awaitable[Answer | None] | Answer | Exception | None"]


def now() -> float:
    """Virtual seconds since the test began."""
    return asyncio.get_running_loop().time()


def place(number: int) -> Place:
    return Place("ugc", 0, number)


def task(number: int, *, of: str = "", submitted_at: float = 0.0, next_poll_at: float = 30.0) -> Task:
    """The event `number` in a task of its own, or in the one named; times are virtual seconds."""
    return Task(
        place=place(number),
        fingerprint=f"f{number}",
        service="post_text_image_detection",
        task_id=of or f"t{number}",
        path=(),
        submitted_at=EPOCH + submitted_at,
        next_poll_at=EPOCH + next_poll_at,
    )


def answer(task_id: str, level: str = "none") -> Answer:
    """The result of a task, as a query brings it."""
    return Answer(Layer.BUSINESS, 200, 200, "R", {"ReqId": task_id, "RiskLevel": level})


def content(task_id: str, level: str = "none") -> bytes:
    """The same result, as a callback brings it."""
    return f'{{"RequestId":"R","Code":200,"Msg":"OK","Data":{{"ReqId":"{task_id}","RiskLevel":"{level}"}}}}'.encode()


class Rig:
    """A board with its parts. `reply` answers each query; `queries` has the time and the task of each."""

    def __init__(
        self,
        reply: Reply,
        *,
        store: TaskStore | None = None,
        exchange: CallbackExchange | None = None,
        callbacks: bool = False,
        acquire: Callable[[], Awaitable[float]] | None = None,
        queries_per_second: float = float("inf"),
        **settings: float,
    ) -> None:
        self._reply = reply
        self._acquire = acquire
        self.queries: list[tuple[float, str]] = []
        self.answered: list[tuple[float, str]] = []
        self.metrics = Metrics()
        self.store: Any = MemoryTaskStore() if store is None else store
        self.board = TaskBoard(
            store=self.store,
            query=self,
            settings=Tasks.model_validate(settings),
            callbacks=callbacks,
            clock=LoopClock(),
            metrics=self.metrics,
            exchange=exchange,
            queries_per_second=lambda: queries_per_second,
        )

    async def query(self, service: str, task_id: str) -> Answer | None:
        assert service == "post_text_image_detection"
        if self._acquire is not None:
            await self._acquire()
        self.queries.append((now(), task_id))
        reply = self._reply(task_id)
        if isinstance(reply, Awaitable):
            reply = await reply
        if isinstance(reply, Exception):
            raise reply
        self.answered.append((now(), task_id))
        return reply

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TaskBoard]:
        """The board, with its polling loop."""
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self.board.run())
            yield self.board
            loop.cancel()

    def times(self, task_id: str) -> list[float]:
        """When a task was asked for."""
        return [at for at, asked in self.queries if asked == task_id]

    def value(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where nothing was counted."""
        return self.metrics.registry.get_sample_value(f"moderation_{name}", labels) or 0.0
