"""The command `moderation-consumer`: its subcommands, each in a module beside this one, and what becomes of errors."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from consumer import __version__
from consumer.errors import ModerationConsumerError, SettingsError, StartError


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["COMMANDS", "group", "main"]


class _Entry(NamedTuple):
    """A subcommand that is imported only when it runs or is asked for its own help."""

    target: str
    short_help: str


COMMANDS = {
    "run": _Entry("consumer.cli.run:command", "Read events, have them judged, write verdicts."),
    "check": _Entry("consumer.cli.check:command", "Say what a configuration does, and whether it can work."),
    "test": _Entry("consumer.cli.test:command", "Try the cases that stand beside a configuration."),
    "explain": _Entry("consumer.cli.explain:command", "Show one event's whole way, without paying."),
    "estimate": _Entry("consumer.cli.estimate:command", "Say what records would cost, without a call."),
    "dead-letters": _Entry("consumer.cli.dead_letters:command", "Look at what failed, and have it moderated again."),
    "simulate": _Entry("consumer.cli.simulate:command", "Be a moderation service on this machine."),
    "demo": _Entry("consumer.cli.demo:command", "See it all work: broker, service, events and a live view."),
    "bench": _Entry("consumer.cli.bench:command", "Measure how fast this machine is with a configuration."),
    "completion": _Entry("consumer.cli.completion:command", "Print what a shell needs to complete commands."),
}

# What the system says of a disk that takes no more.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class _LazyGroup(click.Group):
    """A group that knows its subcommands by name, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"There are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command '{args[0]}'. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def group() -> None:
    """Have user-generated content from Kafka moderated, and write one verdict an event."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: no error that this program raises on purpose shows a traceback.

    The traceback of any other leaves out what the error says, which may be a secret or somebody's content.

    The exit codes are those of sysexits.h: 78 for settings that cannot be used, 69 for a part that is not there, 70
    for anything else that went wrong; 1 for output that cannot be written, 2 for a wrong command line, 130 after
    Ctrl-C.
    """
    raise SystemExit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    try:
        result = group.main(args, prog_name="moderation-consumer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except SettingsError as error:
        click.echo("configuration is not usable:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        return os.EX_CONFIG
    except StartError as error:
        arguments = sys.argv[1:] if args is None else args
        click.echo(f"{'cannot start' if 'run' in arguments[:1] else 'Error'}: {error}", err=True)
        if error.remedy:
            click.echo(f"  {error.remedy}", err=True)
        return os.EX_UNAVAILABLE
    except ModerationConsumerError as error:
        click.echo(f"stopped: {error}", err=True)
        return os.EX_SOFTWARE
    except Exception as error:  # noqa: BLE001  # Python's own traceback would say what the error holds
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            _give_output_up()
            what = "the output" if error.filename is None else error.filename
            click.echo(f"Error: {what} cannot be written: {error.strerror}", err=True)
            return 1
        from consumer.logs.safe import traceback_of

        click.echo("stopped by an error that should not happen; what follows holds no content: report it", err=True)
        click.echo(traceback_of(error), err=True)
        return os.EX_SOFTWARE
    return result if isinstance(result, int) else 0


def _give_output_up() -> None:
    """Have Python not try to write what is left when it ends: it would fail once more, and say so at length."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
