"""Real processes that are stopped and woken, and what reaches the service of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from consumer.simulator import Latency, Simulator, SimulatorSettings


ROOT = Path(__file__).parents[3]
STOPPED_SECONDS = 3.0
WATCHED_SECONDS = 1.5
PATIENCE_SECONDS = 60.0


class Caller:
    """What is known of a process that calls a simulator of its own; `owner` decides what its commits are told."""

    def __init__(self, simulator: Simulator, kind: str) -> None:
        self.simulator = simulator
        self.kind = kind
        self.pid = 0
        self.owner = True
        self.refused = 0

    @property
    def arrived(self) -> int:
        """How many calls have reached the service."""
        arrived = self.simulator.stats.arrived
        return arrived["text"].total if "text" in arrived else 0

    async def answer(self, commits: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """Answer each commit at once."""
        while await commits.readline():
            self.refused += not self.owner
            answers.write(b"+\n" if self.owner else b"-\n")

    async def called(self, times: int) -> None:
        """Return when so many more calls have arrived."""
        enough = self.arrived + times
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.arrived < enough:
                await asyncio.sleep(0.05)

    async def stop_and_wake(self, after_seconds: float) -> int:
        """Stop the process, replace it, and wake it; how many calls arrived after that, with no commit of its own."""
        # By a process of its own: this one is woken by calls and commits, and would stop the other in the midst of one.
        stop = f"sleep {after_seconds}; kill -STOP {self.pid}; sleep {STOPPED_SECONDS}"
        await (await asyncio.create_subprocess_exec("sh", "-c", stop)).wait()
        self.owner = False
        before, refused = self.arrived, self.refused
        os.kill(self.pid, signal.SIGCONT)
        await asyncio.sleep(WATCHED_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.refused < refused + 3:
                await asyncio.sleep(0.05)
        return self.arrived - before


async def stopped_often(caller: Caller, *, times: int, seed: int) -> list[int]:
    """Stop a process so many times at random moments; how much it sent each time on waking."""
    chance = random.Random(seed)
    sent: list[int] = []
    await caller.called(10)
    for _ in range(times):
        sent.append(await caller.stop_and_wake(chance.uniform(0, 1)))
        # Its next commit succeeds: nobody had taken over after all, and it has to go on.
        caller.owner = True
        await caller.called(10)
    return sent


async def sent_on_waking(kinds: list[str], times: int) -> list[list[int]]:
    async with AsyncExitStack() as stack:
        settings = SimulatorSettings(text_per_second=None, latency=Latency(50.0))
        callers = [Caller(await stack.enter_async_context(Simulator(settings)), kind) for kind in kinds]
        by_url = {caller.simulator.url: caller for caller in callers}

        connected: set[asyncio.Task[None] | None] = set()

        async def accept(commits: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            connected.add(asyncio.current_task())
            url, pid = (await commits.readline()).decode().split()
            by_url[url].pid = int(pid)
            with suppress(ConnectionError):  # it was killed
                await by_url[url].answer(commits, answers)
                answers.close()
                await answers.wait_closed()

        server = await stack.enter_async_context(await asyncio.start_server(accept, "127.0.0.1", 0))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.moderation.calling.caller",
            str(server.sockets[0].getsockname()[1]),
            *(f"{caller.simulator.url},{caller.kind}" for caller in callers),
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            async with asyncio.TaskGroup() as group:
                trying = [
                    group.create_task(stopped_often(caller, times=times, seed=seed))
                    for seed, caller in enumerate(callers)
                ]
            return [task.result() for task in trying]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await asyncio.gather(*filter(None, connected))


@pytest.mark.timeout(240)
def test_a_process_that_was_stopped_and_woken_sends_nothing() -> None:
    """Ten of ten stopped processes send no call on waking until a commit succeeds; without a guard they send many."""
    *guarded, unguarded = asyncio.run(sent_on_waking(["guarded"] * 5 + ["unguarded"], times=2))
    assert guarded == [[0, 0]] * 5
    assert min(unguarded) > 10
