"""The consumer with bugs of its own: errors that hold what was planted are raised in every place that can raise one."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

from consumer import cli
from consumer.app import App
from consumer.moderation.judge import ServiceJudge


if TYPE_CHECKING:
    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.routing import Route
    from consumer.verdict import Judgement


__all__: list[str] = []


PLANT = os.environ["PLANTED_IN_ERRORS"]

judge = ServiceJudge.judge
run = App.run


async def judge_badly(self: ServiceJudge, event: Event, route: Route, claim: Claim) -> Judgement:
    if event.text.startswith("BUG"):
        try:
            fail_at_once()
        except ValueError as error:
            raise KeyError(event.text) from error
    return await judge(self, event, route, claim)


class Careless:
    def __del__(self) -> None:
        raise ValueError(PLANT)


async def fail() -> None:
    raise ValueError(PLANT)


def fail_at_once() -> None:
    raise ValueError(PLANT)


def shout() -> None:
    """Lines of other people's code, with what was planted where they have their values."""
    for name in ("aiohttp.server", "opentelemetry.sdk", "urllib3.connectionpool", "asyncio"):
        try:
            fail_at_once()
        except ValueError:
            logging.getLogger(name).exception("trouble with %s\nand %s", 1, PLANT) if name == "asyncio" else (
                logging.getLogger(name).exception("trouble with %s", PLANT)
            )


async def run_badly(self: App, stop: asyncio.Event) -> None:
    async def trouble() -> None:
        await asyncio.sleep(1)
        asyncio.get_running_loop().create_task(fail())
        threading.Thread(target=fail_at_once).start()
        Careless()
        warnings.warn(PLANT, stacklevel=1)
        shout()

    troubles = asyncio.create_task(trouble())
    await run(self, stop)
    await troubles
    if os.environ.get("PLANTED_AT_THE_END"):
        raise KeyError(PLANT)


def main(arguments: Any = None) -> None:
    """Run the command line with all of it."""
    ServiceJudge.judge = judge_badly  # type: ignore[method-assign]  # the bug
    App.run = run_badly  # type: ignore[method-assign]  # the bugs around it
    cli.main(arguments)


if __name__ == "__main__":
    main()
