"""`moderation-consumer dead-letters replay`: the originals of dead letters, written back to be moderated once more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from consumer.cli.dead_letters_shared import Filter, filters, run_quietly
from consumer.cli.dead_letters_text import times
from consumer.cli.finite import Finite


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from consumer.engine.letters import Letter
    from consumer.kafka.letters import LetterReader, Replayer
    from consumer.settings import KafkaSettings


__all__ = ["replay"]


_TERMINAL_SECONDS = 0.2
_LINES_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be replayed, and how."""

    settings: KafkaSettings
    chosen: Filter
    limit: int | None
    to: str | None
    max_replays: int
    rate: float
    from_start: bool

    def target(self, letter: Letter) -> str:
        """The topic that the original goes to."""
        return self.to or letter.origin.topic

    def hindrance(self, letter: Letter | None) -> str:
        """Why a letter is not replayed; empty for one that is."""
        if letter is None:
            return "not ours"
        if not self.chosen.takes(letter):
            return "not chosen"
        if letter.truncated:
            return "truncated: a part of the original is missing"
        if letter.replays >= self.max_replays:
            return f"replayed {times(self.max_replays)} or more already"
        return ""


@dataclass(slots=True)
class _Sums:
    """How many letters went, or would go, to which topics, and why others did not."""

    gone: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @property
    def tried(self) -> int:
        return self.gone.total() + self.refused

    def lines(self, verb: str) -> list[str]:
        """What people are told of it."""
        where = ", ".join(f"{count} to {topic}" for topic, count in sorted(self.gone.items()))
        lines = [f"{verb} {where or 'none'}"]
        lines += [f"refused by the brokers {self.refused}"] * (self.refused > 0)
        return lines + [f"passed over {count}, {why}" for why, count in sorted(self.passed.items())]


