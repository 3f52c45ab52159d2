"""`moderation-consumer completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Any

import click


__all__ = ["command"]


@click.command(short_help="print what a shell needs to complete commands")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script by which a shell completes commands, options and names of files.

    \b
    Examples:
      moderation-consumer completion bash > ~/.local/share/bash-completion/completions/moderation-consumer
      moderation-consumer completion zsh > ~/.zfunc/_moderation-consumer   # with ~/.zfunc in fpath, before compinit
      moderation-consumer completion fish > ~/.config/fish/completions/moderation-consumer.fish
    """  # noqa: D301  # the \b is click's sign to leave the lines below it as they are
    from click.shell_completion import ShellComplete, get_completion_class

    from consumer.cli import group

    kind: Any = get_completion_class(shell)
    made = kind(group, {}, "moderation-consumer", "_MODERATION_CONSUMER_COMPLETE")
    # Click's own for bash also asks the bash of this machine for its version; it may be for another one.
    click.echo(ShellComplete.source(made))
