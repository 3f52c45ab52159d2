"""What tests of estimates share: settings, records, a replay of them, and the real run that follows."""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from consumer.building import policy, routes
from consumer.clock import SystemClock
from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.estimate.corpus import Block, Corpus
from consumer.estimate.replay import World, replay
from consumer.intake import Intake
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.routing import Router
from consumer.settings import load
from consumer.simulator import Latency, Simulator, SimulatorSettings
from tests.engine.memory import TOPIC, Cluster, MemorySink, MemorySource


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.estimate.outcome import Outcome
    from consumer.settings import Settings
    from consumer.simulator.ledger import Ledger


__all__ = ["EPOCH_MS", "QUOTAS", "as_yaml", "configured", "corpus", "event", "ledger_of", "replayed"]


EPOCH_MS = 1_767_323_045_000
QUOTAS = ("text", "image", "image_llm", "multimodal_submit", "multimodal_query")
_PARTITIONS = 4


def as_yaml(**sections: Mapping[str, Any] | Sequence[Any]) -> str:
    """A whole configuration, with these sections or keys of sections beside what has to be there."""
    whole: dict[str, Any] = {
        "kafka": {"bootstrap_servers": ["nowhere:1"], "topics": [TOPIC], "group_id": "group", "start": "earliest"},
        "moderation": {
            "region": "cn-shanghai",
            "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
        },
    }
    for name, keys in sections.items():
        whole[name] = {**whole.get(name, {}), **keys} if isinstance(keys, dict) else keys
    return yaml.safe_dump(whole)


def configured(**sections: Mapping[str, Any] | Sequence[Any]) -> Settings:
    """The settings of such a configuration."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(as_yaml(**sections))
        file.flush()
        return load([file.name], {}).settings


def event(number: object, text: str = "hello", **more: Any) -> bytes:
    """The value of a record."""
    return orjson.dumps({"id": f"e{number}", "text": text, **more})


def corpus(values: Sequence[bytes | None], *, seconds: Sequence[float] | None = None, partitions: int = 1) -> Corpus:
    """These records, spread over partitions in turn; without timestamps, or so many seconds after the epoch."""
    found = Corpus()
    for number, value in enumerate(values):
        timestamp = -1 if seconds is None else EPOCH_MS + round(seconds[number] * 1000)
        found.add(Record(Partition(TOPIC, number % partitions), number, timestamp, None, value))
    found.close()
    return found


def replayed(
    values: Sequence[bytes | None],
    settings: Settings,
    world: World | None = None,
    *,
    seconds: Sequence[float] | None = None,
    partitions: int = 1,
    block: Block | None = None,
) -> Outcome:
    """What these records come to."""
    with corpus(values, seconds=seconds, partitions=partitions) as records:
        return replay(records, block or Block.whole(len(values)), settings, world or World())


async def ledger_of(values: Sequence[bytes], sections: Mapping[str, Any]) -> Ledger:
    """What a simulator bills for these records, read as a backlog, by a run in real time over sockets."""
    cluster = Cluster(_PARTITIONS)
    for number, value in enumerate(values):
        cluster.produce(value, partition=number % _PARTITIONS)
    unlimited: dict[str, Any] = {f"{name}_per_second": None for name in QUOTAS}
    simulated = SimulatorSettings(**unlimited, latency=Latency(50.0), task_latency=Latency(500.0))
    async with Simulator(simulated) as sim:
        moderation = {
            "region": "cn-shanghai",
            "endpoint": sim.url,
            "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
        }
        settings = configured(**{**sections, "moderation": moderation})
        await _run(cluster, settings, len(values))
        return sim.ledger


async def _run(cluster: Cluster, settings: Settings, records: int) -> None:
    clock, metrics = SystemClock(), Metrics()
    router = Router(routes(settings))
    async with Judging(settings, clock=clock, metrics=metrics) as judging:
        running = asyncio.create_task(judging.run())
        await judging.started.wait()
        way = Way(
            intake=Intake(settings.mapping).event,
            router=router,
            judge=judging.judge,
            policy=policy(settings),
            topics=dict.fromkeys(("pass", "review", "block"), "verdicts"),
            dead_letters="dead",
            clock=clock,
        )
        engine = Engine(
            source=MemorySource(cluster, chunk=800),
            guarantee=AtLeast(MemorySink(cluster), MemorySink(cluster)),
            way=way,
            limits=Limits(
                max_in_flight=settings.delivery.max_in_flight,
                memory_budget_bytes=settings.delivery.memory_budget_bytes,
                commit_interval_seconds=settings.delivery.commit_interval_seconds,
                drain_seconds=10.0,
                flush_seconds=5.0,
                skip_null=True,
            ),
            tally=Tally(metrics),
            metrics=metrics,
            clock=clock,
            settled=judging.settled,
            weight=router.weight,
        )
        stop = asyncio.Event()
        working = asyncio.create_task(engine.run(stop))
        while len(cluster.written) < records:
            await asyncio.sleep(0.05)
        stop.set()
        await working
        running.cancel()
        await asyncio.wait({running})
