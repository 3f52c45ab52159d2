"""`moderation-consumer dead-letters`: what could not be moderated, and moderating it once more."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING

import click

from consumer.cli.dead_letters_replay import replay
from consumer.cli.dead_letters_shared import Filter, filters, run_quietly


if TYPE_CHECKING:
    from typing import BinaryIO

    from consumer.settings import KafkaSettings


__all__ = ["command"]


class _Missing(click.ClickException):
    """What was asked for is not there."""

    exit_code = os.EX_UNAVAILABLE


def _place(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    """Where a letter lies in its topic: its partition and offset."""
    partition, _, offset = value.partition("@")
    if not all(number.isascii() and number.isdigit() for number in (partition, offset)):
        said = f"{value!r} is no place of a letter; write it as list does, such as 3@1042"
        raise click.BadParameter(said, context, parameter)
    return int(partition), int(offset)


@click.group(short_help="records that could not be moderated")
def command() -> None:
    """Look at records that could not be moderated, and have them moderated once more.

    A dead letter is the original record, byte for byte, with headers that say what failed and where it came from.

    \b
    Example:
      moderation-consumer dead-letters list --summary config.yaml
      moderation-consumer dead-letters show 3@1042 config.yaml
      moderation-consumer dead-letters replay --reason mapping --dry-run config.yaml
    """  # noqa: D301  # click's mark of preformatted text is the control character itself


command.add_command(replay)


@command.command("list", short_help="a line for each, or counts")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@filters
@click.option("--summary", is_flag=True, help="Only count them, by stage and reason.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object in each line.")
def list_letters(*, config: tuple[str, ...], limit: int | None, chosen: Filter, summary: bool, as_json: bool) -> None:
    """List dead letters, oldest first, without anything of their content.

    A line has the letter's partition@offset and time, the record it was, stage/reason, and the error. CONFIG is what
    `run` takes; of it only the sections kafka and output are read.

    \b
    Example:
      moderation-consumer dead-letters list --stage map --since 2026-01-31 config.yaml
    """  # noqa: D301  # as above
    from consumer.settings import load_kafka

    run_quietly(_list(load_kafka(config, os.environ), chosen, limit, summary=summary, as_json=as_json))


@command.command("show", short_help="everything of one of them")
@click.argument("letter", callback=_place, metavar="PARTITION@OFFSET")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.option("--raw", type=click.File("wb"), metavar="FILE", help="Write the value's bytes to FILE, - for the output.")
def show(*, letter: tuple[int, int], config: tuple[str, ...], raw: BinaryIO | None) -> None:
    """Show everything of one dead letter: what failed, key, headers, and the value.

    The value is the user's content. It is shown as text if it is UTF-8, else in hexadecimal digits.

    \b
    Example:
      moderation-consumer dead-letters show 3@1042 --raw record.json config.yaml
    """  # noqa: D301  # as above
    from consumer.settings import load_kafka

    run_quietly(_show(load_kafka(config, os.environ), *letter, raw=raw))


async def _list(settings: KafkaSettings, chosen: Filter, limit: int | None, *, summary: bool, as_json: bool) -> None:
    from consumer.cli import dead_letters_text as text
    from consumer.engine.letters import letter_of
    from consumer.kafka.letters import LetterReader

    counts: Counter[tuple[str, str]] = Counter()
    foreign = 0
    async with (
        LetterReader(settings.kafka, settings.output.dead_letters) as reader,
        contextlib.aclosing(reader.records()) as records,
    ):
        async for record in records:
            letter = letter_of(record)
            if letter is None:
                foreign += 1
            elif chosen.takes(letter):
                counts[letter.notes.get("stage", "unknown"), letter.notes.get("reason", "unknown")] += 1
                if not summary:
                    click.echo(text.as_json(letter) if as_json else text.line(letter))
                if counts.total() == limit:
                    break
    if summary:
        for (stage, reason), count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
            counted = {"stage": stage, "reason": reason, "count": count}
            click.echo(json.dumps(counted) if as_json else f"{count:>9}  {text.printable(f'{stage}/{reason}')}")
    if not counts:
        click.echo(f"no such dead letter in {settings.output.dead_letters}", err=True)
    if foreign:
        click.echo(f"not ours in {settings.output.dead_letters}: {text.counted(foreign, 'record')}", err=True)


async def _show(settings: KafkaSettings, partition: int, offset: int, *, raw: BinaryIO | None) -> None:
    from consumer.cli import dead_letters_text as text
    from consumer.engine.letters import letter_of
    from consumer.kafka.letters import LetterReader

    topic = settings.output.dead_letters
    async with LetterReader(settings.kafka, topic) as reader:
        record = await reader.read(partition, offset)
        if record is None:
            first, end = reader.begins.get(partition), reader.ends.get(partition)
            there = "has no such partition" if first is None else f"holds offsets from {first} to {end} there, not this"
            raise _Missing(
                f"no letter at {partition}@{offset}: {topic} {there}; `dead-letters list` shows what there is"
            )
    letter = letter_of(record)
    value = record.value if letter is None else letter.value
    if raw is not None:
        raw.write(value or b"")
        raw.flush()  # what comes next says that it is written
        click.echo(
            f"{'null, so nothing' if value is None else text.counted(len(value), 'byte')} written to {raw.name}",
            err=True,
        )
        return
    for row in text.full(record):
        click.echo(row)
    if value:
        click.echo(f"\n{text.value_lines(value)}")
