"""The same promise for what is posted and judged as it comes: read from the topic afterwards, in its own time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from benchmarks.corpora import as_record, chat
from consumer.app import App
from consumer.estimate.corpus import Corpus
from consumer.estimate.gathering import Asked, about, from_topics
from consumer.estimate.replay import World, replay
from consumer.settings import load
from consumer.simulator import Latency, Simulator, SimulatorSettings
from tests.broker.cluster import unique
from tests.estimate.progress import silent
from tests.estimate.world import as_yaml


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.corpora import Posted
    from consumer.demo.broker import EmbeddedBroker
    from consumer.simulator.ledger import Ledger


RATE, EVENTS = 80.0, 500


def alone() -> Iterator[Posted]:
    """A chat without comments: how many of a thread share a call is chance, and that of so few is not within 1 %."""
    return (posted for posted in chat(2, rate=RATE) if posted.event.kind != "comment")


async def judged_live(config: Path, broker: EmbeddedBroker, topic: str, sim: Simulator) -> Ledger:
    """What is billed for events that are written to the topic while the sidecar reads it."""
    app = App(load([config], {}))
    stop = asyncio.Event()
    running = asyncio.create_task(app.run(stop))
    while app.metrics.totals("takeovers").get((), 0.0) < 1:
        await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=0) as producer:
        for number, posted in enumerate(islice(alone(), EVENTS)):
            await asyncio.sleep(max(0.0, posted.at_seconds - (loop.time() - began)))
            await producer.send(topic, as_record(posted.event), partition=number % 4)
        await producer.flush()
    while sum(app.metrics.totals("verdicts").values()) < EVENTS:
        await asyncio.sleep(0.05)
    stop.set()
    await running
    return sim.ledger


@pytest.mark.timeout(120)
def test_live_traffic_costs_what_its_record_says(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """The estimate of a topic, replayed in its own time, is within 1 % of what was billed while it was written."""
    topic, config = unique("ugc"), tmp_path / "config.yaml"

    async def main() -> Ledger:
        for name in (topic, f"{topic}-verdicts", f"{topic}-dead"):
            embedded.create_topic(name)
        simulated = SimulatorSettings(latency=Latency(50.0), task_latency=Latency(500.0), text_per_second=None)
        async with Simulator(simulated) as sim:
            config.write_text(
                as_yaml(
                    kafka={
                        "bootstrap_servers": embedded.bootstrap_servers,
                        "topics": [topic],
                        "group_id": unique("group"),
                        "session_timeout_seconds": 6,
                    },
                    moderation={"endpoint": sim.url},
                    output={"topic": f"{topic}-verdicts", "dead_letters": f"{topic}-dead"},
                    quota={"text_per_second": 200},
                    tasks={"first_poll_seconds": 1, "poll_interval_seconds": 1},
                    cache={"seconds": 2},
                    admin={"host": "127.0.0.1", "port": 0},
                )
            )
            return await judged_live(config, embedded, topic, sim)

    ledger = asyncio.run(main())
    settings = load([config], {}).settings
    with Corpus() as corpus:
        gathered = asyncio.run(from_topics(settings, corpus, Asked(), progress=silent))
        found = about(gathered, settings, Asked(), replicas=1, risk=0.02)
        assert (found.pace, found.records) == ("recorded", EVENTS)
        outcome = replay(corpus, gathered.records.blocks[0], settings, World(found.pace))
    billed = sum(total.cost for total in ledger.moderation_types.values())
    assert float(sum(outcome.money.values())) == pytest.approx(float(billed), rel=0.01)
