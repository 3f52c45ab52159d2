"""What docs/simulator.md shows is run: its commands, its examples, and its tables against what there is."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consumer.settings import load_embedded
from consumer.simulator.faults import KINDS
from consumer.simulator.words import WORDS


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__: list[str] = []


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8099"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The simulator, started by the page's own command, on a free port instead of the page's."""
    (command,) = (line for block in blocks("sh") for line in block.splitlines() if line.startswith("moderation-"))
    words = shlex.split(command.replace("8099", "0"))
    with subprocess.Popen([sys.executable, "-m", "consumer", *words[1:]], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        greeting = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        found = re.search(r"simulator: http://(127\.0\.0\.1:\d+)", greeting)
        assert found is not None
        yield found[1]
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(10) == 0


def curl(command: str) -> Any:
    """What a `curl` line of the page does, and the JSON that comes back."""
    words = shlex.split(command)[1:]
    body, method, url = None, None, words[-1]
    for option, value in zip(words[:-1:2], words[1:-1:2], strict=True):
        assert option in {"-d", "-X"}
        body, method = (value.encode(), method) if option == "-d" else (body, value)
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method)) as answer:
        return json.load(answer)


def test_the_official_sdk_prints_what_the_page_says(address: str) -> None:
    """The example with the vendor's SDK, run as it stands, prints the promised line."""
    (code,) = (block for block in blocks("python") if "alibabacloud" in block)
    ran = subprocess.run(
        [sys.executable, "-c", code.replace(ADDRESS, address)], capture_output=True, text=True, check=True
    )
    assert f"It prints `{ran.stdout.strip()}`." in PAGE


def test_every_curl_command_works(address: str) -> None:
    """Each command of the page is answered with JSON, and the ledger has what the page names."""
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ")]
    answers = [curl(command.replace(ADDRESS, address)) for command in commands]
    assert len(answers) == 5
    ledger, stats, faulty, well, reset = answers
    assert {"moderation_types", "services", "free", "lost"} <= ledger.keys()
    assert {"codes", "quota", "tasks", "in_flight"} <= stats.keys()
    assert (faulty["faults"], faulty["latency_ms"]) == (["code=588,share=0.1", "reset_billed,count=3"], "20-80")
    assert well["faults"] == []
    assert reset == {"reset": True}


def test_the_example_of_a_test_runs() -> None:
    """The example for tests of one's own runs as it stands."""
    (code,) = (block for block in blocks("python") if "SimulatorSettings" in block)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "docs/simulator.md", "exec"), {"__name__": "example"})
    assert said.getvalue().startswith("call http://127.0.0.1:")


def test_the_table_has_every_fault() -> None:
    """Each kind of fault that the simulator knows is in the page's table, and no other."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name.partition("=")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == KINDS


def test_the_words_of_the_page_are_in_the_list() -> None:
    """Each risk word that the page names has the level that it says."""
    said = {
        word: level
        for words, level in re.findall(
            r"((?:`[a-z ]+`(?: and |, )?)+) (?:are )?(high|medium|low)", " ".join(PAGE.split())
        )
        for word in re.findall(r"`([^`]+)`", words)
    }
    assert len(said) == 5
    assert said.items() <= {word.text: word.level for word in WORDS}.items()


def test_the_environment_of_the_page_is_that_of_the_consumer() -> None:
    """The variables that point the consumer at the simulator are variables that it reads."""
    exports = [words for block in blocks("sh") for words in map(shlex.split, block.splitlines()) if "export" in words]
    environ = dict(word.split("=", 1) for words in exports for word in words[1:])
    settings = load_embedded({}, environ)
    assert settings.moderation.endpoint == f"http://{ADDRESS}"
    assert settings.moderation.credentials.access_key_id == "testid"
