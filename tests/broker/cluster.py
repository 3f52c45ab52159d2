"""A real Apache Kafka on this machine, of one node or three, for tests, benchmarks and fault injection."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.ports import free_ports


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


__all__ = ["VERSION", "Broker", "KafkaCluster", "KafkaUnavailable", "die_with_parent", "install", "unique"]


VERSION = "4.1.0"
CACHE_VARIABLE = "MODERATION_KAFKA_CACHE"
READY_SECONDS = 60.0
PARTITIONS = 4

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <!-- Kafka logs through slf4j; without a binding a broker that does not start says nothing. -->
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""

LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n%throwable
"""

# What makes a broker quick to start, small, and without surprises for a test.
CONFIG = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.delete.delay.ms": "0",
    "num.io.threads": "4",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.segment.bytes": "1048576",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.segment.bytes": "1048576",
}

# A broker of a few tests is better off with little memory and no optimising compiler.
JAVA = ("java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class KafkaUnavailable(Exception):
    """This machine cannot run Kafka; the message says what is missing."""


class Broker(Protocol):
    """What a test asks of a broker, embedded or real."""

    @property
    def bootstrap_servers(self) -> list[str]:
        """Where clients connect, as `host:port`."""
        ...

    def create_topic(self, name: str) -> None:
        """Make a topic with four partitions."""
        ...


def unique(name: str) -> str:
    """A name that nobody else uses on a shared broker, for a topic or a group."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def install(version: str = VERSION) -> Path:
    """The directory with Kafka's jars, fetched by Maven the first time.

    They are kept in `.cache/kafka/<version>` of the repository, or under the directory that the environment variable
    MODERATION_KAFKA_CACHE names.

    Raises:
        KafkaUnavailable: Java 17 or Maven is missing, or the jars could not be fetched.
    """
    java = shutil.which("java")
    if java is None:
        raise KafkaUnavailable("java is not installed (Java 17 or later is needed)")
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', banner)
    if found is None or int(found[1]) < 17:
        raise KafkaUnavailable(f"Java 17 or later is needed, found: {banner.splitlines()[:1]}")
    default = Path(__file__).resolve().parents[2] / ".cache" / "kafka"
    home = Path(os.environ.get(CACHE_VARIABLE) or default) / version
    jars = home / "libs"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("mvn is not installed (Apache Maven fetches Kafka the first time)")
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock, tempfile.TemporaryDirectory(dir=home) as work:
        # Test processes run side by side, and Maven's own cache takes one writer.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars.is_dir():
            return jars
        Path(work, "pom.xml").write_text(POM.format(version=version))
        fetched = Path(work, "libs")
        command = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaUnavailable(f"Maven could not fetch Kafka {version}: {(done.stdout + done.stderr)[-2000:]}")
        fetched.rename(jars)
    return jars


class KafkaCluster:
    """Apache Kafka in KRaft mode; every node is broker and controller, numbered from 1.

    Three nodes replicate every topic three times with two in-sync replicas, so that one node may be lost. The
    processes die with this one, however it ends. Start it from the main thread: Linux kills them when the thread that
    started them ends.

    Args:
        nodes: How many nodes; one or three make sense.
        config: Further broker settings, over the defaults here.
        version: The version of Kafka.
        advertised: Further listeners by name (letters and digits, the former upper-case), each with the ports that the
            nodes tell its clients to come to: those of proxies, which find the node itself at `listening`.
        secured: The security protocol of further listeners by name, at which clients come to the nodes themselves, and
            under the host name `localhost`; what else they need is in `config`.
        formatting: Further arguments when the storage is formatted, such as `--add-scram`.
        java: Further options of the Java machine.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        config: Mapping[str, str] | None = None,
        version: str = VERSION,
        advertised: Mapping[str, Sequence[int]] | None = None,
        secured: Mapping[str, str] | None = None,
        formatting: Sequence[str] = (),
        java: Sequence[str] = (),
    ) -> None:
        self._version = version
        self._config = {**CONFIG, **(config or {})}
        self._advertised = dict(advertised or {})
        self._secured = dict(secured or {})
        self._formatting = formatting
        self._options = java
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        each = 2 + len(self._advertised) + len(self._secured)
        ports = free_ports(nodes * each)
        self._ports = {node: tuple(ports[(node - 1) * each : node * each]) for node in range(1, nodes + 1)}
        self._directory: Path | None = None
        self._jars = Path()

    @property
    def nodes(self) -> list[int]:
        """The numbers of all nodes, those that are down included."""
        return list(self._ports)

    @property
    def bootstrap_servers(self) -> list[str]:
        """Where clients connect, as `host:port`, one for each node."""
        return [self._address(node) for node in self._ports]

    def listening(self, listener: str) -> list[int]:
        """The ports at which the nodes themselves wait for the clients of a further listener."""
        at = 2 + [*self._advertised, *self._secured].index(listener)
        return [ports[at] for ports in self._ports.values()]

    def start(self) -> None:
        """Fetch Kafka if need be, format the storage of all nodes and start them; they answer when this returns.

        Raises:
            KafkaUnavailable: this machine cannot run Kafka.
            RuntimeError: a node did not start; the message ends with its log.
        """
        self._jars = install(self._version)
        self._directory = Path(tempfile.mkdtemp(prefix="kafka-"))
        atexit.register(self.stop)
        try:
            self._format()
            for node in self._ports:
                self._processes[node] = self._java(node, "kafka.Kafka")
            for node in self._ports:
                self._wait_for(node)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill all nodes and delete their data and logs."""
        atexit.unregister(self.stop)
        for node in list(self._processes):
            self.kill(node)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def create_topic(self, name: str, partitions: int = PARTITIONS, config: Mapping[str, str] | None = None) -> None:
        """Make a topic; its partitions have leaders when this returns."""
        admin = self._admin()
        copies = min(3, len(self._ports))
        topic = NewTopic(name, num_partitions=partitions, replication_factor=copies, config=dict(config or {}))
        admin.create_topics([topic])[name].result(READY_SECONDS)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            found = admin.list_topics(name, timeout=5).topics[name]
            if len(found.partitions) == partitions and all(each.leader > 0 for each in found.partitions.values()):
                return
            time.sleep(0.02)
        raise RuntimeError(f"topic {name} has no leaders after {READY_SECONDS:.0f} s")

    def kill(self, node: int) -> None:
        """End a node at once (SIGKILL), as a power cut would; its data stay."""
        process = self._processes.pop(node)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, *nodes: int) -> None:
        """Start nodes that were killed, on their data and their ports; they answer when this returns."""
        for node in nodes:
            self._processes[node] = self._java(node, "kafka.Kafka")
        for node in nodes:
            self._wait_for(node)

    def pause(self, node: int) -> None:
        """Freeze a node (SIGSTOP): its connections stay open and nothing is answered."""
        process = self._processes[node].pid
        os.killpg(process, signal.SIGSTOP)
        threads = Path(f"/proc/{process}/task")
        until = time.monotonic() + 5
        # A busy machine takes a moment to stop each of its threads.
        while threads.is_dir() and time.monotonic() < until:
            states = {thread.read_text().rpartition(")")[2].split()[0] for thread in threads.glob("*/stat")}
            if states <= {"T", "Z", "X"}:
                return
            time.sleep(0.005)

    def resume(self, node: int) -> None:
        """Let a frozen node go on (SIGCONT)."""
        os.killpg(self._processes[node].pid, signal.SIGCONT)

    def log(self, node: int) -> str:
        """The end of what a node has logged."""
        assert self._directory is not None
        return (self._directory / f"{node}.log").read_text()[-4000:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _address(self, node: int) -> str:
        return f"127.0.0.1:{self._ports[node][0]}"

    def _admin(self, *nodes: int) -> AdminClient:
        servers = ",".join(self._address(node) for node in nodes or self._ports)
        return AdminClient({"bootstrap.servers": servers, "log_level": 0})

    def _write_config(self, node: int) -> None:
        assert self._directory is not None
        client, controller, *others = self._ports[node]
        further = dict(zip([*self._advertised, *self._secured], others, strict=True))
        told = {name: ports[node - 1] for name, ports in self._advertised.items()}
        secured = {name: further[name] for name in self._secured}
        protocols = dict.fromkeys(("CLIENTS", "CONTROLLERS", *self._advertised), "PLAINTEXT") | self._secured
        copies = min(3, len(self._ports))
        config = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": ",".join(f"{each}@127.0.0.1:{ports[1]}" for each, ports in self._ports.items()),
            "listeners": _listeners({"CLIENTS": client, "CONTROLLERS": controller, **further}),
            "advertised.listeners": ",".join(
                filter(None, (_listeners({"CLIENTS": client, **told}), _listeners(secured, "localhost")))
            ),
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLERS",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": self._directory / f"{node}.data",
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "transaction.state.log.min.isr": max(1, copies - 1),
            **self._config,
        }
        lines = "".join(f"{key}={value}\n" for key, value in config.items())
        (self._directory / f"{node}.properties").write_text(lines)
        (self._directory / "log4j2.properties").write_text(LOGGING)

    def _format(self) -> None:
        """Write each node's configuration and prepare its storage, all at once."""
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatting = {}
        for node in self._ports:
            self._write_config(node)
            arguments = ("format", *self._formatting, f"--cluster-id={cluster_id}", "-c")
            formatting[node] = self._java(node, "kafka.tools.StorageTool", *arguments)
        for node, process in formatting.items():
            if process.wait(READY_SECONDS) != 0:
                raise RuntimeError(f"the storage of node {node} could not be formatted:\n{self.log(node)}")

    def _java(self, node: int, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Run one of Kafka's programs on a node's configuration file."""
        assert self._directory is not None
        logging = f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}"
        command = [*JAVA, *self._options, logging, "-cp", f"{self._jars}/*", main, *arguments]
        with (self._directory / f"{node}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, str(self._directory / f"{node}.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the tests, which stop the broker when they are done with it.
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, looked up before the fork
            )

    def _wait_for(self, node: int) -> None:
        """Return when a node answers and knows all nodes that should be up."""
        admin = self._admin(node)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._processes[node].poll() is not None:
                raise RuntimeError(f"node {node} has ended:\n{self.log(node)}")
            with contextlib.suppress(KafkaException):
                if set(self._processes) <= set(admin.list_topics(timeout=0.5).brokers):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"node {node} did not answer within {READY_SECONDS:.0f} s:\n{self.log(node)}")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL; only Linux can."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _listeners(ports: Mapping[str, int], host: str = "127.0.0.1") -> str:
    return ",".join(f"{name}://{host}:{port}" for name, port in ports.items())
