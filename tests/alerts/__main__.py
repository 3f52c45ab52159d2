"""Every alert on the running product, and a healthy hour beside it: `python -m tests.alerts`, `--hours 2` for more."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import click

from consumer import logs
from tests.alerts.playing import FACTOR, played
from tests.alerts.rules import alerts
from tests.alerts.scenarios import SCENARIOS


# What takes its time whatever the factor: starts, and the group's first assignment.
_START_SECONDS = 20.0
_SLOW_MACHINE_SECONDS = 60.0


def main() -> int:
    """Play, and print what fired; 1 when something is missing or unexpected."""
    parser = argparse.ArgumentParser(prog="python -m tests.alerts", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long all is healthy, by the clock of the rules")
    hours = parser.parse_args().hours
    logs.configure(level="critical", form="console")
    least = hours * 3600 / FACTOR + _START_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        played_out = played(Path(folder), seconds=least + _SLOW_MACHINE_SECONDS, at_least_seconds=least)
        outcome = asyncio.run(played_out)
    for scenario in SCENARIOS:
        fired = outcome.fired[scenario.job]
        words = (f"{name.removeprefix('Moderation')} after {fired[name]:.0f} s" for name in sorted(fired))
        click.echo(f"{scenario.job:<16} {', '.join(words) or 'silent'}")
    missing, unexpected = outcome.missing(SCENARIOS), outcome.unexpected(SCENARIOS)
    names = {alert.name for alert in alerts()}
    seen = {name for fired in outcome.fired.values() for name in fired}
    click.echo(
        f"\n{len(seen)} of {len(names)} alerts fired in {least:.0f} s, {FACTOR} times faster than they are shipped"
    )
    click.echo(f"the others need a secured Kafka, see tests/alerts/test_fires.py: {', '.join(sorted(names - seen))}")
    for text in (*(f"did not fire: {one}" for one in missing), *(f"should not fire: {one}" for one in unexpected)):
        click.echo(text)
    for name in outcome.unanswered:
        click.echo(f"no answer to the first query of the runbook of {name}")
    return bool(missing or unexpected or outcome.unanswered)


if __name__ == "__main__":
    sys.exit(main())
