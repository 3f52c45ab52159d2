"""Reporting results of multimodal tasks to their callbacks, as the pages of the sibling operations have it.

A report is a form of ReqId, Checksum and Content, posted to the task's URL when the task is ready. It is delivered when
it is answered with HTTP 200; anything else, and no answer within 5 s, is tried again up to 16 times. The result can be
queried all the while.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock
    from consumer.simulator.settings import SimulatorSettings
    from consumer.simulator.stats import Stats
    from consumer.simulator.tasks import Task


__all__ = ["REDELIVERIES", "Callbacks", "checksum"]


REDELIVERIES = 16

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


def checksum(account_id: str, seed: str, content: bytes, crypt_type: str = "SHA256") -> str:
    """The hexadecimal digest, SHA256 or SM3, of the account's id, the task's seed and the content."""
    return hashlib.new(crypt_type.lower(), account_id.encode() + seed.encode() + content).hexdigest()


class Callbacks:
    """Reports under way. `report` says what a task's Content is, or None for one that was forgotten in the meantime.

    Between `start` and `stop` one task of the event loop owns all deliveries; they end with it.
    """

    def __init__(
        self, settings: SimulatorSettings, clock: Clock, stats: Stats, report: Callable[[Task], bytes | None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._stats = stats
        self._report = report
        self._due: asyncio.Queue[Task] = asyncio.Queue()
        self._session: aiohttp.ClientSession | None = None
        self._owner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Be ready to report."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self._owner = asyncio.create_task(self._run(), name="simulator callbacks")

    async def stop(self) -> None:
        """Report nothing any more; what is under way is given up.

        Raises:
            ExceptionGroup: a delivery failed in a way that is no fault of its receiver.
        """
        owner, session = self._owner, self._session
        self._owner = self._session = None
        if owner is not None:
            owner.cancel()
            await asyncio.wait([owner])
        if session is not None:
            await session.close()
        if owner is not None and not owner.cancelled():
            owner.result()

    async def announce(self, task: Task) -> None:
        """See to it that a task is reported; returns at once, or, for fault callback_early, after the first attempt."""
        kind = task.fault.kind if task.fault is not None else None
        if kind == "callback_never" or math.isinf(task.ready_at):
            self._stats.callbacks["withheld"] += 1
        elif kind != "callback_early" or not await self._delivered(task):
            self._due.put_nowait(task)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as deliveries:
            while True:
                deliveries.create_task(self._deliver(await self._due.get()))

    async def _deliver(self, task: Task) -> None:
        fault = task.fault
        wait = task.ready_at - self._clock.monotonic()
        if fault is not None and fault.kind == "callback_late":
            wait += fault.seconds
        if wait > 0:
            await self._clock.sleep(wait)
        for attempt in range(1 + REDELIVERIES):
            if attempt:
                await self._clock.sleep(self._settings.callback_interval_seconds)
            if await self._delivered(task):
                if fault is not None and fault.kind == "callback_twice":
                    await self._delivered(task)
                return
        self._stats.callbacks["given_up"] += 1

    async def _delivered(self, task: Task) -> bool:
        """Report once; whether that was the last time it is needed."""
        content = self._report(task)
        session, callback = self._session, task.callback
        if content is None or session is None or callback is None:
            return True
        digest = checksum(self._settings.account_id, callback.seed, content, callback.crypt_type)
        if task.fault is not None and task.fault.kind == "callback_forged":
            digest = checksum("forged", callback.seed, content, callback.crypt_type)
        form = {"ReqId": task.task_id, "Checksum": digest, "Content": content.decode()}
        self._stats.callbacks["posted"] += 1
        try:
            # Encoded already: the path may hold what its receiver wants back to the letter.
            url = URL(callback.url, encoded=True)
            async with session.post(url, data=form, allow_redirects=False) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False
        if answer.status != 200:
            return False
        self._stats.callbacks["delivered"] += 1
        return True
