"""`moderation-consumer simulate`: a Content Moderation 2.0 on this machine."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click


if TYPE_CHECKING:
    from consumer.simulator import SimulatorSettings
    from consumer.simulator.ledger import Ledger


__all__ = ["command"]


@click.command(short_help="a Content Moderation 2.0 on this machine")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8099, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option(
    "--latency-ms", default="60~0.3", show_default=True, help="50 (constant), 20-80 (uniform) or 60~0.3 (log-normal)."
)
@click.option(
    "--text-per-second", default=50, show_default=True, type=click.IntRange(min=0), help="Text quota; 0 for none."
)
@click.option(
    "--image-per-second", default=100, show_default=True, type=click.IntRange(min=0), help="Image quota; 0 for none."
)
@click.option("--access-key-id", default="testid", show_default=True, help="The AccessKey it knows.")
@click.option("--access-key-secret", default="testsecret", help="The AccessKey's secret.  [default: testsecret]")
@click.option("--security-token", default=None, help="The token that must come with it (STS credentials).")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Check signature, date and nonce.")
@click.option(
    "--dialect",
    default="sdk",
    show_default=True,
    type=click.Choice(["sdk", "seed"]),
    help="Spell answers as the official SDK reads them, or as the vendor's pages write them.",
)
@click.option("--seed", default=0, show_default=True, help="Of the dice for faults and latency.")
@click.option("--fault", "faults", multiple=True, help="Something that goes wrong, such as code=588,share=0.1.")
def command(
    *,
    host: str,
    port: int,
    latency_ms: str,
    text_per_second: int,
    image_per_second: int,
    access_key_id: str,
    access_key_secret: str,
    security_token: str | None,
    verify: bool,
    dialect: str,
    seed: int,
    faults: tuple[str, ...],
) -> None:
    """Run a Content Moderation 2.0 on this machine, until a SIGTERM or SIGINT; it prints its ledger at the end.

    It checks signatures, quotas and parameters, gives verdicts by a word list and by image URLs, and keeps a ledger.

    \b
    Faults (--fault, more than once, or POST /faults while it runs):
      code=588 code=408 code=Throttling.User        answered with this code
      http_500 http_502 reset hang                  not judged
      reset_billed garbage truncated slow           judged, billed, and lost or late
      no_risk_level odd_risk_level                  judged, billed, of no use
    with options, such as: code=500,share=0.1  reset_billed,count=3,service=baselineCheck_global

    \b
    Example:
      moderation-consumer simulate --latency-ms 20-80 --fault code=588,share=0.05
    """  # noqa: D301  # click's mark of preformatted text is the control character itself
    from consumer.runtime import new_event_loop
    from consumer.simulator import Fault, Latency, SimulatorSettings

    try:
        settings = SimulatorSettings(
            host=host,
            port=port,
            access_key_id=access_key_id,
            access_key_secret=access_key_secret,
            security_token=security_token,
            verify=verify,
            text_per_second=text_per_second or None,
            image_per_second=image_per_second or None,
            dialect="seed" if dialect == "seed" else "sdk",
            latency=Latency.parse(latency_ms),
            faults=tuple(Fault.parse(fault) for fault in faults),
            seed=seed,
        )
    except ValueError as problem:
        raise click.UsageError(str(problem)) from problem
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: SimulatorSettings) -> None:
    """Run until a signal comes."""
    from consumer.simulator import Simulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulator = Simulator(settings)
    try:
        await simulator.start()
    except OSError as problem:
        address = f"{settings.host}:{settings.port}"
        raise click.ClickException(f"cannot listen on {address}: {problem.strerror}") from problem
    try:
        click.echo(_greeting(simulator.url, settings))
        await stop.wait()
    finally:
        await simulator.stop()
    click.echo(_bill(simulator.ledger))


def _greeting(url: str, settings: SimulatorSettings) -> str:
    secret = "testsecret" if settings.access_key_secret == "testsecret" else "<yours>"  # noqa: S105  # the known default
    return f"""\
Content Moderation simulator: {url}

A consumer is pointed at it by
  export MODERATION__MODERATION__ENDPOINT={url}
  export ALIBABA_CLOUD_ACCESS_KEY_ID={settings.access_key_id} ALIBABA_CLOUD_ACCESS_KEY_SECRET={secret}
the official SDK for Python by
  Config(access_key_id="{settings.access_key_id}", access_key_secret="{secret}", region_id="cn-shanghai",
         endpoint="{url.removeprefix("http://")}", protocol="http")
what it billed and saw:  curl {url}/ledger  curl {url}/stats
faults while it runs:    curl -d '{{"faults": ["code=588,share=0.1"]}}' {url}/faults
Ctrl-C ends it."""


def _bill(ledger: Ledger) -> str:
    lines = [
        f"  {name:<20} {total.calls:>9} calls {total.units:>9} units  {total.currency} {total.cost:f}"
        for name, total in sorted(ledger.moderation_types.items())
    ]
    free = sum(codes.total() for codes in ledger.free.values())
    return "\n".join(["", "Ledger", *(lines or ["  nothing was billed"]), f"  free of charge       {free:>9} answers"])
