"""A multimodal service that answers with labels naming what stands at each position, and all that uses it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson

from consumer.event import Event, Image
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.seeds import CallbackAddresses
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.thread_judge import ThreadJudge
from consumer.settings.models import Tasks, Threads
from tests.moderation.support import Claim, Rig, WallClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from consumer.moderation.protocol.services import Service
    from consumer.verdict import Judgement
    from tests.moderation.support import Reply, Request


__all__ = ["POST", "PROFILE", "World", "event"]


POST = KNOWN["post_text_image_detection"]
PROFILE = KNOWN["profile_text_image_detection"]

_NAME = re.compile(r"\be\d+\b")


def event(number: int, kind: Any = "comment", *, characters: int = 0, images: int = 0, **more: Any) -> Event:
    """An event whose name is in all its words and images; it has at least its name as text unless it has images."""
    name = f"e{number}"
    words = f"{name} " * (characters // (len(name) + 1))
    text = words + "." * (characters - len(words)) if words else "" if images else name
    pictures = tuple(Image(f"https://h/{name}/{picture}.jpg") for picture in range(images))
    return Event(name, kind, text=text, images=pictures, **more)


GATHERS_SECONDS = 0.25
"""For so long no token is free, and threads gather."""


class World:
    """The service, whose tasks and store outlive what uses it, and the parts that do."""

    def __init__(
        self,
        *,
        failure: Callable[[list[str]], Reply | None] = lambda _: None,
        threads: Threads | None = None,
        takes_seconds: float = 40.0,
        token_seconds: float = 0.0,
        place: Callable[[Event], Awaitable[Event]] | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        self.store: Any = MemoryTaskStore()
        self.group_id = "group"
        self.submissions: list[list[str]] = []
        self.accepted: list[list[str]] = []
        self.queries = 0
        self.faults: list[str] = []
        self._failure = failure
        self._threads = threads or Threads()
        self._takes_seconds = takes_seconds
        self._token_seconds = token_seconds
        self._place = place
        self._result = result
        self._results: dict[str, tuple[float, dict[str, Any]]] = {}
        self.rig = Rig([])
        self.judge: ThreadJudge

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ThreadJudge]:
        """A process that judges, from its start to its end; the next one finds what this one stored."""
        self.rig = Rig(self._answer)
        self.rig.tokens["multimodal_submit"].wait_seconds = self._token_seconds
        self.rig.tokens["multimodal_submit"].free_from = GATHERS_SECONDS
        clock, metrics, tasks = WallClock(), self.rig.metrics, Tasks()
        board = TaskBoard(
            store=self.store, query=self.rig.client, settings=tasks, callbacks=False, clock=clock, metrics=metrics
        )
        judge = ThreadJudge(
            self.rig.client,
            board,
            tokens=self.rig.tokens["multimodal_submit"],
            threads=self._threads,
            tasks=tasks,
            clock=clock,
            metrics=metrics,
            callbacks=CallbackAddresses("https://callbacks.example/", "a secret of the group"),
            group_id=self.group_id,
            place=self._place,
        )
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(board.run())
            try:
                async with judge:
                    self.judge = judge
                    yield judge
            finally:
                polling.cancel()

    def sent(self) -> list[list[str]]:
        """Whose parts were in each submission of the process that runs, in the order they were sent."""
        return [
            [name for name, _, _ in _parts(request.parameters)]
            for request in self.rig.service.requests
            if not request.task_id
        ]

    async def one(self, event: Event, claim: Claim, service: Service = POST) -> Judgement:
        """Have one event judged by the process that runs."""
        return await self.judge.judge(event, service, claim, "threads")

    def _answer(self, request: Request) -> Reply:
        now = asyncio.get_running_loop().time()
        if request.task_id:
            self.queries += 1
            ready_at, result = self._results[request.task_id]
            return _reply(200, result) if now >= ready_at else _reply(280, {})
        if "content" in request.parameters:
            return self._failure(["text"]) or _reply(200, {"RiskLevel": "none"})
        parts = list(_parts(request.parameters))
        names = [name for name, _, _ in parts]
        self.submissions.append(names)
        self.faults += _faults(parts)
        failure = self._failure(names)
        if failure is not None:
            return failure
        self.accepted.append(names)
        task_id = f"T-{len(self.accepted)}"
        self._results[task_id] = (now + self._takes_seconds, self._result or _result(request.parameters))
        return _reply(200, {"ReqId": task_id})


def _reply(code: int, data: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, orjson.dumps({"Code": code, "RequestId": f"R-{code}", "Data": data}))


def _parts(parameters: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Each part of a call, in the order of the call: whose it is, its characters and its images."""
    main = parameters["mainData"]
    title = main.get("mainTitle", "")
    yield _whose(main), len(title) + len(main["mainContent"]), len(main["mainImages"])
    for comment in parameters.get("commentDatas", []):
        yield _whose(comment), len(comment["content"]), len(comment.get("images", []))
        for reply in comment.get("commentDatas", []):
            assert "commentDatas" not in reply
            yield _whose(reply), len(reply["content"]), len(reply.get("images", []))


def _whose(part: dict[str, Any]) -> str:
    names = set(_NAME.findall(orjson.dumps(part | {"commentDatas": []}).decode()))
    (name,) = names
    return str(name)


def _faults(parts: list[tuple[str, int, int]]) -> list[str]:
    """The page's limits that a call exceeds."""
    faults = []
    if sum(characters for _, characters, _ in parts) > 5000 or sum(images for *_, images in parts) > 30:
        faults.append(f"a call of {parts} is too large")
    if any(not 0 < characters <= 1000 or images > 10 for _, characters, images in parts[1:]):
        faults.append(f"a comment of {parts} is too large")
    return faults


def _result(parameters: dict[str, Any]) -> dict[str, Any]:
    def said(part: dict[str, Any]) -> list[dict[str, str]]:
        return [{"Label": f"is_{_whose(part)}", "Description": ""}]

    return {
        "RiskLevel": "high",
        "MainData": {"Results": said(parameters["mainData"])},
        "CommentDatas": [
            {
                "Results": said(comment),
                "CommentDatas": [{"Results": said(reply)} for reply in comment.get("commentDatas", [])],
            }
            for comment in parameters.get("commentDatas", [])
        ],
    }
