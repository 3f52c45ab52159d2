"""`moderation-consumer simulate`: a Content Moderation 2.0 on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import click

from consumer.cli.finite import Finite


if TYPE_CHECKING:
    from consumer.simulator import SimulatorSettings
    from consumer.simulator.ledger import Ledger
    from consumer.simulator.settings import Dialect


__all__ = ["command"]


class _Unavailable(click.ClickException):
    """The address cannot be had."""

    exit_code = os.EX_UNAVAILABLE


@click.command(short_help="a Content Moderation 2.0 on this machine")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8099, type=click.IntRange(0, 65535), metavar="N", help="0 takes any.  [default: 8099]")
@click.option("--latency-ms", default="60~0.3", metavar="MS", help="50, 20-80, or log-normal.  [default: 60~0.3]")
@click.option("--task-ms", default="1000~0.3", metavar="MS", help="Of a task's result.  [default: 1000~0.3]")
@click.option("--task-polls", default=0, type=click.IntRange(min=0), metavar="N", help="Answer so many with 280 first.")
@click.option("--quota", "quotas", multiple=True, metavar="CLASS=N", help="Calls a second of a class; 0 for no limit.")
@click.option("--access-key-id", default="testid", show_default=True, help="The AccessKey it knows.")
@click.option("--access-key-secret", default="testsecret", help="Its secret.  [default: testsecret]")
@click.option("--security-token", default=None, help="Its token (STS credentials).")
@click.option("--account-id", default="1234567890123456", help="In the checksum of callbacks.")
@click.option(
    "--callback-interval",
    default=5.0,
    show_default=True,
    metavar="S",
    type=Finite(min=0, min_open=True),
    help="Seconds between deliveries.",
)
@click.option("--callback-data", is_flag=True, help="Callbacks bring Data, not the whole answer.")
@click.option("--translation", is_flag=True, help="Translate texts of international services.")
@click.option("--verify/--no-verify", default=True, help="Check signature, date and nonce.")
@click.option(
    "--dialect", default="sdk", type=click.Choice(["sdk", "seed", "table"]), help="Spelling of answers.  [default: sdk]"
)
@click.option("--seed", default=0, metavar="N", help="Of the dice for faults and latency.  [default: 0]")
@click.option("--fault", "faults", multiple=True, help="Something that goes wrong.")
def command(
    *,
    host: str,
    port: int,
    latency_ms: str,
    task_ms: str,
    task_polls: int,
    quotas: tuple[str, ...],
    access_key_id: str,
    access_key_secret: str,
    security_token: str | None,
    account_id: str,
    callback_interval: float,
    callback_data: bool,
    translation: bool,
    verify: bool,
    dialect: Dialect,
    seed: int,
    faults: tuple[str, ...],
) -> None:
    """Run a Content Moderation 2.0 until a SIGTERM or SIGINT; it prints its ledger at the end.

    It checks signatures, quotas and parameters, gives verdicts by a word list and by image URLs, and keeps a ledger.

    \b
    Faults (--fault, more than once, or POST /faults while it runs):
      code=588 code=408 code=Throttling.User        answered with this code
      http_500 http_502 reset hang                  not judged
      reset_billed garbage truncated slow           judged, billed, and lost or late
      no_risk_level odd_risk_level no_task_id       judged, billed, of no use
      task_lost task_never                          a task without a result
      callback_never _late _early _twice _forged    a task without a proper callback
    with options, such as: code=500,share=0.1  reset_billed,count=3,service=baselineCheck_global
    Classes of --quota: text=50 image=100 image_llm=50 multimodal_submit=10 multimodal_query=10
    Dialects: sdk (as the official SDK reads answers), seed and table (as the pages write them)
    Example: moderation-consumer simulate --latency-ms 20-80 --fault code=588,share=0.05
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
            dialect=dialect,
            translation=translation,
            latency=Latency.parse(latency_ms),
            task_latency=Latency.parse(task_ms),
            task_polls=task_polls,
            account_id=account_id,
            callback_envelope=not callback_data,
            callback_interval_seconds=callback_interval,
            faults=tuple(Fault.parse(fault) for fault in faults),
            seed=seed,
            **_quotas(quotas),
        )
    except ValueError as problem:
        raise click.UsageError(str(problem)) from problem
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings))


def _quotas(written: tuple[str, ...]) -> dict[str, Any]:
    """The limits of the classes named, by the names of their settings."""
    from consumer.simulator.settings import QUOTAS

    limits: dict[str, Any] = {}
    for text in written:
        name, _, number = text.partition("=")
        if name not in QUOTAS or not number.isdecimal():
            raise ValueError(f"{text!r} is no quota: write {', '.join(f'{known}=N' for known in QUOTAS)}")
        limits[f"{name}_per_second"] = int(number) or None
    return limits


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
        raise _Unavailable(f"cannot listen on {address}: {problem.strerror}") from problem
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
