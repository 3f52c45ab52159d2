"""The command line itself: help, misspelt words, and what becomes of errors."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import click
import pytest

from consumer import __version__, cli
from consumer.errors import SettingsError, StartError, Stuck


if TYPE_CHECKING:
    from collections.abc import Callable


__all__: list[str] = []


_HEAVY = ("aiohttp", "aiokafka", "asyncio", "jmespath", "orjson", "pydantic", "structlog", "yaml")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """`fail(error)` makes the command `check` raise it."""

    def fail(error: BaseException) -> None:
        @click.command()
        def command() -> NoReturn:
            raise error

        monkeypatch.setattr(cli.group, "get_command", lambda *_: command)

    return fail


def _main(*args: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        cli.main(args)
    return caught.value.code


def test_help_imports_nothing_heavy() -> None:
    """`--help` loads no subcommand and none of the libraries that take long to import."""
    script = (
        "import sys\n"
        "from consumer import cli\n"
        "try:\n"
        "    cli.main(['--help'])\n"
        "except SystemExit:\n"
        f"    print(sorted({{name.partition('.')[0] for name in sys.modules}} & set({_HEAVY!r})))\n"
        "    print(sorted(name for name in sys.modules if name.startswith('consumer.')))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy, ours = result.stdout.splitlines()[-2:]
    assert heavy == "[]"
    assert ours == "['consumer.cli', 'consumer.errors']"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has a line for each command, and the version is that of the package."""
    assert _main("--help") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in cli.COMMANDS] == list(cli.COMMANDS)
    assert _main("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_every_command_is_there() -> None:
    """Each command of the table can be loaded and has a help of its own."""
    context = click.Context(cli.group)
    for name in cli.COMMANDS:
        command = cli.group.get_command(context, name)
        assert command is not None
        assert command.help


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean 'check'?"),
        (["dance"], f"No such command 'dance'. There are {', '.join(cli.COMMANDS)}."),
        (["check", "--conect"], "Did you mean '--connect'?"),
    ],
)
def test_a_misspelt_word_gets_the_right_one(capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:
    """A misspelt command or option is answered with the nearest right one and exit code 2."""
    assert _main(*args) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            SettingsError(["config.yaml:1:1: a: b", "$X: c"]),
            78,
            "configuration is not usable:\n  config.yaml:1:1: a: b\n  $X: c\n",
        ),
        (StartError("no broker", "start one"), 69, "Error: no broker\n  start one\n"),
        (StartError("no broker"), 69, "Error: no broker\n"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "Error: the output cannot be written: Disk quota exceeded\n"),
        (OSError(errno.ENOSPC, "No space left", "a.svg"), 1, "Error: a.svg cannot be written: No space left\n"),
        (Stuck("the loop stands still"), 70, "stopped: the loop stands still\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_errors_are_told_without_a_traceback(
    fail: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """Each error that is raised on purpose has its exit code and its words on standard error."""
    fail(error)
    assert _main("check") == code
    assert capsys.readouterr().err == said


def test_only_what_starts_says_that_it_cannot(
    fail: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that is to run for good says that it cannot start, which people look for in its log."""
    fail(StartError("no broker", "start one"))
    assert _main("run") == 69
    assert capsys.readouterr().err == "cannot start: no broker\n  start one\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["completion", "bash"], ["check", "--help"]])
def test_a_full_disk_is_an_error_of_one_line(arguments: list[str]) -> None:
    """Output that does not fit where it goes is said in one line, and the exit code is 1."""
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        result = subprocess.run(
            [sys.executable, "-m", "consumer", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.stderr == "Error: the output cannot be written: No space left on device\n"
    assert result.returncode == 1


def test_the_module_is_the_command() -> None:
    """`python -m consumer` and `moderation-consumer` are the same."""
    result = subprocess.run([sys.executable, "-m", "consumer", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == __version__
