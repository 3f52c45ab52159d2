"""`moderation-consumer demo`: all of it at work on this machine, before your eyes."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path

import click

from consumer.cli.finite import Finite


__all__ = ["CONFIG", "EVENT", "command"]


CONFIG = Path("config/minimal.yaml")
EVENT = '{"id": "m-1", "text": "buy cocaine here"}'


@click.command(short_help="see it all work on this machine")
@click.option("--seconds", default=20.0, show_default=True, type=Finite(min=1), help="About how long it takes.")
@click.option("--forever", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--rate", default=55.0, show_default=True, type=Finite(min=0.1), help="Events a second, on average.")
@click.option("--seed", default=1, show_default=True, help="Of events, latency and faults.")
@click.option("--plain", is_flag=True, help="A line a second instead of the live view.")
def command(*, seconds: float, forever: bool, rate: float, seed: int, plain: bool) -> int:
    """See it all work: a Kafka, a moderation service and a busy platform, in this one process.

    Invented events in twelve languages are written to Kafka, judged by a simulated service under the account's limits,
    and their verdicts read back. At the end everything is counted on all sides: events against verdicts and dead
    letters, the service's ledger against the bills in the verdicts and the metrics. The exit code is 0 if it all adds
    up, else 1. More events than the quota allows take longer to be judged.

    Ctrl-C ends it when the events so far are judged; a second one leaves them.

    \b
    Example:
      moderation-consumer demo --forever --rate 40
    """  # noqa: D301  # click's mark of preformatted text is the control character itself
    from consumer.errors import StartError

    try:
        from rich.console import Console
    except ImportError as error:
        raise StartError(
            "the view needs rich, which is not installed", "pip install 'moderation-consumer[demo]'"
        ) from error

    from consumer.demo.show import Options, show
    from consumer.runtime import calm_collector, new_event_loop

    if isinstance(sys.stdout, io.TextIOWrapper):
        # The invented users write in scripts that a terminal may have no encoding for.
        sys.stdout.reconfigure(errors="replace")
    options = Options(seconds=None if forever else seconds, rate=rate, seed=seed, plain=plain)
    calm_collector()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(show(options, Console()))
    if CONFIG.is_file():
        click.echo("\nNow an event of your own, judged by the same simulator:\n")
        click.echo(f"  {_program()} explain {CONFIG} '{EVENT}' --verdict\n")
    return code


def _program() -> str:
    """How this program is called from here: by its script, which stands beside the interpreter."""
    script = Path(sys.executable).with_name("moderation-consumer")
    return os.path.relpath(script) if script.is_file() and Path(sys.prefix) != Path(sys.base_prefix) else script.name
