"""The stage of all runs: three brokers, and for each consumer proxies of its own before the brokers and the service."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from chaos.history import Exit
from chaos.proxy import Proxy
from tests.broker.cluster import KafkaCluster, die_with_parent


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any


__all__ = ["MEMBERS", "ROOT", "Member", "Stage", "staged"]


ROOT = Path(__file__).resolve().parents[1]
MEMBERS = ("m1", "m2", "m3")
BROKERS = 3

# The commits of all runs are read back: nothing of them may be compacted away.
_CONFIG = {"offsets.topic.segment.bytes": str(1 << 30), "transaction.state.log.segment.bytes": str(1 << 24)}
_STOP_SECONDS = 40.0


class Member:
    """One consumer: a process that is started, killed, frozen and stopped, on connections that can be harmed.

    Attributes:
        name: what it is called in reports.
        kafka: the proxies before the brokers, in the order of their numbers.
        service: the proxy before the service; its port names the member in the service's journal.
        wanted: whether it should be running: if it ends by itself, somebody has to start it again.
        frozen: whether it is stopped by SIGSTOP.
        starts: when its processes were started.
        exits: how they ended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kafka = [Proxy() for _ in range(BROKERS)]
        self.service = Proxy()
        self.wanted = self.frozen = False
        self.starts: list[float] = []
        self.exits: list[Exit] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self._log = Path()
        self._log_start = 0

    @property
    def proxies(self) -> list[Proxy]:
        """All its proxies."""
        return [*self.kafka, self.service]

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def runs(self) -> bool:
        """Whether it is there and not frozen."""
        return self._process is not None and self._process.poll() is None and not self.frozen

    def prepare(
        self, folder: Path, settings: Mapping[str, Any], *, bootstrap: str | None = None, endpoint: str | None = None
    ) -> None:
        """Write its configuration for the next run.

        Args:
            folder: Where its configuration and its log go.
            settings: The configuration, but for where the brokers and the service are.
            bootstrap: The brokers, where it is to come to them without its proxies.
            endpoint: The service, where it is to come to it without its proxy.
        """
        brokers = bootstrap.split(",") if bootstrap else [f"127.0.0.1:{proxy.port}" for proxy in self.kafka]
        own = {
            **settings,
            "kafka": {**settings["kafka"], "bootstrap_servers": brokers},
            "moderation": {**settings["moderation"], "endpoint": endpoint or f"http://127.0.0.1:{self.service.port}"},
        }
        self._config, self._log = folder / f"{self.name}.yaml", folder / f"{self.name}.log"
        self._config.write_text(yaml.safe_dump(own, sort_keys=False))
        self.starts, self.exits = [], []

    def start(self) -> None:
        """Start its process, if it has none."""
        if self._process is not None:
            return
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODERATION_", "ALIBABA"))}
        with self._log.open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self.starts.append(time.time())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "consumer", "run", str(self._config)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, looked up before the fork
            )
        self.wanted = True

    def kill(self) -> None:
        """End its process at once (SIGKILL)."""
        self.wanted = False
        self._signal(signal.SIGKILL)
        self.reap(asked=True, wait=True)

    def freeze(self) -> None:
        """Stop its process where it stands (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self.frozen = False
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Ask its process to end (SIGTERM), and kill it when it has not after a while; cancelled, it is left alone."""
        if self._process is None:
            return
        self.wanted = False
        self._signal(signal.SIGTERM)
        began = time.time()
        while not self.reap(asked=True, since=began):
            if time.time() > began + _STOP_SECONDS:
                self._signal(signal.SIGKILL)
            await asyncio.sleep(0.02)

    def reap(self, *, asked: bool, wait: bool = False, since: float | None = None) -> bool:
        """Whether there is no process (any more); how it ended is noted."""
        if self._process is None:
            return True
        code = self._process.wait() if wait else self._process.poll()
        if code is None:
            return False
        now = time.time()
        self.exits.append(Exit(self.name, now, code, asked, self.running, now - (since or now)))
        self._process, self.frozen = None, False
        return True

    @property
    def running(self) -> bool:
        """Whether its last process has said that it runs, in its log."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return b'"event": "running"' in log.read()

    def mend(self) -> None:
        """Take all faults of its connections back."""
        for proxy in self.proxies:
            proxy.mend()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@dataclass(frozen=True, slots=True)
class Stage:
    """Brokers and members, kept over many runs."""

    cluster: KafkaCluster
    members: Mapping[str, Member]

    def stamp(self, topic: str) -> None:
        """Have a topic's records carry the time of the brokers, from now on."""
        entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(30)

    @property
    def bootstrap(self) -> str:
        """Where the brokers are for us, with no proxy between."""
        return ",".join(self.cluster.bootstrap_servers)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Start brokers and proxies, on the main thread; all processes end with it."""
    members = {name: Member(name) for name in MEMBERS}
    async with AsyncExitStack() as stack:
        for member in members.values():
            for proxy in member.proxies:
                await stack.enter_async_context(proxy)
        advertised = {name.upper(): [proxy.port for proxy in member.kafka] for name, member in members.items()}
        cluster = stack.enter_context(KafkaCluster(BROKERS, config=_CONFIG, advertised=advertised))
        for name, member in members.items():
            for proxy, port in zip(member.kafka, cluster.listening(name.upper()), strict=True):
                proxy.upstream = ("127.0.0.1", port)
            stack.callback(member.kill)
        yield Stage(cluster, members)
