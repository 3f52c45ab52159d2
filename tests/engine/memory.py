"""A Kafka in memory for tests of the engine: a source, sinks and a judge that do as they are told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import orjson

from consumer.engine.engine import Engine, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.errors import DecodeError, NoteRefused
from consumer.event import Event
from consumer.metrics import Metrics
from consumer.policy import Policy
from consumer.record import OutRecord, Partition, Position, Record
from consumer.routing import Route, Router
from consumer.verdict import Judgement, RiskLevel
from tests import virtual_time


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.engine.ports import Assignments, Claim


__all__ = ["Cluster", "MemorySink", "MemorySource", "ScriptedJudge", "engine", "outcomes"]

TOPIC, VERDICTS, DEAD = "ugc", "verdicts", "dead"


class Cluster:
    """What outlives a consumer: the log, the group's offsets, and what was written."""

    def __init__(self, partitions: int = 1) -> None:
        self.log: dict[Partition, list[Record]] = {Partition(TOPIC, n): [] for n in range(partitions)}
        self.offsets: dict[Partition, Position] = {}
        self.written: list[OutRecord] = []

    def produce(self, value: bytes | None, *, partition: int = 0, key: bytes | None = None, gap: int = 0) -> Record:
        at = Partition(TOPIC, partition)
        log = self.log[at]
        offset = (log[-1].offset + 1 if log else 0) + gap
        record = Record(at, offset, 1_700_000_000_000, key, value, (("trace", b"\x00\xff"),))
        log.append(record)
        return record

    def fill(self, count: int) -> None:
        partitions = len(self.log)
        for n in range(count):
            self.produce(orjson.dumps({"id": f"e{n}", "text": f"text {n}"}), partition=n % partitions)


class MemorySource:
    """Reads a cluster's log; `check` is called with every commit before it is recorded."""

    def __init__(self, cluster: Cluster, *, chunk: int = 20) -> None:
        self.cluster = cluster
        self.chunk = chunk
        self.positions: dict[Partition, int] = {}
        self.commits: list[dict[Partition, Position]] = []
        self.check: Callable[[Mapping[Partition, Position]], None] = lambda _: None
        self.assignments: Assignments | None = None
        self.polled_ready: list[int] = []
        self.metadata_limit = 4096
        self.takes_characters = 4096

    async def start(self, assignments: Assignments) -> None:
        self.assignments = assignments
        assignments.assigned(list(self.cluster.log))

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        self.polled_ready.append(len(ready))
        found: dict[Partition, list[Record]] = {}
        for partition in ready:
            start = self.positions[partition]
            records = [record for record in self.cluster.log[partition] if record.offset >= start][: self.chunk]
            if records:
                self.positions[partition] = records[-1].offset + 1
                found[partition] = records
        if not found:
            await asyncio.sleep(timeout_seconds)
        return found

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        await asyncio.sleep(0.01)
        return {partition: self.cluster.offsets.get(partition) for partition in partitions}

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        starts = {partition: at.offset if at else 0 for partition, at in positions.items()}
        self.positions.update(starts)
        return starts

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        self.check(positions)
        if any(len(at.metadata) > self.takes_characters for at in positions.values()):
            raise NoteRefused("too long")
        await asyncio.sleep(0.002)
        self.commits.append(dict(positions))
        self.cluster.offsets.update(positions)
        return True

    async def stop(self) -> None:
        pass

    def lag(self) -> Mapping[Partition, int]:
        return {p: sum(r.offset >= at for r in self.cluster.log[p]) for p, at in self.positions.items()}


class MemorySink:
    """Writes to a cluster: a record is acknowledged `delay()` seconds after it was sent, or fails as `fail` says."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        delay: Callable[[], float] = lambda: 0.0,
        fail: Callable[[OutRecord], Exception | None] = lambda _: None,
    ) -> None:
        self.cluster = cluster
        self.delay = delay
        self.fail = fail
        self._pending: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        pass

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

        def acknowledge() -> None:
            if future.done():
                return
            error = self.fail(record)
            if error is not None:
                future.set_exception(error)
            else:
                self.cluster.written.append(record)
                future.set_result(None)

        loop.call_later(self.delay(), acknowledge)
        return future

    async def flush(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending)

    async def stop(self) -> None:
        pass


class ScriptedJudge:
    """Judges by a function; counts how often each event was judged and how many at the same time."""

    def __init__(self, answer: Callable[[Event], Awaitable[Judgement | None]] | None = None) -> None:
        self.answer = answer
        self.judged: dict[str, int] = defaultdict(int)
        self.answered: dict[str, int] = defaultdict(int)
        self.now = 0
        self.most = 0

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        claim.begin()
        self.judged[event.id] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        answered = False
        try:
            own = await self.answer(event) if self.answer else None
            answered = True
            self.answered[event.id] += 1
        finally:
            self.now -= 1
            claim.end(billed=answered)
        return own or Judgement(RiskLevel.NONE, route.services)


def intake(record: Record) -> Event:
    """A small intake, so that the engine is tested by itself."""
    try:
        document = orjson.loads(record.value or b"")
    except ValueError:
        raise DecodeError("not JSON") from None
    return Event(id=document["id"], kind="message", text=document.get("text", ""))


def engine(
    cluster: Cluster,
    judge: ScriptedJudge,
    *,
    source: MemorySource | None = None,
    verdicts: MemorySink | None = None,
    dead_letters: MemorySink | None = None,
    metrics: Metrics | None = None,
    paused: Callable[[], bool] = lambda: False,
    max_in_flight: int = 10,
    memory_budget_bytes: int = 10_000_000,
    fetch_bytes: int = 10_000,
    drain_seconds: float = 10.0,
    skip_null: bool = True,
    settled: Callable[[Sequence[Record]], Awaitable[None]] | None = None,
) -> Engine:
    """An engine over a cluster in memory."""
    clock: Clock = virtual_time.LoopClock()
    metrics = metrics or Metrics()
    way = Way(
        intake=intake,
        router=Router([Route("all", ("service",))]),
        judge=judge,
        policy=Policy(),
        topics={"pass": VERDICTS, "review": VERDICTS, "block": VERDICTS},
        dead_letters=DEAD,
        clock=clock,
    )
    return Engine(
        source=source or MemorySource(cluster),
        verdicts=verdicts or MemorySink(cluster),
        dead_letters=dead_letters or MemorySink(cluster),
        way=way,
        limits=Limits(
            max_in_flight=max_in_flight,
            memory_budget_bytes=memory_budget_bytes,
            commit_interval_seconds=0.1,
            drain_seconds=drain_seconds,
            flush_seconds=5.0,
            skip_null=skip_null,
            fetch_bytes=fetch_bytes,
        ),
        tally=Tally(metrics),
        metrics=metrics,
        clock=clock,
        paused=paused,
        settled=settled,
    )


def outcomes(cluster: Cluster) -> dict[tuple[int, int], list[str]]:
    """What each record (partition, offset) became: a list of "verdict" and "dead letter"."""
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for out in cluster.written:
        if out.topic == DEAD:
            headers = dict(out.headers)
            place = (int(headers["moderation-partition"]), int(headers["moderation-offset"]))
            found[place].append("dead letter")
        else:
            record = orjson.loads(out.value)["record"]
            found[record["partition"], record["offset"]].append("verdict")
    return found
