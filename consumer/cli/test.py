"""`moderation-consumer test`: the cases that stand beside a configuration, tried in memory."""

from __future__ import annotations

import os
import sys
import time
from contextlib import redirect_stdout
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.rehearsal.junit import Tried
    from consumer.rehearsal.reading import Planned
    from consumer.settings import Settings


__all__ = ["command"]


_COLOURS = {"-": "red", "+": "green"}


@click.command(short_help="try the cases that stand beside a configuration")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.option("--tests", multiple=True, metavar="FILE", help="The cases.  [default: config.tests.yaml of config.yaml]")
@click.option("--only", multiple=True, metavar="NAME", help="Only the case of this name; * stands for anything.")
@click.option("--junit", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Also write JUnit's XML.")
def command(*, config: tuple[str, ...], tests: tuple[str, ...], only: tuple[str, ...], junit: str | None) -> int:
    """Try the cases that stand beside a configuration: records in, and what is to become of them.

    Each case goes all the way through mapping, routes, calls and policy, with the simulator in the place of the
    service, in memory and in virtual time. No broker, no account and no secrets are needed. CONFIG is what `run`
    takes. The exit code is 1 if a case fails, and 78 if the cases or the configuration cannot be used.

    \b
    Examples:
      moderation-consumer test config.yaml
      moderation-consumer test config.yaml --only 'spam*' --junit results.xml
    """  # noqa: D301  # the \b is click's sign to leave the lines below it as they are
    from consumer.cli.invented import without_secrets
    from consumer.errors import SettingsError
    from consumer.rehearsal.reading import beside, read_cases
    from consumer.settings import load

    with redirect_stdout(sys.stderr):  # a plugin may print whatever it likes
        settings = load(config, without_secrets(os.environ)).settings
    names = config or tuple(name for name in [os.environ.get("MODERATION_CONFIG")] if name)
    if not tests and not names:
        raise click.UsageError("there is no configuration that cases could stand beside: name it, or say --tests FILE")
    files = [Path(name) for name in tests] or [beside(names[-1])]
    if not tests and not files[0].exists():
        raise click.UsageError(f"there are no cases: {files[0]} does not exist; docs/testing.md shows how to write it")
    try:
        planned = [(file, case) for file in files for case in read_cases(file, settings)]
    except SettingsError as error:
        click.echo("the cases are not usable:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        return os.EX_CONFIG
    chosen = _chosen([case for _, case in planned], only)
    _quieten()
    tried = [_try(settings, case) for case in chosen]
    failed = sum(bool(one.differing) for one in tried)
    seconds = sum(one.seconds for one in tried)
    click.echo(f"{len(tried) - failed} passed, {failed} failed in {seconds:.2f} s")
    if junit is not None:
        _write(junit, ", ".join(map(str, files)), tried)
    return 1 if failed else 0


def _chosen(planned: Sequence[Planned], only: Sequence[str]) -> list[Planned]:
    from consumer.settings.words import meant

    for name in only:
        if not any(name == case.name or fnmatchcase(case.name, name) for case in planned):
            hint = meant(name, [case.name for case in planned])
            raise click.UsageError(f"there is no case {name!r}{hint}")
    return [
        case for case in planned if not only or any(name == case.name or fnmatchcase(case.name, name) for name in only)
    ]


def _quieten() -> None:
    """Say nothing of what is told at the end, such as a hold."""
    import logging

    from consumer import logs

    logs.configure(level="error", form="console")
    logging.getLogger("consumer.moderation.calling.hold").setLevel(logging.CRITICAL)


def _try(settings: Settings, case: Planned) -> Tried:
    from consumer.rehearsal.comparing import difference, summary
    from consumer.rehearsal.junit import Differing, Tried
    from consumer.rehearsal.stage import rehearse_all

    began = time.perf_counter()
    with redirect_stdout(sys.stderr):
        endings = rehearse_all(settings, [step.arrival for step in case.steps], case.rules)
    differing = [
        Differing(step.heading, lines, summary(ending))
        for step, ending in zip(case.steps, endings, strict=True)
        if (lines := difference(step.expected, ending))
    ]
    tried = Tried(case.name, case.place, time.perf_counter() - began, differing)
    if not differing:
        click.echo(f"{click.style('ok', fg='green')}    {case.name}")
        return tried
    click.echo(f"{click.style('FAIL', fg='red', bold=True)}  {case.name}  ({case.place})")
    for record in differing:
        if record.heading:
            click.echo(f"      {record.heading}")
        for line in record.lines:
            click.echo(f"        {click.style(line, fg=_COLOURS.get(line[0]))}")
        click.echo(f"      - expected, + found; {record.summary}")
    return tried


def _write(path: str, suite: str, tried: Sequence[Tried]) -> None:
    from consumer.rehearsal.junit import as_junit

    try:
        Path(path).write_text(as_junit(suite, tried), encoding="utf-8")
    except OSError as error:
        raise click.FileError(path, error.strerror) from error
