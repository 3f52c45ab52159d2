"""`moderation-consumer bench`: how fast this machine is with a configuration, in less than a minute."""

from __future__ import annotations

import asyncio
import os
from itertools import islice
from typing import IO, TYPE_CHECKING

import click


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.rehearsal.measuring import Measured
    from consumer.settings import Settings


__all__ = ["command"]


# What the embedded broker keeps of one partition: 5 MiB, and there are four; verdicts need room, too.
_MOST_EVENTS = 20_000
_MOST_BYTES = 15 * 1_048_576


class _NothingJudged(click.ClickException):
    """There is nothing to measure: no event had a verdict."""

    exit_code = os.EX_DATAERR


@click.command(short_help="measure how fast this machine is with a configuration")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.option(
    "--events",
    default=5000,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, _MOST_EVENTS),
    help="How many; at most 20000.",
)
@click.option("--file", type=click.File("rb"), metavar="FILE", help="Take them from FILE, a JSON record a line.")
@click.option("--latency-ms", default="60~0.3", show_default=True, help="Of the service: 50, 20-80, or log-normal.")
@click.option("--quotas", is_flag=True, help="Keep to the configured quotas, as `run` does.")
@click.option("--seed", default=1, show_default=True, metavar="N", help="Of the invented events.")
def command(
    *, config: tuple[str, ...], events: int, file: IO[bytes] | None, latency_ms: str, quotas: bool, seed: int
) -> int:
    """Measure how fast this machine is with a configuration, and what its events cost.

    The consumer runs as it is configured, on a Kafka in this process and with a simulator beside it, so that no
    broker, no account and no secrets are needed. Events are invented in the shape that the mapping reads. CONFIG is
    what `run` takes. The exit code is 1 if not all events came through, and 65 if none of them was judged.

    \b
    Examples:
      moderation-consumer bench config.yaml
      moderation-consumer bench config.yaml --file records.jsonl --latency-ms 200
    """  # noqa: D301  # the \b is click's sign to leave the lines below it as they are
    import logging

    from consumer import logs
    from consumer.cli.invented import without_secrets
    from consumer.cli.progress import progress
    from consumer.rehearsal.measuring import measure
    from consumer.rehearsal.synthetic import NotInvertible, left_out, synthetic
    from consumer.runtime import calm_collector, new_event_loop
    from consumer.settings import load
    from consumer.simulator import Latency

    try:
        Latency.parse(latency_ms)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    loaded = load(config, without_secrets(os.environ))
    try:
        source = synthetic(loaded.settings, seed=seed) if file is None else _lines(file)
    except NotInvertible as error:
        raise click.UsageError(f"{error}, so no events can be invented: give records of yours with --file") from error
    records = list(islice(source, events))
    if not records:
        raise click.UsageError("there is no record in the file")
    size_bytes = sum(len(value) for _, value in records)
    if size_bytes > _MOST_BYTES:
        fits = len(records) * _MOST_BYTES // size_bytes
        raise click.UsageError(f"{size_bytes >> 20} MiB are more than the broker keeps; try --events {fits}")
    logs.configure(level="error", form="console")
    # The client complains for a moment while the broker in this process learns of new topics.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    calm_collector()
    with progress("moderating", len(records)) as tell, asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(measure(loaded, records, latency_ms=latency_ms, quotas=quotas, tell=tell))
    if not found.routes and found.done == found.asked:
        raise _NothingJudged(_nothing_judged(found, None if file is None or file.name == "<stdin>" else file.name))
    if file is None and (missing := left_out(loaded.settings)):
        click.echo(f"note: the invented events have no {', '.join(missing)}, which the mapping has expressions for")
    for line in _report(found, loaded.settings, latency_ms, quotas=quotas):
        click.echo(line)
    return 0 if found.done == found.asked else 1


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes | None, bytes]]:
    return ((None, line.rstrip(b"\r\n")) for line in file if line.strip())


def _nothing_judged(found: Measured, file: str | None) -> str:
    """What became of the events instead, and how to see why."""
    letters = sum(found.dead_letters.values())
    parts = [f"{letters:,} became dead letters ({_counted(found.dead_letters)})"] if letters else []
    parts += [f"{found.done - letters:,} were skipped"] if found.done > letters else []
    way = f"`check --sample {file}`" if file else "`explain` with a record of yours"
    return f"nothing was judged: of {found.asked:,} events {' and '.join(parts)}; {way} says why"


def _counted(dead_letters: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in sorted(dead_letters.items()))


def _report(found: Measured, settings: Settings, latency_ms: str, *, quotas: bool) -> Iterator[str]:
    rate, cpu_us = found.done / found.seconds, found.cpu_seconds / max(1, found.done) * 1e6
    yield (
        f"{found.done:,} of {found.asked:,} events in {found.seconds:.1f} s: {rate:,.0f} events/s,"
        f" {cpu_us:.0f} µs of CPU each"
    )
    if found.holding:
        yield f"it holds: {found.holding}"
    yield (
        f"(a service that answers after {latency_ms} ms, {settings.delivery.max_in_flight} in flight,"
        f" {'your' if quotas else 'no'} quotas; a Kafka in this process, whose CPU is counted)"
    )
    rows = [("route", "events", "requests", "units", "cost", "p50 ms", "p99 ms")]
    rows += [
        (
            name,
            f"{one.events:,}",
            f"{one.requests:,}",
            f"{one.units:,}",
            " + ".join(f"{cost:.2f} {currency}" for currency, cost in sorted(one.cost.items())) or "nothing",
            f"{one.latency_ms(0.5):.0f}",
            f"{one.latency_ms(0.99):.0f}",
        )
        for name, one in sorted(found.routes.items())
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *rest))
    yield f"verdicts by source: {', '.join(f'{name} {count:,}' for name, count in sorted(found.sources.items()))}"
    if found.dead_letters:
        yield f"dead letters: {_counted(found.dead_letters)}"
    allowed = found.allowed_per_second(settings)
    if allowed:
        quota = min(allowed, key=allowed.__getitem__)
        yield f"your quota of {quota} calls lets {allowed[quota]:,.0f} events like these through in a second"
