"""A quick measure of a configuration: a Kafka in this process, a simulator beside it, and the consumer as it runs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from consumer.app import App
from consumer.building import limits
from consumer.demo.broker import EmbeddedBroker
from consumer.errors import StartError
from consumer.settings import Loaded
from consumer.settings.models import Callbacks, KafkaSecurity


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from consumer.settings import Settings


__all__ = ["Measured", "RouteMeasured", "measure"]


_LOOK_SECONDS = 0.05
# No outcome for so long: what is missing will not come.
_STALLED_SECONDS = 20.0
_START_SECONDS = 20.0
_UNLIMITED = 1_000_000
_TASK_MS = 200


@dataclass(slots=True)
class RouteMeasured:
    """What the events of one route came to."""

    events: int = 0
    requests: int = 0
    units: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def add(self, verdict: Mapping[str, Any]) -> None:
        """One verdict."""
        self.events += 1
        self.requests += verdict["attempts"] if verdict["source"] not in {"cache", "joined"} else 0
        self.latencies_ms.append(verdict["latency_ms"])
        for line in verdict["billed"]:
            self.units += line["units"]
            paid = self.cost.get(line["currency"], Decimal(0))
            self.cost[line["currency"]] = paid + Decimal(str(line["cost"]))

    def latency_ms(self, share: float) -> float:
        """What this share of the events took at most, from when each was begun."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        asked: How many events were written.
        done: How many became a verdict or a dead letter, or were skipped.
        seconds: From the first event that was read to the last that was done.
        cpu_seconds: What this process used in that time; the broker is in it, the simulator is not.
        routes: What the events of each route came to.
        sources: How many verdicts came from where.
        dead_letters: How many there were, by stage and reason.
        tokens: How many calls counted against each limit of the account.
        holding: Why it holds, where it does.
    """

    asked: int
    done: int
    seconds: float
    cpu_seconds: float
    routes: Mapping[str, RouteMeasured]
    sources: Mapping[str, int]
    dead_letters: Mapping[str, int]
    tokens: Mapping[str, float]
    holding: str

    def allowed_per_second(self, settings: Settings) -> Mapping[str, float]:
        """How many events like these each of the account's limits lets through in a second."""
        window_seconds = 1.0 + settings.quota.jitter_seconds
        return {
            quota: self.done * limit / window_seconds / self.tokens[quota]
            for quota, limit in limits(settings).items()
            if self.tokens.get(quota)
        }


async def measure(
    loaded: Loaded,
    records: Sequence[tuple[bytes | None, bytes]],
    *,
    latency_ms: str,
    quotas: bool,
    tell: Callable[[int], None],
) -> Measured:
    """Have records moderated as fast as it goes.

    Mapping, routes, batching, cache and delivery are the configuration's own. In place of its brokers there is one in
    this process, and in place of the service a simulator in a process of its own. Delivery is at least once, results
    of tasks are polled for at once, budgets, callbacks and traces are left out.

    Args:
        loaded: The settings.
        records: Keys and values of the records.
        latency_ms: How long the service takes to answer, as `simulate --latency-ms` has it.
        quotas: Whether the account's limits are kept to.
        tell: Called with how many more are done.

    Raises:
        StartError: a part cannot be started.
    """
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker())
        url = await stack.enter_async_context(_simulator(latency_ms))
        settings = _here(loaded.settings, broker.bootstrap_servers, url, quotas=quotas)
        output = settings.output
        topic, letters = settings.kafka.topics[0], output.dead_letters
        for name in {*settings.kafka.topics, output.topic, *output.topics.values(), letters}:
            await asyncio.to_thread(broker.create_topic, name)
        await asyncio.to_thread(_write, broker.bootstrap_servers, topic, records)
        app, stop = App(Loaded(settings, loaded.origins)), asyncio.Event()
        consumer = asyncio.create_task(app.run(stop))
        try:
            seconds, cpu_seconds, done = await _watched(app, consumer, len(records), tell)
            holding = "; ".join(str(hold["reason"]) for hold in app.status().get("holds", ()))
        finally:
            stop.set()
            await consumer
        verdicts = {output.topic, *output.topics.values()}
        routes: dict[str, RouteMeasured] = {}
        sources: Counter[str] = Counter()
        written = _total(app, "verdicts")
        for value in await asyncio.to_thread(_read, broker.bootstrap_servers, verdicts, round(written)):
            verdict = orjson.loads(value)
            routes.setdefault(verdict["route"], RouteMeasured()).add(verdict)
            sources[verdict["source"]] += 1
        return Measured(
            len(records),
            done,
            seconds,
            cpu_seconds,
            routes,
            sources,
            {"/".join(code): round(count) for code, count in app.metrics.totals("dead_letters").items()},
            {quota: used for (quota,), used in app.metrics.totals("quota_used").items()},
            holding,
        )


