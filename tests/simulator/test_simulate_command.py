"""`moderation-consumer simulate` as a process."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from consumer.cli import simulate
from consumer.cli.simulate import command
from consumer.simulator import Fault, Latency, SimulatorSettings
from consumer.simulator.faults import KINDS
from tests.simulator.plain import form


def test_its_help_fits_a_screen() -> None:
    """The help is 50 lines at the most on a terminal of 80 columns, and names each kind of fault."""
    shown = CliRunner().invoke(command, ["--help"], terminal_width=80).output
    assert len(shown.splitlines()) <= 50
    assert [kind for kind in KINDS - {"code"} if kind.removeprefix("callback") not in shown] == []


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option is the setting it says; a quota of 0 is none, and those not named are the pages' own."""
    served: list[SimulatorSettings] = []

    async def serve(settings: SimulatorSettings) -> None:
        served.append(settings)

    monkeypatch.setattr(simulate, "_serve", serve)
    arguments = """--port 0 --latency-ms 20-80 --task-ms 500 --task-polls 2 --quota text=0 --quota multimodal_submit=5
        --account-id 42 --callback-interval 0.5 --callback-data --translation --dialect table --fault task_lost"""
    assert CliRunner().invoke(command, arguments.split()).exit_code == 0
    assert served == [
        SimulatorSettings(
            latency=Latency(20, 80),
            task_latency=Latency(500),
            task_polls=2,
            text_per_second=None,
            multimodal_submit_per_second=5,
            account_id="42",
            callback_interval_seconds=0.5,
            callback_envelope=False,
            translation=True,
            dialect="table",
            faults=(Fault("task_lost"),),
        )
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_what_it_billed(number: signal.Signals) -> None:
    """It prints its URL and how to point a consumer at it, stops on a signal with exit 0, and prints the ledger."""
    arguments = ["--port", "0", "--no-verify", "--latency-ms", "0"]
    code = "import sys; from consumer.cli.simulate import command; command(sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        greeting = "".join(iter(lambda: next(lines), "Ctrl-C ends it.\n"))
        found = re.search(r"simulator: (http://127\.0\.0\.1:\d+)", greeting)
        assert found is not None
        assert f"export MODERATION__MODERATION__ENDPOINT={found[1]}" in greeting
        headers = {"x-acs-action": "TextModerationPlus", "x-acs-version": "2022-03-02"}
        body = form("ugc_moderation_byllm", content="good morning")
        with urllib.request.urlopen(urllib.request.Request(found[1], body, headers)) as answer:
            assert json.load(answer)["Code"] == 200
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(10) == 0
    assert re.search(r"text_llm_standard +1 calls +1 units  CNY 0\.002000", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "explode"], "no kind of fault"),
        (["--latency-ms", "fast"], "no latency"),
        (["--port", "70000"], "70000"),
        (["--dialect", "klingon"], "klingon"),
        (["--quota", "text"], "no quota"),
        (["--quota", "video=5"], "no quota"),
        (["--task-ms", "soon"], "no latency"),
        (["--task-polls", "-1"], "-1"),
        (["--callback-interval", "0"], "x>0"),
        (["--task-ms", "9" * 400], "no range of waiting times"),
        (["--fault", "slow,seconds=nan"], "seconds is nan"),
    ],
)
def test_a_bad_option_is_a_message_and_exit_code_2(arguments: list[str], said: str) -> None:
    """What cannot be read is said in a sentence, not in a traceback."""
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("setting", ["callback_interval_seconds", "upload_token_seconds", "too_early_seconds"])
def test_settings_take_numbers_only(setting: str, number: float) -> None:
    """A time that is no number, or none that ends, is refused by the setting's name."""
    with pytest.raises(ValueError, match=setting):
        SimulatorSettings(**{setting: number})  # type: ignore[arg-type]  # whichever of the three it is


def test_an_address_that_cannot_be_had_is_a_message() -> None:
    """An address of another machine is a message and exit code 69."""
    result = CliRunner().invoke(command, ["--host", "203.0.113.1", "--port", "0"])
    assert result.exit_code == 69
    assert "cannot listen on 203.0.113.1:0" in result.output
