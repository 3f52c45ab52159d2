"""Tests of logging as the program sets it up: its forms, errors without their values, an outage in a few lines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.demo.broker import EmbeddedBroker
from consumer.errors import StartError
from consumer.logs.safe import message_of, traceback_of
from consumer.simulator import Simulator
from tests.app.process import Bench, environment


ROOT = Path(__file__).resolve().parents[2]


def logged(code: str, form: str, level: str = "info") -> str:
    """What a program of its own logs."""
    start = "import logging\nimport structlog\nfrom consumer import logs\n"
    start += f"logs.configure(level={level!r}, form={form!r})\n"
    done = subprocess.run([sys.executable, "-c", start + code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


FAILING = """
log = structlog.get_logger("consumer.part")
log.info("said", number=3, name="ü")
try:
    raise KeyError("planted")
except KeyError:
    log.exception("failed")
logging.getLogger("aiokafka.conn").warning("broker %s is away", 1)
logging.getLogger("aiokafka.conn").info("not worth a line")
log.debug("not worth a line")
"""


def test_lines_are_json_for_machines() -> None:
    """Each line is a JSON object with time, level, logger and event; an error has its place and not its words."""
    text = logged(FAILING, "json")
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["said", "failed", "broker 1 is away"]
    assert {"timestamp", "level", "logger"} <= set(lines[0])
    assert (lines[0]["number"], lines[0]["name"]) == (3, "ü")
    assert lines[1]["exception"].endswith("KeyError")
    assert "planted" not in text


def test_lines_are_words_for_people() -> None:
    """On a console a line is its time, level, event and values, and an error is a traceback below it."""
    lines = logged(FAILING, "console").splitlines()
    assert "said" in lines[0]
    assert "number=3" in lines[0]
    assert "Traceback (most recent call last):" in lines
    assert lines[-2] == "KeyError"
    assert "planted" not in "".join(lines)


def test_levels_of_other_people_s_loggers_stay_sensible() -> None:
    """With level debug our own lines are all there, and clients still do not log what they send."""
    code = FAILING + "logging.getLogger('aiokafka.conn').debug('Request %s', 'planted')\n"
    text = logged(code, "json", "debug")
    assert len(text.splitlines()) == 4
    assert "planted" not in text


def test_a_line_that_cannot_be_logged_says_so_without_its_values() -> None:
    """A message that does not fit its values is a complaint that names the logger, not what was to be logged."""
    text = logged("logging.getLogger('aiokafka.conn').warning('%d brokers', 'planted')", "json")
    assert text == "a line of aiokafka.conn could not be logged: TypeError\n"


def throw(error: Exception, cause: Exception | None) -> None:
    raise error from cause


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    with pytest.raises(type(error)) as caught:
        throw(error, cause)
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("planted"), ""),
        (StartError("no broker answers"), "no broker answers"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (OSError("planted"), ""),
        (TimeoutError("planted"), ""),
        (UnicodeDecodeError("utf-8", b"planted\xff", 7, 8, "invalid start byte"), ""),
    ],
)
def test_what_an_error_says_is_repeated_only_where_it_is_ours_or_the_system_s(error: Exception, said: str) -> None:
    """Our own messages and the system's reasons are said; what anybody else's error quotes is not."""
    assert message_of(error) == said
    lines = traceback_of(raised(error)).splitlines()
    name = type(error).__name__ if type(error).__module__ == "builtins" else f"consumer.errors.{type(error).__name__}"
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == (f"{name}: {said}" if said else name)


def test_causes_and_groups_are_in_a_traceback() -> None:
    """A traceback tells the whole story, causes and the parts of a group, and ends although they form a circle."""
    first, second = raised(KeyError("planted")), ValueError("planted")
    group = raised(ExceptionGroup("planted", [raised(second, first), OSError(2, "No such file")]))
    first.__cause__ = group
    text = traceback_of(group)
    assert "planted" not in text.replace('"planted"', "")
    for part in (
        "KeyError",
        "ValueError",
        "FileNotFoundError: [Errno 2] No such file",
        "ExceptionGroup",
        "direct cause",
    ):
        assert part in text


@pytest.mark.timeout(90)
def test_an_outage_of_the_brokers_is_a_few_lines() -> None:
    """While no broker answers the client complains hundreds of times; the log has each complaint once, and a count."""

    async def main() -> list[dict[str, Any]]:
        async with Simulator() as simulator:
            with EmbeddedBroker() as broker:
                bench = Bench.on(broker)
                env = environment(bench, simulator.url, SHUTDOWN__DRAIN_SECONDS="1", SHUTDOWN__FLUSH_SECONDS="1")
                program = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "consumer", "run", env=env, cwd=ROOT, stderr=asyncio.subprocess.PIPE
                )
                stream = program.stderr
                assert stream is not None
                said: list[bytes] = []
                async with asyncio.timeout(40):
                    while not any(b'"opened"' in line for line in said):
                        said.append(await stream.readline())
            await asyncio.sleep(5)
            program.terminate()
            async with asyncio.timeout(30):
                said += (await stream.read()).splitlines()
                await program.wait()
        return [orjson.loads(line) for line in said]

    lines = asyncio.run(main())
    theirs = Counter(line["event"].split(" ")[0] for line in lines if line["logger"].startswith("aiokafka"))
    [over] = [line for line in lines if line["event"] == "lines_left_out" and line["of"] == "aiokafka"]
    assert over["lines"] > 50
    assert sum(theirs.values()) < 15
    assert len(lines) < 40
