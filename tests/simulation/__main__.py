"""`python -m tests.simulation --seeds 1-10000` plays many schedules; one that fails is shown, shrunk and replayable."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import Any, get_args

import click

from tests.simulation.audit import check
from tests.simulation.many import Totals, prepare, run_many
from tests.simulation.schedule import Guarantee, Ordering, Scale, What, draw
from tests.simulation.shrink import shrink


_EVERY = 1000


@click.command()
@click.option("--seeds", required=True, help="One seed, or a range such as 1-1000.")
@click.option("--mode", type=click.Choice(get_args(Guarantee)), help="Only this guarantee.")
@click.option("--scale", type=click.Choice(get_args(Scale)), help="Only this scale.")
@click.option("--order", type=click.Choice(get_args(Ordering)), help="Only this order.")
@click.option("--faults", help=f"Only these faults, by commas: {', '.join(get_args(What))}.")
@click.option("--naive", is_flag=True, help="Turn the right takeover order off.")
@click.option("--promise", help="Only schedules that break this promise fail, such as «exactly once».")
@click.option("--until-failure", is_flag=True, help="Stop at the first schedules that fail.")
@click.option("--traces", is_flag=True, help="Only print what tells one run from another, a line a seed.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True, help="How many schedules at a time.")
@click.option("--shrink/--no-shrink", "shrinks", default=True, help="Shrink the first schedule that fails.")
def main(
    seeds: str,
    mode: str | None,
    scale: str | None,
    order: str | None,
    faults: str | None,
    promise: str | None,
    processes: int,
    **flags: bool,
) -> None:
    """Play the schedules of some seeds, and audit each."""
    first, _, last = seeds.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    pinned: dict[str, Any] = {
        name: value for name, value in (("guarantee", mode), ("scale", scale), ("ordering", order)) if value is not None
    }
    if faults:
        pinned["faults"] = tuple(faults.split(","))
    if flags["traces"]:
        prepare(naive=flags["naive"])
        for seed in numbers:
            click.echo(check(draw(seed, **pinned)).trace)
        return
    began, said, totals = time.monotonic(), 0, Totals()
    for totals in run_many(numbers, processes=processes, naive=flags["naive"], promise=promise, **pinned):
        if totals.schedules - said >= _EVERY:
            said = totals.schedules
            click.echo(f"{totals}; {time.monotonic() - began:.0f} s")
        if totals.failed and flags["until_failure"]:
            break
    click.echo(f"{totals}; {time.monotonic() - began:.1f} s")
    if totals.failed:
        prepare(naive=flags["naive"])
        _show(totals, pinned, shrinks=flags["shrinks"])
        sys.exit(1)


def _show(totals: Totals, pinned: dict[str, Any], *, shrinks: bool) -> None:
    """The seeds that failed, how to replay the first, and the smallest schedule that fails as it does."""
    for seed, promises in sorted(totals.failed.items())[:20]:
        click.echo(f"  seed {seed}: {', '.join(promises)}")
    seed = min(totals.failed)
    words = sys.argv[1:]
    at = next(number for number, word in enumerate(words) if word.startswith("--seeds"))
    others = words[:at] + words[at + (1 if "=" in words[at] else 2) :]
    others = [word for word in others if word != "--until-failure"]
    click.echo(f"\nreplay it: python -m tests.simulation {shlex.join(['--seeds', str(seed), *others])}\n")
    report = check(draw(seed, **pinned))
    if shrinks:
        report = shrink(report, promise=totals.failed[seed][0])
        click.echo("the smallest schedule found that breaks the same promise:\n")
    click.echo(str(report))
    click.echo(f"\n{report.schedule!r}")


if __name__ == "__main__":
    main(prog_name="python -m tests.simulation")
