"""`moderation-consumer check`: what a configuration does, and on request whether the world outside fits it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click


if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from consumer.cli.check_connect import Finding
    from consumer.settings import Loaded, Settings


__all__ = ["command"]


@click.command(short_help="say what a configuration does, and whether it can work")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.option(
    "--connect",
    is_flag=True,
    help="Also try the broker, every topic, the schema registry, and one signed call (one short text, billed).",
)
@click.option(
    "--sample",
    type=click.File("rb"),
    metavar="FILE",
    help="Map and route the JSON record in FILE, or one in each line; - reads standard input.",
)
@click.option("--origins", is_flag=True, help="Print every value and where it comes from; secrets are hidden.")
@click.pass_context
def command(
    context: click.Context,
    *,
    config: tuple[str, ...],
    connect: bool,
    sample: BinaryIO | None,
    origins: bool,
) -> None:
    """Say what a configuration does, without connecting to anything unless told to.

    CONFIG is one or more YAML files, or $MODERATION_CONFIG; later files and MODERATION__ variables win.

    \b
    Examples:
      moderation-consumer check config/minimal.yaml
      moderation-consumer check config/minimal.yaml --sample record.json
      moderation-consumer check config/minimal.yaml --connect
    """  # noqa: D301  # the \\b is click's sign to leave the lines below it as they are
    from consumer.settings import load

    loaded = load(config, os.environ)
    click.echo("settings: ok")
    _outline(loaded.settings)
    if origins:
        _origins(loaded)
    good = _samples(loaded.settings, sample.read()) if sample is not None else True
    good = (_connect(loaded.settings) if connect else _libraries(loaded.settings)) and good
    context.exit(0 if good else os.EX_UNAVAILABLE)


def _outline(settings: Settings) -> None:
    from consumer.building import routes
    from consumer.cli.check_routes import outlook
    from consumer.rehearsal.explaining import phrase

    _list(
        f"routes ({'configured' if settings.routes else 'built in'})",
        ((route.name, f"{phrase(route.when)} -> {', '.join(route.services)}") for route in routes(settings)),
    )
    prospect = outlook(settings)
    _list("events", ((kind, ", ".join(names) or "no route") for kind, names in prospect.by_kind.items()))
    own = settings.output.topics
    _list(
        "topics",
        (
            ("read", ", ".join(settings.kafka.topics)),
            *((action, own.get(action, settings.output.topic)) for action in ("pass", "review", "block")),
            ("dead letters", settings.output.dead_letters),
        ),
    )
    for note in prospect.notes:
        click.echo(f"note: {note}")


def _origins(loaded: Loaded) -> None:
    from consumer.settings import values

    _list("values", ((value.key, f"{value.shown}  ({value.origin})") for value in values(loaded)))


def _samples(settings: Settings, content: bytes) -> bool:
    from consumer.cli.check_sample import samples

    good = True
    for sample in samples(settings, content):
        if sample.error is None:
            click.echo(f"sample {sample.name}: ok")
        else:
            good = False
            reason = f"{sample.error.stage}/{sample.error.reason}"
            click.echo(f"sample {sample.name}: FAILED, a dead letter ({reason}): {sample.error}")
        for line in sample.lines:
            click.echo(f"  {line}")
    return good


def _libraries(settings: Settings) -> bool:
    """Whether what the formats of records need is installed; who connects is told of it with the registry."""
    from consumer.cli.check_connect import Finding
    from consumer.errors import StartError
    from consumer.intake.formats import compilers_for

    try:
        compilers_for(settings.format)
    except StartError as error:
        _findings([Finding("format", ok=False, said=str(error), remedy=error.remedy)])
        return False
    return True


def _connect(settings: Settings) -> bool:
    import asyncio
    import logging

    from consumer.cli.check_connect import connect, list_topics, rights, signed_call, topic_configs
    from consumer.cli.check_registry import try_registry

    # The client's log says at length what each finding says in a line.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    findings = asyncio.run(
        connect(
            settings,
            topics=list_topics,
            configs=topic_configs,
            call=signed_call,
            rights=rights,
            registry=try_registry,
        )
    )
    _findings(findings)
    return all(finding.ok for finding in findings)


def _findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        click.echo(f"{finding.name}: {finding.word}: {finding.said}")
        if finding.remedy:
            click.echo(f"  {finding.remedy}")


def _list(title: str, rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    click.echo(f"{title}:")
    for name, text in rows:
        click.echo(f"  {name.ljust(width)}  {text}")
