"""Making a schedule come true: processes, brokers, connections and the service are harmed, and mended again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import orjson

from chaos.history import Happening
from chaos.stage import MEMBERS


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.proxy import Proxy
    from chaos.reading import Journal
    from chaos.stage import Member, Stage
    from chaos.timeline import Step


__all__ = ["Trouble"]


_SUPERVISOR_SECONDS = 1.0
_MOST_ENDS = 20


class Trouble:
    """Everything that goes wrong in one run. `happened` is what really did, in the order of its end.

    Args:
        stage: The brokers and members.
        service_url: Where the service itself is.
        journal: Its journal, which shows who is working.
        say: Told of every beginning and end.
    """

    def __init__(self, stage: Stage, service_url: str, journal: Journal, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._service_url = service_url
        self._journal = journal
        self._say = say
        self._brokers = asyncio.Lock()
        self.happened: list[Happening] = []

    async def run(self, steps: Sequence[Step]) -> None:
        """Let all of it happen; when this returns everything is mended. Cancelled, it leaves things as they are."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for step in steps:
                tasks.create_task(self._at(began + step.at, step))

    async def supervise(self) -> None:
        """Start members again that ended by themselves, as an orchestrator would, until cancelled.

        Raises:
            RuntimeError: one of them does nothing but end.
        """
        while True:
            for member in self._stage.members.values():
                if member.wanted and member.reap(asked=False):
                    gone = member.exits[-1]
                    self._say(f"{member.name} ended by itself with {gone.code}")
                    if len(member.exits) > _MOST_ENDS:
                        raise RuntimeError(f"{member.name} ends again and again; its log says why")
                    await asyncio.sleep(_SUPERVISOR_SECONDS)
                    member.start()
            await asyncio.sleep(0.1)

    async def _at(self, moment: float, step: Step) -> None:
        await asyncio.sleep(moment - time.monotonic())
        match step.kind:
            case "kill broker":
                await self._kill_brokers(step, [int(step.whom)])
            case "kill brokers":
                await self._kill_brokers(step, self._stage.cluster.nodes)
            case "fault":
                await self._fault(step)
            case "join":
                await self._join(step)
            case _:
                members = self._members(step.whom)
                if not members:
                    self._say(f"{step.kind} {step.whom}: nobody is there")
                async with asyncio.TaskGroup() as tasks:
                    for member in members:
                        tasks.create_task(self._befall(step, member))

    async def _befall(self, step: Step, member: Member) -> None:
        """A fault of one member's process or connections."""
        began = time.time()
        pid = member.pid
        self._say(f"{step.kind} {member.name} ({step.whom}, process {pid}) {step.detail}")
        match step.kind:
            case "kill":
                member.kill()
                began = time.time()
                await asyncio.sleep(step.seconds)
                member.start()
            case "stop":
                await member.stop()
                self._say(f"{member.name} has ended with {member.exits[-1].code} after {time.time() - began:.1f} s")
                await asyncio.sleep(step.seconds)
                member.start()
            case "freeze":
                member.freeze()
                began = time.time()
                await asyncio.sleep(step.seconds)
                if member.pid == pid:
                    member.wake()
            case _:
                await self._harm(step, member)
        self._over(step, member.name, began)

    async def _harm(self, step: Step, member: Member) -> None:
        proxies = _proxies(step.detail, member)
        for proxy in proxies:
            match step.kind:
                case "cut":
                    proxy.cut()
                case "delay":
                    proxy.delay_seconds = step.delay_seconds
                case "black hole":
                    proxy.swallowing = True
                case "half close":
                    proxy.half_close()
                case "refuse":
                    proxy.refusing = True
                    proxy.cut()
        await asyncio.sleep(step.seconds)
        for proxy in proxies:
            proxy.mend()

    async def _join(self, step: Step) -> None:
        began = time.time()
        third = self._stage.members[MEMBERS[-1]]
        if third.pid is not None:
            self._say("join: everybody is there already")
            return
        self._say(f"{third.name} joins")
        third.start()
        await asyncio.sleep(step.seconds)
        await third.stop()
        self._over(step, third.name, began)

    async def _kill_brokers(self, step: Step, nodes: Sequence[int]) -> None:
        async with self._brokers:
            began = time.time()
            self._say(f"{step.kind} {step.whom}")
            for node in nodes:
                self._stage.cluster.kill(node)
            await asyncio.sleep(step.seconds)
            await asyncio.to_thread(self._stage.cluster.restart, *nodes)
            self._over(step, None, began)

    async def _fault(self, step: Step) -> None:
        began = time.time()
        self._say(f"the service: {step.detail}")
        await self._order(step.detail.split())
        await asyncio.sleep(step.seconds)
        await self._order([])
        self._over(step, None, began)

    async def _order(self, faults: list[str]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._service_url}/faults", data=orjson.dumps({"faults": faults})) as answer,
        ):
            answer.raise_for_status()

    def _over(self, step: Step, member: str | None, began: float) -> None:
        self.happened.append(Happening(step.kind, member, began, time.time(), step.detail or step.whom))
        self._say(f"over: {step.kind} {member or step.whom} {step.detail}")

    def _members(self, whom: str) -> list[Member]:
        """Who plays this role now: of those that run, and are not in trouble already."""
        running = [member for member in self._stage.members.values() if member.runs and member.wanted]
        if whom == "everybody":
            return running
        last = self._journal.last_caller()
        active = [member for member in running if member.name == last] or running[:1]
        standby = [member for member in running if member not in active]
        return active if whom == "active" else (standby or active)[:1]


def _proxies(place: str, member: Member) -> list[Proxy]:
    match place.split():
        case ["to", "the", "service"]:
            return [member.service]
        case ["to", "all", "brokers"]:
            return member.kafka
        case ["to", "broker", number]:
            return [member.kafka[int(number) - 1]]
        case _:
            raise ValueError(f"no such place: {place}")
