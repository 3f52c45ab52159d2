"""How soon a standby works when the active process is gone, and how quiet one is that wakes after its session."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.events import plain
from chaos.reading import Reader, outcome
from chaos.run import Plan, Topics, journal_of, running, service, settings, write
from chaos.timeline import SESSION_SECONDS


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from chaos.history import Outcome, Terms
    from chaos.reading import Journal
    from chaos.stage import Member, Stage


__all__ = ["Steady", "frozen", "steady", "takeover"]


KILL_SECONDS = SESSION_SECONDS + 2
"""The most that a takeover may take after a kill."""
STOP_SECONDS = 3.0
"""The most that it may take after a planned stop."""
_EVENTS_PER_SECOND = 50
_JITTER_SECONDS = 0.03
_QUIET_SECONDS = 3.0
_FROZEN_SECONDS = SESSION_SECONDS + 3
_WATCHED_SECONDS = 5.0
_GIVE_UP_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Steady:
    """Two members on a steady stream of texts: one works, the other stands by."""

    stage: Stage
    journal: Journal
    outcomes: Reader

    def members(self) -> tuple[Member, Member]:
        """Who works, and who stands by."""
        first, second = list(self.stage.members.values())[:2]
        return (first, second) if self.journal.last_caller() == first.name else (second, first)

    async def first_verdict(self, member: Member, since: float) -> float:
        """When the first verdict on an answer to this member was written after a moment.

        Raises:
            TimeoutError: none came for a long time.
        """
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while True:
                for one, caller in await self.verdicts(since):
                    if caller == member.name:
                        return one.at

    async def verdicts(self, since: float) -> list[tuple[Outcome, str]]:
        """The next verdicts that were written after a moment, each with the member that was answered."""
        found = [outcome(read) for read in await asyncio.to_thread(self.outcomes.read, 0.2) if read.at > since]
        callers = {call.request_id: call.member for call in self.journal.calls()} if found else {}
        return [(one, callers.get(one.request_ids[0], "?")) for one in found if one.request_ids]

    async def settle(self) -> None:
        """Return when both run, and the work has gone on for a while."""
        await running(list(self.stage.members.values())[:2])
        await asyncio.sleep(_QUIET_SECONDS)


@asynccontextmanager
async def steady(stage: Stage, terms: Terms, folder: Path, seconds: float) -> AsyncIterator[Steady]:
    """Have both members work on a stream that lasts so long; they are stopped at the end."""
    journal = journal_of(stage, folder)
    topics = await asyncio.to_thread(Topics.on, stage, "steady")
    plan = Plan(0, terms)
    members = list(stage.members.values())[:2]
    with service(journal.path, plan) as port, Reader(stage.bootstrap, [topics.verdicts]) as outcomes:
        for member in members:
            member.service.upstream = ("127.0.0.1", port)
            member.prepare(folder, settings(terms, topics, jitter_seconds=_JITTER_SECONDS))
            member.start()
        await running(members)
        wanted = [plain(number, number / _EVENTS_PER_SECOND) for number in range(int(seconds * _EVENTS_PER_SECOND))]
        writing = asyncio.create_task(write(stage.bootstrap, topics.events, wanted))
        try:
            yield Steady(stage, journal, outcomes)
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            for member in members:
                await member.stop()


async def takeover(stage: Stage, terms: Terms, folder: Path, say: Callable[[str], None], *, tries: int = 10) -> bool:
    """Kill the active process, and stop it, so many times each; whether the standby wrote soon enough each time."""
    held = True
    async with steady(stage, terms, folder, 60.0 * tries) as bench:
        for how, limit in (("kill -9", KILL_SECONDS), ("SIGTERM", STOP_SECONDS)):
            took = []
            for _ in range(tries):
                await bench.settle()
                active, standby = bench.members()
                began = time.time()
                if how == "SIGTERM":
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(active.stop())
                        at = await bench.first_verdict(standby, began)
                else:
                    active.kill()
                    at = await bench.first_verdict(standby, began)
                took.append(at - began)
                say(f"{how} {active.name}: {standby.name} wrote its first verdict after {took[-1]:.2f} s")
                active.start()
            held = held and max(took) <= limit
            say(
                f"takeover after {how}: {min(took):.2f} to {max(took):.2f} s, median {statistics.median(took):.2f} s, "
                f"{len(took)} tries; at most {limit:g} s is promised{'' if max(took) <= limit else ': NOT held'}"
            )
    return held


async def frozen(stage: Stage, terms: Terms, folder: Path, say: Callable[[str], None], *, tries: int = 10) -> bool:
    """Freeze the active process beyond its session, and wake it, so many times; whether it called and wrote nothing."""
    calls, verdicts = 0, 0
    async with steady(stage, terms, folder, 60.0 * tries) as bench:
        for _ in range(tries):
            await bench.settle()
            active, standby = bench.members()
            began = time.time()
            active.freeze()
            at = await bench.first_verdict(standby, began)
            await asyncio.sleep(max(0.0, began + _FROZEN_SECONDS - time.time()))
            woke = time.time()
            active.wake()
            found = []
            while time.time() < woke + _WATCHED_SECONDS:
                found += await bench.verdicts(woke)
            theirs = sum(call.asked > woke and call.member == active.name for call in bench.journal.calls())
            written = sum(caller == active.name for _, caller in found)
            calls, verdicts = calls + theirs, verdicts + written
            say(
                f"{active.name} frozen for {woke - began:.1f} s, {standby.name} at work after {at - began:.1f} s; "
                f"{active.name} made {theirs} calls and wrote {written} verdicts in {_WATCHED_SECONDS:g} s after waking"
            )
    say(f"{tries} times frozen beyond the session: {calls} calls and {verdicts} verdicts after waking; 0 is promised")
    return calls == verdicts == 0
