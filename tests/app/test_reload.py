"""Tests of a whole process whose file changes while it works."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import orjson

from tests.app.process import Bench, environment, running
from tests.app.test_restart import simulator


if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker


class Lines:
    """What a process logs, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[dict[str, object]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(orjson.JSONDecodeError):
                self._lines.append(orjson.loads(line))

    def wait(self, event: str, *, seconds: float = 30) -> dict[str, object]:
        """The first line of this name that was not waited for yet."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for number, line in enumerate(self._lines):
                if line.get("event") == event:
                    del self._lines[: number + 1]
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line {event!r} among {self._lines}")


FIRST = "routes: [{name: first, services: [ugc_moderation_byllm_cb]}]\n"
SECOND = """\
routes: [{name: second, services: [ugc_moderation_byllm_cb]}]
policy: {none: review}
moderation: {prices: {text_llm_advanced: {price: 7, currency: CNY}}}
quota: {text_per_second: 20, image_per_second: 30}
log: {level: debug}
"""


def test_settings_change_while_the_program_works(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """SIGHUP puts a file's route, policy, prices and quota to work; of a wrong file nothing is; the log says why."""
    bench = Bench.on(embedded)
    file = tmp_path / "config.yaml"
    file.write_text(FIRST)
    count = 0

    def judged(event: str) -> tuple[str, str, float]:
        nonlocal count
        count += 1
        bench.produce([orjson.dumps({"id": event, "text": f"hello {event}"})])
        found = [orjson.loads(value) for value, _ in bench.read(bench.verdicts, count, seconds=30)]
        (verdict,) = (one for one in found if one["event_id"] == event)
        return verdict["route"], verdict["action"], verdict["billed"][0]["cost"]

    with simulator("5") as made, running(environment(bench, made.url), "run", str(file)) as process:
        lines = Lines(process)
        lines.wait("running")
        assert judged("1") == ("first", "pass", 0.004)

        file.write_text(SECOND)
        process.send_signal(signal.SIGHUP)
        # The text quota is set by a variable, which wins.
        assert lines.wait("settings reloaded")["applied"] == [
            "routes",
            "moderation.prices",
            "quota.image_per_second",
            "policy.none",
            "log.level",
        ]
        assert judged("2") == ("second", "review", 7)

        file.write_text(FIRST.replace("services:", "servces:"))
        assert lines.wait("settings refused")["problems"] == [
            f"{file}:1:10: routes[0].services: required, but not set",
            f"{file}:1:24: routes[0].servces: unknown key; did you mean services?",
        ]
        assert judged("3") == ("second", "review", 7)

        process.terminate()
        assert process.wait(30) == 0
