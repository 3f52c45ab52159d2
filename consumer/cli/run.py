"""`moderation-consumer run`: the sidecar itself."""

from __future__ import annotations

import asyncio
import os
import signal

import click


__all__ = ["command"]


@click.command(short_help="read events, have them judged, write verdicts")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
def command(config: tuple[str, ...]) -> None:
    """Read events, have them judged and write verdicts, until a SIGTERM or SIGINT.

    On SIGHUP, and when a file changes, the settings are read again, and what can be replaced without a restart is.

    CONFIG is one or more YAML files, or $MODERATION_CONFIG; later files and MODERATION__ variables win.

    \b
    Example:
      moderation-consumer run config/minimal.yaml
    """  # noqa: D301  # click's mark of preformatted text is the control character itself
    from consumer.runtime import calm_collector, new_event_loop, resting_collector

    with resting_collector():
        from consumer import logs
        from consumer.app import App
        from consumer.settings import load, sources

        loaded = load(config, os.environ)
        logging = logs.configure(level=loaded.settings.log.level, form=loaded.settings.log.format)
        calm_collector()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        app = App(loaded, reread=lambda: load(config, os.environ), files=sources(config, os.environ))
        loop.add_signal_handler(signal.SIGHUP, app.reload)
        async with logging:
            await app.run(stop)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
