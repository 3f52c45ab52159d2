"""A real Prometheus that scrapes what a test runs, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest
import yaml

from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


__all__ = ["Prometheus", "QueryError", "Series", "required"]


_READY_SECONDS = 20.0
_ANSWER_SECONDS = 20.0
_STOP_SECONDS = 10.0


class QueryError(Exception):
    """Prometheus refused a query; the text is what it said, behind the query."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, and its samples as (seconds since the epoch, value)."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The value of the latest sample."""
        return self.samples[-1][1]


def required(command: str, package: str) -> str:
    """The path of a program that a test needs. Where it is missing the test is skipped, on CI it fails."""
    found = shutil.which(command)
    if found is None:
        reason = f"no {command} on this machine: nothing was tested with it (Debian's package is {package})"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


class Prometheus:
    """Debian's Prometheus on a free port, scraping `targets` while its context is entered.

    Attributes:
        url: where it is; good from the construction on, for who must know it earlier than it answers.
        port: the port of it.

    Args:
        targets: the addresses (`host:port`) to scrape, by job; each exposes `/metrics`.
        rules: files with recording and alerting rules.
        scrape_seconds: how often it scrapes, and gives up a scrape.
        evaluate_seconds: how often it evaluates the rules that do not say it themselves.
        binary: the program; None looks it up, and skips the test where it is missing.
    """

    def __init__(
        self,
        targets: Mapping[str, Sequence[str]],
        *,
        rules: Sequence[Path] = (),
        scrape_seconds: float = 1.0,
        evaluate_seconds: float = 1.0,
        binary: str | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._binary = binary or required("prometheus", "prometheus")
        self._config = {
            "global": {
                "scrape_interval": _duration(scrape_seconds),
                "scrape_timeout": _duration(scrape_seconds),
                "evaluation_interval": _duration(evaluate_seconds),
            },
            "rule_files": [str(path.resolve()) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                for job, addresses in targets.items()
            ],
        }
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start it; it is ready to be asked when this returns.

        Raises:
            RuntimeError: it did not get ready; the text is its log.
        """
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="prometheus-")))
        config, log = folder / "prometheus.yml", folder / "log"
        config.write_text(yaml.safe_dump(self._config, sort_keys=False))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    self._binary,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(_stop, process)
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")
                self._stack.close()
                raise RuntimeError(f"Prometheus did not get ready:\n{said}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def query(self, expression: str, *, at_seconds: float | None = None) -> list[Series]:
        """The value of an expression now, or at a time in seconds since the epoch: a series has one sample.

        Raises:
            QueryError: the expression is wrong.
        """
        at = {} if at_seconds is None else {"time": f"{at_seconds:.3f}"}
        return _series(self.ask("query", {"query": expression, **at}))

    def query_range(
        self, expression: str, *, seconds: float, step_seconds: float = 1.0, until_seconds: float | None = None
    ) -> list[Series]:
        """The values of an expression over the last `seconds`, or those before a time in seconds since the epoch.

        Raises:
            QueryError: the expression is wrong.
        """
        end = time.time() if until_seconds is None else until_seconds
        span = {"start": f"{end - seconds:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:g}"}
        return _series(self.ask("query_range", {"query": expression, **span}))

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing, each with `labels`, `annotations`, `state` and `activeAt`."""
        found: list[dict[str, Any]] = self.ask("alerts")["alerts"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The groups of rules as loaded, with each rule's `health` and `lastError`."""
        found: list[dict[str, Any]] = self.ask("rules")["groups"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, each with `labels`, `health` and `lastError`."""
        found: list[dict[str, Any]] = self.ask("targets", {"state": "active"})["activeTargets"]
        return found

    def ask(self, what: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The `data` of an answer of the HTTP API.

        Raises:
            QueryError: it was refused.
        """
        address = f"{self.url}/api/v1/{what}"
        if parameters:
            address += "?" + urlencode(parameters)
        try:
            with urlopen(address, timeout=_ANSWER_SECONDS) as answer:
                return orjson.loads(answer.read())["data"]
        except HTTPError as error:
            with error:
                said = orjson.loads(error.read())["error"]
            raise QueryError(f"{(parameters or {}).get('query', what)}: {said}") from None

    def _ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=2):
                return True
        except HTTPError as error:
            error.close()
            return False
        except (URLError, OSError):
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _series(data: Mapping[str, Any]) -> list[Series]:
    if data["resultType"] == "scalar":
        return [Series({}, (_sample(data["result"]),))]
    return [
        Series(one["metric"], tuple(_sample(pair) for pair in one.get("values") or [one["value"]]))
        for one in data["result"]
    ]


def _sample(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
