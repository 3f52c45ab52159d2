"""What holds for every command: its help, its line on docs/commands.md, completion, and progress."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from consumer import cli
from consumer.cli import completion, demo
from consumer.cli.progress import progress


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__: list[str] = []


PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
SCREEN_LINES = 40


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli.group)
    for name in cli.COMMANDS:
        command = cli.group.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_the_help_fits_a_screen_and_has_an_example(name: str) -> None:
    """The help of each command has at most 40 lines and an example that calls this very command."""
    said = CliRunner().invoke(cli.group, [*name.split(), "--help"], prog_name="moderation-consumer").output
    assert len(said.splitlines()) <= SCREEN_LINES
    # Its own name stands in the line of usage, too.
    assert said.count(f"moderation-consumer {name} ") >= 2 or f"| moderation-consumer {name}" in said


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if not isinstance(one, click.Group)])
def test_each_command_is_on_the_page(name: str) -> None:
    """docs/commands.md has a row for each command, with an example."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert f"`moderation-consumer {name}" in row.split("|")[3]


def test_each_exit_code_in_the_code_is_on_the_page() -> None:
    """Each code that a command exits with, by its number or its name in sysexits.h, has a row on the page."""
    sources = "".join(path.read_text() for path in Path(cli.__file__).parent.glob("*.py"))
    named = {getattr(os, name) for name in re.findall(r"os\.(EX_[A-Z]+)", sources)}
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == named | {0, 1, 2, cli.INTERRUPTED}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(one, option, id=f"{name} {option.opts[0]}")
        for name, one in ALL.items()
        for option in one.params
        if isinstance(option.type, click.types.FloatParamType)
    ],
)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_options_take_numbers_only(command: click.Command, option: click.Parameter, number: str) -> None:
    """What is called a number, but is none, or none that ends, is a wrong command line for every option."""
    result = CliRunner().invoke(command, [option.opts[0], number])
    assert result.exit_code == 2
    assert f"Invalid value for '{option.opts[0]}': " in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """`completion` prints a script for each shell that calls the program by its name."""
    result = CliRunner().invoke(completion.command, [shell])
    assert result.exit_code == 0
    assert "_MODERATION_CONSUMER_COMPLETE" in result.output
    assert "moderation-consumer" in result.output


def test_bash_completes_commands_and_options() -> None:
    """What the script for bash asks the program for is answered with commands, and with a command's options."""

    def completed(words: str, at: int) -> list[str]:
        asked = {"_MODERATION_CONSUMER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        answer = subprocess.run(
            [sys.executable, "-m", "consumer"], env=os.environ | asked, capture_output=True, text=True, check=False
        )
        return [line.partition(",")[2] for line in answer.stdout.splitlines()]

    assert completed("moderation-consumer ch", 1) == ["check"]
    assert completed("moderation-consumer test --j", 2) == ["--junit"]


def test_bash_takes_the_script() -> None:
    """The script for bash has no syntax error."""
    script = CliRunner().invoke(completion.command, ["bash"]).output
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False, capture_output=True).stderr == ""


def test_progress_is_told_in_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal a line on standard error says now and then how far it is, and short work says nothing."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress("replaying", 200) as more:
        more(10)
        now = 11.0
        more(90)
        more(100)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "replaying: 100 of 200 (50 %)\n")


def test_the_demonstration_hints_at_what_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the demonstration ends with gives a verdict of the event in it."""
    monkeypatch.chdir(Path(__file__).parents[2])
    result = CliRunner().invoke(
        cli.group, ["explain", str(demo.CONFIG), demo.EVENT, "--verdict"], env={"MODERATION_CONFIG": None}
    )
    assert result.exit_code == 0
    assert '"action": "block"' in result.output


@pytest.mark.parametrize("with_rich", [True, False])
def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, with_rich: bool) -> None:
    """On a terminal there is a bar with its label, also where rich is not installed."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    if not with_rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress("replaying", 3) as more:
        more(2)
    assert "replaying" in terminal.getvalue()
