"""One life of a simulated process: the real engine, guard, buckets, task board and state topic on the memory Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from consumer.building import hand_out
from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast, Exactly, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.errors import DecodeError
from consumer.event import Event
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.state import StateTopic
from consumer.moderation.tasks.task import Place
from consumer.moderation.thread_judge import ThreadJudge
from consumer.policy import Policy
from consumer.quota import Bucket, StallGuard
from consumer.routing import Route, Router
from consumer.settings.models import Tasks, Threads
from tests.simulation.judge import SimClient, SimJudge, Tokens
from tests.simulation.loop import SimClock
from tests.simulation.membership import Timing
from tests.simulation.metrics import NoMetrics
from tests.simulation.source import SimSource
from tests.simulation.state_log import SimStateLog
from tests.simulation.writers import SimSink, SimUnit


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from consumer.engine.order import Ordering
    from consumer.engine.ports import Assignments
    from consumer.record import Partition, Record
    from tests.simulation.kafka import MemoryKafka
    from tests.simulation.vendor import Vendor


__all__ = ["DEAD", "GROUP", "TOPIC", "VERDICTS", "Shape", "Watch", "intake", "live", "unit_of"]


TOPIC, VERDICTS, DEAD, GROUP = "ugc", "verdicts", "dead", "group"
_TASKS = Tasks(first_poll_seconds=0.5, poll_interval_seconds=0.5, deadline_seconds=600)
_THREADS = Threads(max_age_seconds=0)
_GAP_SECONDS = 0.7
TIMING = Timing()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the processes of one group are configured."""

    guarantee: str
    scale: str
    ordering: Ordering
    limit: int
    max_in_flight: int = 8
    drain_seconds: float = 1.0
    flush_seconds: float = 1.0
    jitter_seconds: float = 0.03
    timing: Timing = TIMING


class Watch:
    """Is told what a process does, for the audit; this one listens to nothing."""

    def sent(self, client: str, kind: str, event: str) -> None:
        """A request that may be billed leaves directly after this."""

    def assigned(self, client: str, partitions: Collection[Partition]) -> None:
        """A process was given partitions."""

    def revoking(self, client: str, partitions: Collection[Partition]) -> None:
        """A process is about to give partitions up."""

    def revoked(self, client: str, partitions: Collection[Partition]) -> None:
        """A process has given partitions up."""

    def rejoining(self, client: str) -> None:
        """A process has found out that another one took over."""


class _Watched(SimSource):
    """A source that tells what happens to its partitions."""

    watch: Watch

    async def start(self, assignments: Assignments) -> None:
        await super().start(_Between(assignments, self.watch, self.client))

    async def rejoin(self) -> None:
        self.watch.rejoining(self.client)
        await super().rejoin()


class _Between:
    """Stands between a source and its engine, and tells."""

    def __init__(self, assignments: Assignments, watch: Watch, client: str) -> None:
        self._assignments = assignments
        self._watch = watch
        self._client = client

    def assigned(self, partitions: Collection[Partition]) -> None:
        self._watch.assigned(self._client, partitions)
        self._assignments.assigned(partitions)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        self._watch.revoking(self._client, partitions)
        await self._assignments.revoked(partitions)
        self._watch.revoked(self._client, partitions)


def intake(record: Record) -> Event:
    """A small intake: JSON with an id and a kind."""
    try:
        document = orjson.loads(record.value or b"")
    except ValueError:
        raise DecodeError("not JSON") from None
    return Event(id=document["id"], kind=document["kind"], text="text")


async def live(
    kafka: MemoryKafka, vendor: Vendor, client: str, shape: Shape, stop: asyncio.Event, watch: Watch
) -> None:
    """Work until `stop` is set; what is built here, and in which order, is what the program itself does."""
    clock, metrics = SimClock(kafka.network.loop), NoMetrics()
    guard = StallGuard(clock, limit_seconds=_GAP_SECONDS, proof_seconds=shape.timing.session / 2)
    limits = {"text": shape.limit, "multimodal_submit": shape.limit, "multimodal_query": shape.limit}
    buckets = {name: Bucket(shape.limit, jitter_seconds=shape.jitter_seconds, clock=clock) for name in limits}

    def sent(kind: str, event: str) -> None:
        watch.sent(client, kind, event)

    tokens = Tokens(buckets["text"], buckets["multimodal_submit"], buckets["multimodal_query"])
    api = SimClient(vendor, client, guard=guard, tokens=tokens, sent=sent)
    state = StateTopic(SimStateLog(kafka, client, f"{GROUP}.state"), clock=clock, metrics=metrics)
    board = TaskBoard(
        store=state, query=api, settings=_TASKS, callbacks=False, clock=clock, metrics=metrics, exchange=state
    )
    source = _Watched(
        kafka,
        client,
        group_id=GROUP,
        topics=[TOPIC],
        scale="failover" if shape.scale == "failover" else "share",
        limits=limits,
        handed_out=lambda given: hand_out(buckets, given),  # type: ignore[arg-type]  # its names are those of buckets
        timing=shape.timing,
    )
    source.watch = watch
    await state.start()
    async with ThreadJudge(
        api, board, tokens=tokens.submit, threads=_THREADS, tasks=_TASKS, clock=clock, metrics=metrics, group_id=GROUP
    ) as threads:

        async def settled(records: Sequence[Record]) -> None:
            await threads.forget([Place.of(record) for record in records])

        sinks = SimSink(kafka, f"{client}/verdicts"), SimSink(kafka, f"{client}/letters")
        for sink in sinks:
            await sink.start()
        engine = Engine(
            source=source,
            guarantee=_guarantee(kafka, client, shape, sinks),
            way=Way(
                intake=intake,
                router=Router([Route("all", ("service",))]),
                judge=SimJudge(api, threads),
                policy=Policy(),
                topics=dict.fromkeys(("pass", "review", "block"), VERDICTS),
                dead_letters=DEAD,
                clock=clock,
            ),
            limits=Limits(
                max_in_flight=shape.max_in_flight,
                memory_budget_bytes=10_000_000,
                commit_interval_seconds=0.1,
                drain_seconds=shape.drain_seconds,
                flush_seconds=shape.flush_seconds,
                skip_null=True,
                idle_poll_seconds=0.25,
                takeover_seconds=tokens.text.window_seconds,
                ordering=shape.ordering,
            ),
            tally=Tally(metrics),
            metrics=metrics,
            clock=clock,
            settled=settled,
            prepare=state.caught_up,
            proofs=guard,
        )
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(one) for one in (guard.run(), state.run(), board.run())]
            await engine.run(stop)
            for task in beside:
                task.cancel()
    for sink in sinks:
        await sink.stop()
    await state.stop()


def _guarantee(kafka: MemoryKafka, client: str, shape: Shape, sinks: tuple[SimSink, SimSink]) -> AtLeast | Exactly:
    if shape.guarantee == "at_least_once":
        return AtLeast(*sinks)
    return Exactly(
        lambda name: SimUnit(kafka, f"{client}/unit", name, GROUP), lambda partition: unit_of(shape, partition)
    )


def unit_of(shape: Shape, partition: Partition) -> str:
    """The unit that a partition belongs to."""
    return GROUP if shape.scale == "failover" else f"{GROUP}/{partition}"
