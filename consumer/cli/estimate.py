"""`moderation-consumer estimate`: what records would cost, and how long they would take, without a call."""

from __future__ import annotations

import json
import os
import random
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from consumer.cli.dead_letters_shared import moment, run_quietly
from consumer.cli.progress import progress


if TYPE_CHECKING:
    from consumer.estimate.replay import Pace
    from consumer.estimate.result import Estimate


__all__ = ["command"]


class _Unreadable(click.ClickException):
    """What is to be estimated cannot be read."""

    exit_code = os.EX_DATAERR


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A part of a whole: `5%` or `0.05`."""
    if value is None:
        return None
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise click.BadParameter(f"{value!r} is no part of a whole; write it as 5% or 0.05", context, parameter)
    return share


@click.command(short_help="say what records would cost, without a call")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.option(
    "--file", type=click.File("rb", lazy=True), metavar="FILE", help="Read FILE, not the topics: a JSON record a line."
)
@click.option("--envelope", is_flag=True, help="Its lines are whole records, as kcat -J and rpk print them.")
@click.option("--from", "since", metavar="TIME", callback=moment, help="From this time on: 2026-01-31T08:00, in UTC.")
@click.option("--to", "until", metavar="TIME", callback=moment, help="Before this time.")
@click.option(
    "--pace",
    type=click.Choice(["backlog", "recorded"]),
    help="All at once, or by their timestamps.  [default: recorded, if all have one]",
)
@click.option("--replicas", type=click.IntRange(1, 1000), metavar="N", help="How many, where kafka.scale is share.")
@click.option("--risk", default="2%", metavar="SHARE", callback=_share, help="Of texts, found risky.  [default: 2%]")
@click.option(
    "--sample", metavar="SHARE", callback=_share, help="Replay only so much, such as 5%; by their timestamps."
)
@click.option("--seed", type=int, metavar="N", help="Of the sample; by chance if not given.")
@click.option("--savings/--no-savings", default=True, help="Try other settings, too.  [default: savings]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--svg", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Draw charts into FILE.")
def command(
    *,
    config: tuple[str, ...],
    file: IO[bytes] | None,
    envelope: bool,
    since: int | None,
    until: int | None,
    pace: Pace | None,
    replicas: int | None,
    risk: float,
    sample: float | None,
    seed: int | None,
    savings: bool,
    as_json: bool,
    svg: str | None,
) -> None:
    """Say what records would cost, how long they would take, and what each saving would bring.

    Mapping, routing, batching, caching and quotas run as they would, in virtual time. Nothing is sent to the service,
    and no credentials for it are needed. CONFIG is what `run` takes. The topics are read without joining a group.

    \b
    Examples:
      moderation-consumer estimate config.yaml --from 2026-01-30 --to 2026-01-31
      moderation-consumer estimate config.yaml --file records.jsonl.gz --svg cost.svg
    """  # noqa: D301  # the \b is click's sign to leave the lines below it as they are
    from consumer import logs
    from consumer.cli.invented import without_secrets
    from consumer.estimate import gathering
    from consumer.estimate.corpus import Corpus
    from consumer.estimate.estimating import estimate
    from consumer.estimate.reading import FileError
    from consumer.runtime import calm_collector
    from consumer.settings import load

    if file is None and envelope:
        raise click.UsageError("--envelope says how the lines of a --file are to be read")
    if sample == 0:
        raise click.UsageError("--sample takes a part of the records, such as 5%")
    with redirect_stdout(sys.stderr):  # a plugin may print whatever it likes
        settings = load(config, without_secrets(os.environ, kafka=file is None)).settings
    if replicas is not None and settings.kafka.scale != "share":
        raise click.UsageError("--replicas is for kafka.scale: share; else one works, however many there are")
    logs.configure(level="error", form="console")
    with Corpus() as corpus, redirect_stdout(sys.stderr):
        try:
            asked = gathering.Asked(since, until, sample, random.randrange(10**6) if seed is None else seed, pace)
            if file is None:
                gathered = run_quietly(gathering.from_topics(settings, corpus, asked, progress=progress))
            else:
                gathered = gathering.from_file(
                    file,
                    "standard input" if file.name in {"-", "<stdin>"} else file.name,
                    corpus,
                    asked,
                    topic=settings.kafka.topics[0],
                    envelope=envelope,
                    progress=progress,
                )
            about = gathering.about(gathered, settings, asked, replicas=replicas or 1, risk=risk)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except FileError as error:
            raise _Unreadable(str(error)) from error
        calm_collector()
        found = estimate(gathered.records, about, settings, savings=savings, progress=progress)
    _show(found, as_json=as_json, svg=svg)


def _show(estimate: Estimate, *, as_json: bool, svg: str | None) -> None:
    from consumer.estimate.report_json import as_dict
    from consumer.estimate.report_svg import draw
    from consumer.estimate.report_text import report

    if as_json:
        click.echo(json.dumps(as_dict(estimate), indent=2))
    else:
        for line in report(estimate):
            click.echo(line)
    if svg is not None:
        try:
            Path(svg).write_text(draw(estimate), encoding="utf-8")
        except OSError as error:
            raise click.FileError(svg, error.strerror) from error
