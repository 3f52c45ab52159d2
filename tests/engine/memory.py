"""A Kafka in memory for tests of the engine: a source, sinks and a judge that do as they are told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from consumer.engine.engine import Engine
from consumer.engine.limits import AtLeast, Exactly, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.errors import DecodeError, Fenced, NoteRefused, TransactionRefused
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
    from consumer.engine.letter_limit import LetterLimit
    from consumer.engine.order import Ordering
    from consumer.engine.ports import Assignments, Claim, Judge, Proofs


__all__ = [
    "Cluster",
    "MemorySink",
    "MemorySource",
    "MemoryUnit",
    "ScriptedJudge",
    "engine",
    "killed",
    "outcomes",
    "stopped",
]

TOPIC, VERDICTS, DEAD = "ugc", "verdicts", "dead"


class Cluster:
    """What outlives a consumer: the log, the group's offsets, and what was written."""

    def __init__(self, partitions: int = 1) -> None:
        self.log: dict[Partition, list[Record]] = {Partition(TOPIC, n): [] for n in range(partitions)}
        self.offsets: dict[Partition, Position] = {}
        self.written: list[OutRecord] = []
        self.owner: object = None

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
        self.next: dict[Partition, int] = {}
        self.rejoined = 0
        self.commits: list[dict[Partition, Position]] = []
        self.check: Callable[[Mapping[Partition, Position]], None] = lambda _: None
        self.assignments: Assignments | None = None
        self.polled_ready: list[int] = []
        self.metadata_limit = 4096
        self.takes_characters = 4096
        self.member = True

    async def start(self, assignments: Assignments) -> None:
        self.assignments = assignments
        assignments.assigned(list(self.cluster.log))

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        self.polled_ready.append(len(ready))
        found: dict[Partition, list[Record]] = {}
        for partition in ready:
            start = self.next[partition]
            records = [record for record in self.cluster.log[partition] if record.offset >= start][: self.chunk]
            if records:
                self.next[partition] = records[-1].offset + 1
                found[partition] = records
        if not found:
            await asyncio.sleep(timeout_seconds)
        return found

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        await asyncio.sleep(0.01)
        return {partition: self.cluster.offsets.get(partition) for partition in partitions}

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        starts = {partition: at.offset if at else 0 for partition, at in positions.items()}
        self.next.update(starts)
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

    async def rejoin(self) -> None:
        self.rejoined += 1

    async def vouch(self) -> bool:
        return self.member

    def positions(self) -> Mapping[Partition, int]:
        return dict(self.next)

    def lag(self) -> Mapping[Partition, int]:
        return {p: sum(r.offset >= at for r in self.cluster.log[p]) for p, at in self.next.items()}


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
        self._sent = 0

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

        # Timers of the same moment run in any order; what was sent first is to be written first.
        self._sent += 1
        loop.call_later(self.delay() + self._sent * 1e-9, acknowledge)
        return future

    async def flush(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending)

    async def stop(self) -> None:
        pass


class MemoryUnit:
    """Transactions on a cluster; the newest unit of a cluster is the one that may write.

    `before` may raise before a transaction is made, `after` once it is, as if only the answer were lost.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        seconds: float = 0.005,
        before: Callable[[Sequence[OutRecord]], Exception | None] = lambda _: None,
        after: Callable[[], Exception | None] = lambda: None,
        largest: int = 10**9,
    ) -> None:
        self.cluster = cluster
        self.seconds = seconds
        self.before = before
        self.after = after
        self.largest = largest
        self.transactions: list[int] = []
        self.usable = False
        self.stopped = False

    async def fence(self) -> None:
        await asyncio.sleep(self.seconds)
        self.cluster.owner = self
        self.usable = True

    async def transact(self, records: Sequence[OutRecord], positions: Mapping[Partition, Position]) -> None:
        assert self.usable
        self.usable = False
        await asyncio.sleep(self.seconds)
        if self.cluster.owner is not self:
            raise Fenced("another unit")
        if any(len(record.value or b"") > self.largest for record in records):
            raise TransactionRefused("too large")
        if (error := self.before(records)) is not None:
            raise error
        self.cluster.written += records
        self.cluster.offsets.update(positions)
        self.transactions.append(len(records))
        if (error := self.after()) is not None:
            raise error
        self.usable = True

    async def stop(self) -> None:
        self.stopped = True


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
    judge: Judge,
    *,
    router: Router | None = None,
    source: MemorySource | None = None,
    verdicts: MemorySink | None = None,
    dead_letters: MemorySink | None = None,
    unit: MemoryUnit | None = None,
    metrics: Metrics | None = None,
    paused: Callable[[], bool] = lambda: False,
    max_in_flight: int = 10,
    memory_budget_bytes: int = 10_000_000,
    fetch_bytes: int = 10_000,
    drain_seconds: float = 10.0,
    skip_null: bool = True,
    settled: Callable[[Sequence[Record]], Awaitable[None]] | None = None,
    ordering: Ordering = "unordered",
    takeover_seconds: float = 0.0,
    prepare: Callable[[], Awaitable[None]] | None = None,
    proofs: Proofs | None = None,
    letter_limit: LetterLimit | None = None,
    make_way: Callable[..., Way] = Way,
) -> Engine:
    """An engine over a cluster in memory: at least once, or exactly once where a unit is given."""
    clock: Clock = virtual_time.LoopClock()
    metrics = metrics or Metrics()
    router = router or Router([Route("all", ("service",))])
    way = make_way(
        intake=intake,
        router=router,
        judge=judge,
        policy=Policy(),
        topics={"pass": VERDICTS, "review": VERDICTS, "block": VERDICTS},
        dead_letters=DEAD,
        clock=clock,
    )
    return Engine(
        source=source or MemorySource(cluster),
        guarantee=(
            AtLeast(verdicts or MemorySink(cluster), dead_letters or MemorySink(cluster))
            if unit is None
            else Exactly(units=lambda _: unit, unit_of=lambda _: "group")
        ),
        way=way,
        limits=Limits(
            max_in_flight=max_in_flight,
            memory_budget_bytes=memory_budget_bytes,
            commit_interval_seconds=0.1,
            drain_seconds=drain_seconds,
            flush_seconds=5.0,
            skip_null=skip_null,
            fetch_bytes=fetch_bytes,
            takeover_seconds=takeover_seconds,
            ordering=ordering,
        ),
        tally=Tally(metrics),
        metrics=metrics,
        clock=clock,
        paused=paused,
        settled=settled,
        prepare=prepare,
        proofs=proofs,
        letter_limit=letter_limit,
        weight=router.weight,
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
            record = orjson.loads(out.value or b"")["record"]
            found[record["partition"], record["offset"]].append("verdict")
    return found


async def killed(cluster: Cluster, judge: ScriptedJudge, seconds: float, **more: Any) -> None:
    """Run an engine, and kill it after so long."""
    running = asyncio.create_task(engine(cluster, judge, **more).run(asyncio.Event()))
    await asyncio.sleep(seconds)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def stopped(cluster: Cluster, judge: ScriptedJudge, seconds: float, **more: Any) -> None:
    """Run an engine, and stop it as planned after so long."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await engine(cluster, judge, **more).run(stop)