@click.command("replay", short_help="write originals back to be moderated again")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@filters
@click.option("--to", metavar="TOPIC", help="Write all to this topic, not where they came from.")
@click.option(
    "--max-replays",
    default=3,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Pass over what was replayed so often.",
)
@click.option(
    "--rate",
    default=10.0,
    show_default=True,
    metavar="N",
    type=Finite(min=0, min_open=True),
    help="Records a second.",
)
@click.option("--from-start", is_flag=True, help="Go through all letters again.")
@click.option("--dry-run", is_flag=True, help="Only say what would go where.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
def replay(
    *,
    config: tuple[str, ...],
    chosen: Filter,
    limit: int | None,
    to: str | None,
    max_replays: int,
    rate: float,
    from_start: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Write originals back to where they came from. Each is a new event: judged, and billed, anew.

    Key, value, headers and partition are the original's, with the header moderation-replay-count on top. A later run
    goes on behind the last letter that this one came to, be it replayed or passed over, as the group GROUP.replay has
    it; with other filters, --from-start goes through all of them again.

    \b
    Example:
      moderation-consumer dead-letters replay --reason mapping --dry-run config.yaml
    """  # noqa: D301  # click's mark of preformatted text is the control character itself
    from consumer.cli.dead_letters_text import counted
    from consumer.settings import load_kafka

    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask on: say --yes to replay, or --dry-run to see what would go")
    settings = load_kafka(config, os.environ)
    if to == settings.output.dead_letters:
        raise click.UsageError(f"--to {to} is the topic of dead letters itself: name one that is read for moderation")
    job = _Job(settings, chosen, limit, to, max_replays, rate, from_start)
    plan = run_quietly(_plan(job, show=dry_run))
    for line in plan.lines("would replay" if dry_run else "to replay:"):
        click.echo(line)
    if not plan.gone:
        return 0
    for topic in sorted(plan.gone.keys() - set(settings.kafka.topics)):
        click.echo(f"note: {topic} is not in kafka.topics: nothing of it is moderated with this configuration")
    if plan.passed:
        click.echo("note: what is passed over stays behind: --from-start comes back to it")
    cost = "each is a new event, which is judged, and billed, anew"
    if dry_run:
        click.echo(f"note: {cost}")
        return 0
    if not yes:
        click.confirm(f"replay {counted(plan.gone.total(), 'letter')}? {cost}", abort=True)
    # What dies of the replay itself is not replayed by it.
    return run_quietly(_replay(replace(job, limit=plan.gone.total())))


async def _plan(job: _Job, *, show: bool) -> _Sums:
    """What would go where.

    Raises:
        StartError: a topic that something would go to does not exist.
    """
    from consumer.cli.dead_letters_text import line
    from consumer.errors import StartError
    from consumer.kafka.replay_progress import ReplayProgress

    sums = _Sums()
    async with _reader(job) as reader:
        progress = ReplayProgress(job.settings.kafka, reader)
        starts = dict(reader.begins) if job.from_start else await progress.resume()
        async with contextlib.aclosing(_letters(job, reader, starts, sums)) as letters:
            async for letter in letters:
                topic = job.target(letter)
                if not reader.partitions_of(topic):
                    raise StartError(
                        f"{letter.place} would go to {topic}, but there is no such topic",
                        "create it, choose another with --to, or pass over what came from it with --topic",
                    )
                sums.gone[topic] += 1
                if show:
                    click.echo(f"{line(letter)}  -> {topic}")
                if sums.tried == job.limit:
                    break
    return sums


async def _replay(job: _Job) -> int:
    """Write them one after the other, until all are written or somebody stops it.

    Returns:
        The exit code.

    Raises:
        Stuck: it cannot go on; what was written until then is recorded.
    """
    from consumer.errors import DeliveryRefused
    from consumer.kafka.letters import Replayer
    from consumer.kafka.replay_progress import ReplayProgress

    stop, sums, bar = _Stop(), _Sums(), _Bar(job.limit)
    settings = job.settings
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(_reader(job))
        progress = ReplayProgress(settings.kafka, reader)
        starts = dict(reader.begins) if job.from_start else await progress.resume()
        await progress.commit(starts)
        compression = settings.output.compression
        replayer = await stack.enter_async_context(Replayer(settings.kafka, reader, progress, compression=compression))
        due = time.monotonic()
        try:
            async with contextlib.aclosing(_letters(job, reader, starts, sums, replayer)) as letters:
                async for letter in letters:
                    if await stop.within(due - time.monotonic()):
                        break
                    due = max(due, time.monotonic()) + 1 / job.rate
                    try:
                        await replayer.write(letter, job.to)
                    except DeliveryRefused as error:
                        sums.refused += 1
                        click.echo(f"{letter.place}: {error}", err=True)
                    else:
                        sums.gone[job.target(letter)] += 1
                    bar.show(sums.tried)
                    if sums.tried == job.limit:
                        break
            await replayer.commit()
        finally:
            bar.end()
            for text in sums.lines("replayed"):
                click.echo(text)
    if stop.number:
        click.echo("stopped; the next run goes on behind these", err=True)
        return 128 + stop.number
    return os.EX_SOFTWARE if sums.refused else 0


async def _letters(
    job: _Job, reader: LetterReader, starts: dict[int, int], sums: _Sums, replayer: Replayer | None = None
) -> AsyncGenerator[Letter, None]:
    """The letters that are to go; those that are not are counted, and passed over."""
    from consumer.engine.letters import letter_of

    async with contextlib.aclosing(reader.records(starts)) as records:
        async for record in records:
            letter = letter_of(record)
            hindrance = job.hindrance(letter)
            if letter is not None and not hindrance:
                yield letter
                continue
            sums.passed[hindrance] += 1
            if replayer is not None:
                replayer.passed(record)


def _reader(job: _Job) -> LetterReader:
    from consumer.kafka.letters import LetterReader

    return LetterReader(job.settings.kafka, job.settings.output.dead_letters)


class _Stop:
    """Hears the first SIGINT or SIGTERM, and lets the letter at hand be finished; a second one ends it at once."""

    def __init__(self) -> None:
        self.number = 0
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop, number)

    async def within(self, seconds: float) -> bool:
        """Whether it is to stop, by the end of so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._event.wait()
        return self._event.is_set()

    def _stop(self, number: int) -> None:
        self.number = number
        self._event.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(each)


class _Bar:
    """How many are done, on standard error: in place on a terminal, else in a line now and then."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._in_place = sys.stderr.isatty()
        self._shown = time.monotonic()

    def show(self, done: int) -> None:
        """Show it, if it was not shown a moment ago."""
        now = time.monotonic()
        if done == self._total or now - self._shown >= (_TERMINAL_SECONDS if self._in_place else _LINES_SECONDS):
            self._shown = now
            click.echo(f"{chr(13) * self._in_place}{done} of {self._total}", err=True, nl=not self._in_place)

    def end(self) -> None:
        """Leave the line that was written in place."""
        if self._in_place:
            click.echo(err=True)