def _here(settings: Settings, servers: list[str], url: str, *, quotas: bool) -> Settings:
    """The settings with the brokers and the service of this machine, and without what would keep them from it."""
    kafka = settings.kafka.model_copy(
        update={
            "bootstrap_servers": servers,
            "security": KafkaSecurity(),
            "start": "earliest",
            "scale": "failover",
            "group_instance_id": None,
        }
    )
    own = settings.moderation
    credentials = type(own.credentials).model_validate(
        {"provider": "static", "access_key_id": "testid", "access_key_secret": "testsecret"}
    )
    moderation = own.model_copy(
        update={
            "endpoint": url,
            "fallback_endpoint": None,
            "credentials": credentials,
            "services": {name: one.model_copy(update={"endpoint": None}) for name, one in own.services.items()},
        }
    )
    lifted = {name: _UNLIMITED for name in type(settings.quota).model_fields if name.endswith("_per_second")}
    return settings.model_copy(
        update={
            "kafka": kafka,
            "moderation": moderation,
            "quota": settings.quota if quotas else settings.quota.model_copy(update=lifted),
            "tasks": settings.tasks.model_copy(update={"first_poll_seconds": 0.5, "poll_interval_seconds": 0.5}),
            "delivery": settings.delivery.model_copy(update={"guarantee": "at_least_once"}),
            "admin": settings.admin.model_copy(update={"host": "127.0.0.1", "port": 0}),
            "callbacks": Callbacks(),
            "budgets": [],
            "tracing": settings.tracing.model_copy(update={"enabled": False}),
        }
    )


@asynccontextmanager
async def _simulator(latency_ms: str) -> AsyncIterator[str]:
    """A simulator without limits in a process of its own; its URL."""
    quotas = ("text", "image", "image_llm", "multimodal_submit", "multimodal_query")
    args = ["simulate", "--port", "0", "--latency-ms", latency_ms, "--task-ms", str(_TASK_MS)]
    args += [part for name in quotas for part in ("--quota", f"{name}=0")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "consumer",
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("_MODERATION_CONSUMER")},
    )
    if process.stdout is None:
        raise RuntimeError("a pipe was asked for")
    try:
        async with asyncio.timeout(_START_SECONDS):
            greeting = (await process.stdout.readline()).decode()
        if not greeting:
            raise StartError("the simulator did not start", "try `moderation-consumer simulate`")
        yield greeting.split()[-1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _watched(
    app: App, consumer: asyncio.Task[None], wanted: int, tell: Callable[[int], None]
) -> tuple[float, float, int]:
    """Wait until all is done, or nothing gets on; the seconds and the CPU seconds that it took, and how many are."""
    began = moved_at = time.monotonic()
    cpu, last_at, last_cpu, done = time.process_time(), began, time.process_time(), 0
    reading = False
    while done < wanted and not consumer.done():
        await asyncio.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        if not reading and _total(app, "events"):
            reading, began, cpu = True, now, time.process_time()
        counted = round(sum(_total(app, name) for name in ("verdicts", "dead_letters", "skipped")))
        if counted != done:
            tell(counted - done)
            done, moved_at, last_at, last_cpu = counted, now, now, time.process_time()
        elif now - moved_at > _STALLED_SECONDS:
            break
    return max(last_at - began, _LOOK_SECONDS), last_cpu - cpu, done


def _total(app: App, name: str) -> float:
    return sum(app.metrics.totals(name).values())


def _write(servers: list[str], topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415  # an optional extra, which the embedded broker has asked for

    producer = Producer({"bootstrap.servers": ",".join(servers), "queue.buffering.max.messages": 1_000_000})
    for key, value in records:
        producer.produce(topic, value, key)
        producer.poll(0)
    if producer.flush(_START_SECONDS):
        raise StartError("the embedded broker does not take so many records", "try fewer of them with --events")


def _read(servers: list[str], topics: set[str], wanted: int) -> list[bytes]:
    """So many values of these topics, or as many as come."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition  # noqa: PLC0415  # as above

    reader = Consumer({"bootstrap.servers": ",".join(servers), "group.id": "bench-reader"})
    try:
        found = [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in reader.list_topics(topic, timeout=_START_SECONDS).topics[topic].partitions
        ]
        reader.assign(found)
        values: list[bytes] = []
        until = time.monotonic() + _START_SECONDS
        while len(values) < wanted and time.monotonic() < until:
            values += [value for one in reader.consume(1000, 0.2) if one.error() is None and (value := one.value())]
        return values
    finally:
        reader.close()
