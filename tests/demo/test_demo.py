"""`moderation-consumer demo`, for real: a process of its own, without a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys


COMMAND = [sys.executable, "-u", "-m", "consumer", "demo"]


def sums(output: str) -> tuple[int, int, int, int]:
    found = re.search(r"events in +(\d+) = (\d+) verdicts \+ (\d+) dead letters \+ (\d+) skipped", output)
    assert found is not None, output
    sent, verdicts, letters, skipped = map(int, found.groups())
    return sent, verdicts, letters, skipped


def test_it_ends_by_itself_and_adds_up() -> None:
    """A shortened demonstration prints lines, then a summary in which all sums are right, and exits with 0."""
    done = subprocess.run(
        [*COMMAND, "--seconds", "6", "--seed", "7"], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    sent, verdicts, letters, skipped = sums(done.stdout)
    assert sent == verdicts + letters + skipped
    assert verdicts > 100
    assert letters > 0
    assert re.search(r"text_llm_advanced +CNY \d+\.\d+: \d+ units in ledger, verdicts and metrics", done.stdout)
    assert re.search(r"image_standard +USD \d+\.\d+: \d+ units in ledger, verdicts and metrics", done.stdout)
    assert "It all adds up.\n\nNow an event of your own" in done.stdout
    seconds = [int(line.split()[0]) for line in done.stdout.splitlines() if "lag" in line]
    assert seconds == sorted(set(seconds))


def test_an_interrupt_ends_it_with_the_same_sums() -> None:
    """Ctrl-C in mid-stream: no more events, those that are there are judged, and all adds up."""
    with subprocess.Popen(
        [*COMMAND, "--forever", "--rate", "30"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.search(r"pass [1-9]", line):
                os.kill(process.pid, signal.SIGINT)
                break
        lines.extend(process.stdout)
    output = "".join(lines)
    assert process.returncode == 0, output
    sent, verdicts, letters, skipped = sums(output)
    assert sent == verdicts + letters + skipped
    assert "It all adds up.\n\nNow an event of your own" in output
