"""A great many events through exactly_once with key order, while all members are restarted one by one all the time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from chaos.events import plain
from chaos.history import Happening, History
from chaos.malformed import fill
from chaos.reading import Reader
from chaos.run import Plan, Topics, finished, gathered, inputs_of, journal_of, running, service, settings


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaos.events import Posted
    from chaos.history import Terms
    from chaos.stage import Stage


__all__ = ["rolling"]


_EVERY_SECONDS = 60.0
_LATENCY_MS = "20"


async def rolling(stage: Stage, terms: Terms, folder: Path, say: Callable[[str], None], *, count: int) -> History:
    """Have so many events worked off by three members, restarted in turn every minute, and return the history."""
    began = time.time()
    journal = journal_of(stage, folder)
    topics = await asyncio.to_thread(Topics.on, stage, "rolling")
    await asyncio.to_thread(fill, stage.bootstrap, topics.events, count, _record)
    inputs = await asyncio.to_thread(inputs_of, stage, topics, _posted)
    say(f"{len(inputs)} events written")
    happened: list[Happening] = []
    members = list(stage.members.values())
    with (
        service(journal.path, Plan(0, terms, latency_ms=_LATENCY_MS)) as port,
        Reader(stage.bootstrap, [topics.verdicts, topics.letters]) as outcomes,
    ):
        for member in members:
            member.service.upstream = ("127.0.0.1", port)
            member.prepare(folder, settings(terms, topics), bootstrap=stage.bootstrap)
            member.start()
        await running(members)
        restarting = asyncio.create_task(_restart(stage, happened, say))
        found = await finished(outcomes, inputs, terms, say)
        restarting.cancel()
        await asyncio.wait([restarting])
        for member in members:
            await member.stop()
        found += await asyncio.to_thread(outcomes.read_all)
    say(f"all stopped after {time.time() - began:.0f} s")
    known = History(terms, began, inputs, happenings=tuple(happened))
    return await asyncio.to_thread(gathered, stage, topics, journal, known, found)


async def _restart(stage: Stage, happened: list[Happening], say: Callable[[str], None]) -> None:
    """Restart one member after the other, every minute, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        for member in stage.members.values():
            began = time.time()
            await member.stop()
            member.start()
            await running([member])
            happened.append(Happening("stop", member.name, began, time.time()))
        say(f"{len(happened)} restarts")


def _posted(number: int) -> Posted:
    return plain(number, 0.0)


def _record(number: int) -> tuple[bytes, bytes | None]:
    one = _posted(number)
    return one.value or b"", one.key
