"""What the commands about dead letters share: the options that choose letters, and how a command is run."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from consumer.engine.letters import Letter


__all__ = ["STAGES", "Filter", "filters", "moment", "run_quietly"]


STAGES = ("decode", "map", "route", "moderate", "deliver", "record")
"""Where a record can fail; the last one stands for a fault of this program."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a letter has to be; what is empty or None takes every letter. Times are milliseconds since the epoch."""

    stages: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    key: str | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.stages or letter.notes.get("stage") in self.stages)
            and (not self.reasons or letter.notes.get("reason") in self.reasons)
            and (not self.topics or letter.origin.topic in self.topics)
            and (self.key is None or letter.record.key == self.key.encode(errors="surrogateescape"))
            and (self.since is None or letter.record.timestamp >= self.since)
            and (self.until is None or letter.record.timestamp < self.until)
        )


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A day or a time, in UTC unless it says otherwise, as milliseconds since the epoch."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        said = f"{value!r} is no time; write it as 2026-01-31 or 2026-01-31T08:00"
        raise click.BadParameter(said, context, parameter) from error
    return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def filters(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that choose letters; it gets them as `chosen`, a Filter, and `limit`."""

    @click.option(
        "--stage",
        multiple=True,
        metavar="STAGE",
        type=click.Choice(STAGES),
        help=f"Where it failed: {', '.join(STAGES)}.",
    )
    @click.option("--reason", multiple=True, help="Why it failed, as list has it behind the stage.")
    @click.option("--topic", multiple=True, help="The topic that the original came from.")
    @click.option("--key", help="The original's key, as text.")
    @click.option(
        "--since", metavar="TIME", callback=moment, help="From this time on: 2026-01-31 or 2026-01-31T08:00, in UTC."
    )
    @click.option("--until", metavar="TIME", callback=moment, help="Before this time.")
    @click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N of them.")
    @functools.wraps(command)
    def with_filter(
        *,
        stage: tuple[str, ...],
        reason: tuple[str, ...],
        topic: tuple[str, ...],
        key: str | None,
        since: int | None,
        until: int | None,
        **others: Any,
    ) -> T:
        return command(chosen=Filter(stage, reason, topic, key, since, until), **others)

    return with_filter


def run_quietly(main: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end. The Kafka client's log says at length what our errors say in a line: it is left out."""
    import asyncio
    import logging

    from consumer.runtime import new_event_loop

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
