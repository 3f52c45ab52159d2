"""The whole consumer, run in this process against a secured broker, with the simulator behind it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.app import App
from consumer.settings import load
from consumer.settings.models import Kafka, KafkaSecurity
from consumer.simulator import Simulator, SimulatorSettings
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from consumer.settings import Loaded
    from tests.broker.secured import Right, SecuredKafka


__all__ = ["Scene", "running", "wait_for"]


@dataclass(frozen=True, slots=True)
class Scene:
    """The topics and names of one test, made at the plain listener, where one may do anything."""

    cluster: SecuredKafka
    events: str
    verdicts: str
    letters: str
    group: str

    @classmethod
    def on(cls, cluster: SecuredKafka, *, state: bool = True) -> Scene:
        """New topics; with the state topic, so that nobody needs the right to make it."""
        scene = cls(cluster, *(unique(name) for name in ("events", "verdicts", "letters", "group")))
        for topic in (scene.events, scene.verdicts, scene.letters):
            cluster.create_topic(topic)
        if state:
            cluster.create_topic(scene.state, 3, {"cleanup.policy": "compact,delete"})
        return scene

    @property
    def state(self) -> str:
        """The state topic."""
        return f"{self.group}.state"

    def rights(self, guarantee: str = "at_least_once") -> list[Right]:
        """All that the consumer needs, as the documentation has it, and no more."""
        rights = [
            ("topic", self.events, "read"),
            ("group", self.group, "read"),
            ("topic", self.verdicts, "write"),
            ("topic", self.letters, "write"),
            ("topic", self.state, "read"),
            ("topic", self.state, "write"),
        ]
        return rights + ([("transactional_id", self.group, "write")] if guarantee == "exactly_once" else [])

    def produce(self, count: int) -> None:
        """Write events, of which one in a hundred cannot be read."""
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap_servers[0], "log_level": 0, "linger.ms": 20})
        for number in range(count):
            value = orjson.dumps({"id": f"e{number}", "text": f"text {number}"}) if number % 100 else b"{broken"
            producer.produce(self.events, value, f"k{number}")
            producer.poll(0)
        left = producer.flush(30)
        assert not left, f"{left} events were not written: {self.cluster.log(1)}"

    def verdict_ids(self) -> list[str]:
        """The events of all verdicts that are there now."""
        return [orjson.loads(value)["event_id"] for value in self._values(self.verdicts)]

    def letter_count(self) -> int:
        """How many dead letters there are now."""
        return len(self._values(self.letters))

    def environment(self, endpoint: str, **more: str) -> dict[str, str]:
        """The settings of this test, as variables; where the brokers are and how to talk to them is not among them."""
        settings = {
            "KAFKA__BOOTSTRAP_SERVERS": "localhost:1",
            "KAFKA__TOPICS": self.events,
            "KAFKA__GROUP_ID": self.group,
            "KAFKA__START": "earliest",
            "DELIVERY__MAX_IN_FLIGHT": "200",
            "OUTPUT__TOPIC": self.verdicts,
            "OUTPUT__DEAD_LETTERS": self.letters,
            "MODERATION__ENDPOINT": endpoint,
            "MODERATION__CREDENTIALS__ACCESS_KEY_ID": "testid",
            "MODERATION__CREDENTIALS__ACCESS_KEY_SECRET": "testsecret",
            "QUOTA__TEXT_PER_SECOND": "100000",
            "ADMIN__HOST": "127.0.0.1",
            "ADMIN__PORT": "0",
            **more,
        }
        return {f"MODERATION__{name}": value for name, value in settings.items()}

    def loaded(
        self, listener: str, security: Mapping[str, Any], endpoint: str = "http://127.0.0.1:1", **more: str
    ) -> Loaded:
        """The settings of this test, with this way to the brokers."""
        found = load([], self.environment(endpoint, **more))
        kafka = self.kafka(listener, security, found.settings.kafka)
        return replace(found, settings=found.settings.model_copy(update={"kafka": kafka}))

    def kafka(self, listener: str, security: Mapping[str, Any], base: Kafka | None = None) -> Kafka:
        """Where the brokers are and how to talk to them; a listener, or an address such as `127.0.0.1:9092`."""
        base = base or Kafka(bootstrap_servers=["h:1"], topics=[self.events], group_id=self.group, start="earliest")
        server = listener if ":" in listener else self.cluster.at(listener)
        secure = KafkaSecurity.model_validate(security)
        return base.model_copy(update={"bootstrap_servers": [server], "security": secure})

    def _values(self, topic: str) -> list[bytes]:
        reader = Consumer(
            {
                "bootstrap.servers": self.cluster.bootstrap_servers[0],
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        partitions = [TopicPartition(topic, number, 0) for number in range(4)]
        reader.assign(partitions)
        values, ended = [], 0
        deadline = time.monotonic() + 30
        while ended < len(partitions):
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end: {self.cluster.log(1)}"
            for record in reader.consume(1000, 1.0):
                if record.error() is None:
                    values.append(record.value())
                else:
                    ended += 1
        reader.close()
        return values


@asynccontextmanager
async def running(scene: Scene, listener: str, security: Mapping[str, Any], **more: str) -> AsyncIterator[App]:
    """The consumer while it works; at the end it is stopped as by SIGTERM."""
    stop = asyncio.Event()
    async with Simulator(SimulatorSettings(text_per_second=None)) as simulator:
        app = App(scene.loaded(listener, security, simulator.url, **more))
        work = asyncio.create_task(app.run(stop))
        try:
            while app.status()["state"] == "starting" and not work.done():
                await asyncio.sleep(0.02)
            if work.done():
                await work
            yield app
        finally:
            stop.set()
            await work


async def wait_for(app: App, count: int, *, seconds: float = 50) -> None:
    """Return when so many events have ended as a verdict or a dead letter, or when the consumer has ended."""
    async with asyncio.timeout(seconds):
        while app.status()["state"] != "stopped":
            totals = [*app.metrics.totals("verdicts").values(), *app.metrics.totals("dead_letters").values()]
            if sum(totals) >= count:
                return
            await asyncio.sleep(0.02)
