"""Where the commands of the pages run: a folder, a broker, the simulator, and the consumer between them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from functools import cached_property
from typing import TYPE_CHECKING, Self

import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from consumer import cli
from consumer.demo.broker import EmbeddedBroker
from tests.docs.pages import ROOT, blocks
from tests.ports import free_ports


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.docs.pages import Block


__all__ = ["ADMIN_PORT", "SIMULATOR_PORT", "Playground"]


ADMIN_PORT, SIMULATOR_PORT = "9464", "8099"
"""The ports that the pages speak of; others are used in their places."""

TOPICS = ("ugc.events", "moderation.verdicts", "moderation.dead-letters")
_CONFIG = """\
kafka: {bootstrap_servers: [localhost:9092], topics: [ugc.events], group_id: moderation, start: earliest}
moderation: {region: ap-southeast-1}
"""
_CASES = "tests:\n  - {name: one, record: {value: {id: '1', text: Good morning!}}, expect: {verdict: {action: pass}}}\n"
_RECORDS = [{"id": f"m-{number}", "text": f"Good morning {number}!"} for number in range(3)]
_POSTED = 1_769_774_400_000  # 2026-01-30T12:00:00Z, within the day that the pages speak of
_WITHOUT_ID = b'{"text": "nobody knows who I am"}'
_SECONDS = 30


class Playground:
    """The consumer at work, with a verdict and a dead letter behind it, and a folder for commands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.txt"
        self._broker = EmbeddedBroker()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports = dict(zip((ADMIN_PORT, SIMULATOR_PORT), map(str, free_ports(2)), strict=True))

    def __enter__(self) -> Self:
        self._broker.start()
        for topic in TOPICS:
            self._broker.create_topic(topic)
        for name in ("config", "docs", "examples", "helm"):
            (self.folder / name).symlink_to(ROOT / name)
        self._write(*[orjson.dumps(record) for record in _RECORDS], _WITHOUT_ID)
        (self.folder / "served.yaml").write_text(_CONFIG, encoding="utf-8")
        try:
            self._start("simulate", "--port", self._ports[SIMULATOR_PORT], "--latency-ms", "1")
            self._start("run", "served.yaml")
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._broker.stop()

    @property
    def variables(self) -> Mapping[str, str]:
        """What the environment says to the commands."""
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "testid",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testsecret",
            "HOME": str(self.folder),
            "MODERATION__ADMIN__PORT": self._ports[ADMIN_PORT],
            "MODERATION__KAFKA__BOOTSTRAP_SERVERS": ",".join(self._broker.bootstrap_servers),
            "MODERATION__MODERATION__ENDPOINT": f"http://127.0.0.1:{self._ports[SIMULATOR_PORT]}",
        }

    def prepare(self, page: Path) -> None:
        """Put the files of a page's examples into the folder, and others where the page has none."""
        found = list(blocks(page))
        config = _first(found, "yaml", "kafka", "moderation") or _CONFIG
        cases = _first(found, "yaml", "tests") or _CASES
        record = _first(found, "json") or json.dumps(_RECORDS[0])
        lines = "".join(f"{json.dumps(record)}\n" for record in _RECORDS)
        files = {"config.yaml": config, "config.tests.yaml": cases, "record.json": record, "records.jsonl": lines}
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        (self.folder / "records.jsonl.gz").write_bytes(gzip.compress(lines.encode()))

    def ours(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run a command of ours in this process: its exit code, and all that it said."""
        said = io.StringIO()
        code: object = 0
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                cli.main(arguments)
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        return code, said.getvalue()

    def fetch(self, url: str, method: str, data: str | None) -> str:
        """Do what curl would do, at the ports that are ours."""
        for told, taken in self._ports.items():
            url = url.replace(f":{told}", f":{taken}")
        if not url.startswith("http"):
            url = f"http://{url}"
        request = urllib.request.Request(url, data.encode() if data else None, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    @cached_property
    def verdicts(self) -> str:
        """What is in the topic of verdicts, a record a line."""
        return "".join(f"{(record.value() or b'').decode()}\n" for record in self._read(TOPICS[1]))

    @cached_property
    def letter(self) -> str:
        """Where the dead letter is."""
        first = self._read(TOPICS[2])[0]
        return f"{first.partition()}@{first.offset()}"

    def _read(self, topic: str) -> list[Message]:
        reader = Consumer({"bootstrap.servers": self._servers, "group.id": "reader", "log_level": 0})
        reader.assign([TopicPartition(topic, number, 0) for number in range(4)])
        found: list[Message] = []
        deadline = time.monotonic() + _SECONDS
        while not found and time.monotonic() < deadline:
            found = reader.consume(100, 1.0)
        reader.close()
        return found

    @property
    def _servers(self) -> str:
        return ",".join(self._broker.bootstrap_servers)

    def _write(self, *values: bytes) -> None:
        producer = Producer({"bootstrap.servers": self._servers, "log_level": 0})
        for value in values:
            producer.produce(TOPICS[0], value, partition=0, timestamp=_POSTED)
        producer.flush()

    def _start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "consumer", *arguments]
        env = {**os.environ, **self.variables, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT)
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _SECONDS
        wanted = {"moderation_verdicts_total": len(_RECORDS), "moderation_dead_letters_total": 1}
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                metrics = self.fetch(f"localhost:{ADMIN_PORT}/metrics", "GET", None)
                if all(_sum(metrics, name) >= count for name, count in wanted.items()):
                    return
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text(encoding="utf-8", errors="replace"))


def _sum(metrics: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)", metrics, re.MULTILINE))


def _first(found: Sequence[Block], language: str, *keys: str) -> str | None:
    """The first block of this language that has these keys at its top."""
    for block in found:
        if block.language == language and all(re.search(rf"^{key}:", block.text, re.MULTILINE) for key in keys):
            return block.text
    return None
