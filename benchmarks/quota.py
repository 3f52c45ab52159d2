"""How much of the account's quota is used, and is a single call refused?

usage: python -m benchmarks.quota [--rows text-1-failover,image-3-share-skewed] [--seconds 60] [--list]

Consumers as processes, on a real Kafka of one node, against the simulator's strict sliding second. The ceiling is
N/(1+J): a sender that must never be refused cannot do more where the network may bunch calls up by J. A row is named by
its quota (text: 50 a second, image: 100, multimodal: 10), its replicas, their scale, and what happens meanwhile:

    (nothing)   more work waits in each partition than can be done
    skewed      four of five events are in one partition, and come at 1.2 N a second
    jitter      each request and each answer takes 0 to 30 ms longer
    kill        a replica at work is killed (kill -9) and started again
    freeze      a replica at work stands still beyond its session, and wakes
    rebalance   one replica after the other is stopped and started again

The window begins when all replicas do what they should; refusals are counted from the first call to the last. What the
machine itself is late by, is jitter too: where an event loop that has nothing to do wakes up later than J, refusals say
nothing of the consumer.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import aiohttp
import orjson
from confluent_kafka import Producer

from benchmarks.harness import table
from chaos.stage import ROOT, Member
from tests.broker.cluster import KafkaCluster, unique


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


__all__ = ["ROWS", "Measured", "Row", "measure"]


Quota = Literal["text", "image", "multimodal"]
Scale = Literal["failover", "share"]
How = Literal["", "skewed", "jitter", "kill", "freeze", "rebalance"]
_TRAFFIC: tuple[How, ...] = ("", "skewed")
_TROUBLE: tuple[How, ...] = ("jitter", "kill", "freeze", "rebalance")

LIMITS: dict[Quota, int] = {"text": 50, "image": 100, "multimodal": 10}
JITTER_SECONDS = 0.03
_WAVE_SECONDS = 1 + JITTER_SECONDS

_CLASSES: dict[Quota, str] = {"text": "text", "image": "image", "multimodal": "multimodal_submit"}
_SERVICES: dict[Quota, str] = {
    "text": "ugc_moderation_byllm",
    "image": "baselineCheck_global",
    "multimodal": "post_text_image_detection",
}
# Queries are out of the way: the submissions are what is measured.
_QUERIES_PER_SECOND = 100
_PARTITIONS = 6
_SESSION_SECONDS = 6.0
_SETTLE_SECONDS = 3.0
# Until everybody works, and what a fault needs: more work than can be done in all of it.
_SPARE_SECONDS = 60.0
_START_SECONDS = 90.0
_FROZEN_SECONDS = _SESSION_SECONDS + 4
_SKEWED_RATE = 1.2
# One event of so many is not in the partition that has most.
_ELSEWHERE = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    quota: Quota
    replicas: int
    scale: Scale
    how: How = ""

    @property
    def name(self) -> str:
        """What it is called in the table and in `--rows`."""
        return "-".join(filter(None, (self.quota, str(self.replicas), self.scale, self.how)))

    @property
    def bound(self) -> float:
        """Calls a second that can be sent and never be refused."""
        return LIMITS[self.quota] / _WAVE_SECONDS

    @property
    def wanted(self) -> float:
        """The share of the bound that has to be used."""
        if self.how in {"kill", "freeze", "rebalance"} or (self.how == "skewed" and self.scale == "share"):
            return 0.0
        return 0.99 if self.scale == "failover" else 0.97


ROWS: tuple[Row, ...] = (
    *(Row(quota, 1, scale) for quota, scale in product(LIMITS, get_args(Scale))),
    *(Row(quota, 3, scale, how) for quota, scale, how in product(LIMITS, get_args(Scale), _TRAFFIC)),
    *(Row(quota, 1, "failover", "jitter") for quota in LIMITS),
    *(Row("text", 3, scale, how) for scale, how in product(get_args(Scale), _TROUBLE)),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the service saw: calls a second in the window, and refusals and the busiest second of all time.

    `late_seconds` is how much later than it should a timer of this process came at the worst.
    """

    calls_per_second: float
    refused: int
    busiest_second: int
    late_seconds: float


async def measure(row: Row, cluster: KafkaCluster, folder: Path, seconds: float) -> Measured:
    """Have one row, and say what the service saw of it; logs and configurations are in `folder` afterwards.

    When cancelled, processes are killed.

    Raises:
        TimeoutError: the replicas did not all work after a while; their logs say why.
    """
    topics = {name: unique(name) for name in ("events", "verdicts", "letters")}
    for topic in topics.values():
        cluster.create_topic(topic, _PARTITIONS)
    bootstrap = ",".join(cluster.bootstrap_servers)
    if row.how != "skewed":
        await asyncio.to_thread(_fill, bootstrap, topics["events"], row, seconds + _SPARE_SECONDS)
    async with AsyncExitStack() as stack:
        port = stack.enter_context(_service())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        replicas = _Replicas(row, folder, session)
        for member in replicas.members:
            stack.callback(member.kill)
            if row.how == "jitter":
                await stack.enter_async_context(member.service)
                member.service.upstream = ("127.0.0.1", port)
                member.service.jitter_seconds = JITTER_SECONDS
            endpoint = None if row.how == "jitter" else f"http://127.0.0.1:{port}"
            member.prepare(folder, _settings(row, topics), bootstrap=bootstrap, endpoint=endpoint)
            member.start()
        late = await stack.enter_async_context(_lateness())
        if row.how == "skewed":
            await stack.enter_async_context(_flow(bootstrap, topics["events"], row))
        await replicas.work()
        await asyncio.sleep(_SETTLE_SECONDS)
        began, before = time.monotonic(), await _seen(session, port, row)
        async with asyncio.TaskGroup() as tasks:
            # Sends come in waves of a second and the jitter: of half a wave too many would be counted, or too few.
            tasks.create_task(asyncio.sleep(max(1, int(seconds / _WAVE_SECONDS)) * _WAVE_SECONDS))
            tasks.create_task(replicas.suffer())
        after, ended = await _seen(session, port, row), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for member in replicas.members:
                tasks.create_task(member.stop())
        last = await _seen(session, port, row)
    calls = after["admitted"] - before["admitted"]
    return Measured(calls / (ended - began), last["refused"], last["most_arrived_in_a_second"], max(late))


def _settings(row: Row, topics: dict[str, str]) -> dict[str, Any]:
    return {
        "kafka": {
            "topics": [topics["events"]],
            "group_id": topics["events"],
            "start": "earliest",
            "scale": row.scale,
            "session_timeout_seconds": _SESSION_SECONDS,
        },
        "output": {"topic": topics["verdicts"], "dead_letters": topics["letters"]},
        "moderation": {"credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"}},
        "routes": [{"name": "all", "services": [_SERVICES[row.quota]]}],
        "quota": {
            f"{_CLASSES[row.quota]}_per_second": LIMITS[row.quota],
            "multimodal_query_per_second": _QUERIES_PER_SECOND,
            "jitter_seconds": JITTER_SECONDS,
        },
        "tasks": {"first_poll_seconds": 2, "poll_interval_seconds": 2},
        "threads": {"max_age_seconds": 0},
        "admin": {"host": "127.0.0.1", "port": 0},
        "log": {"format": "json"},
    }


@contextmanager
def _service() -> Iterator[int]:
    """The simulator with its documented quotas, in a process of its own; yields its port."""
    command = [sys.executable, "-m", "consumer", "simulate", "--port", "0"]
    for quota, limit in LIMITS.items():
        command += ["--quota", f"{_CLASSES[quota]}={limit}"]
    command += ["--quota", f"multimodal_query={_QUERIES_PER_SECOND}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # it is a pipe
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


@asynccontextmanager
async def _lateness() -> AsyncIterator[list[float]]:
    """How late the timers of this process are, in seconds: a list that grows."""
    late = [0.0]

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - due)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        yield late
        watching.cancel()


async def _seen(session: aiohttp.ClientSession, port: int, row: Row) -> dict[str, int]:
    """What the service has counted of this quota so far."""
    async with session.get(f"http://127.0.0.1:{port}/stats") as answer:
        counted: dict[str, int] = (await answer.json())["quota"][_CLASSES[row.quota]]
    return counted


class _Replicas:
    """The consumers of one row."""

    def __init__(self, row: Row, folder: Path, session: aiohttp.ClientSession) -> None:
        self.members = [Member(f"{row.name}-{number + 1}") for number in range(row.replicas)]
        self._row = row
        self._folder = folder
        self._session = session

    async def work(self) -> None:
        """Return when all partitions are open, at one replica or at all, and nothing of the quota is left over."""
        wanted = 1 if self._row.scale == "failover" else len(self.members)
        async with asyncio.timeout(_START_SECONDS):
            while True:
                statuses = [await self._status(member) for member in self.members]
                at_work = [status for status in statuses if _works(status)]
                handed_out = sum(one["quotas"][_CLASSES[self._row.quota]]["limit"] for one in at_work)
                if all(statuses) and len(at_work) == wanted and handed_out == LIMITS[self._row.quota]:
                    return
                await asyncio.sleep(0.2)

    async def suffer(self) -> None:
        """Let happen what the row is about, after a while, and return when all work again."""
        if self._row.how not in {"kill", "freeze", "rebalance"}:
            return
        await asyncio.sleep(_SETTLE_SECONDS)
        at_work = [member for member in self.members if _works(await self._status(member))]
        if self._row.how == "rebalance":
            for member in self.members:
                await member.stop()
                await asyncio.sleep(1)
                member.start()
                await self.work()
        elif self._row.how == "kill":
            at_work[0].kill()
            await asyncio.sleep(1)
            at_work[0].start()
        else:
            at_work[0].freeze()
            await asyncio.sleep(_FROZEN_SECONDS)
            at_work[0].wake()
        await asyncio.sleep(_SETTLE_SECONDS)
        await self.work()

    async def _status(self, member: Member) -> dict[str, Any]:
        """What a replica says of itself; nothing if it does not answer."""
        if not member.runs or not member.running:
            return {}
        log = (self._folder / f"{member.name}.log").read_bytes().splitlines()
        said = [line for line in log if b'"event": "running"' in line]
        url = f"http://127.0.0.1:{orjson.loads(said[-1])['admin_port']}/status"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(2)) as answer:
                status: dict[str, Any] = await answer.json()
                return status
        except (aiohttp.ClientError, TimeoutError):
            return {}


def _works(status: dict[str, Any]) -> bool:
    return bool(status) and bool(status["lanes"]) and all(lane["state"] == "open" for lane in status["lanes"])


def _event(row: Row, number: int) -> bytes:
    """An event like no other, so that no judgement of another one serves it."""
    event: dict[str, Any] = {"id": f"e{number}", "kind": "post" if row.quota == "multimodal" else "message"}
    if row.quota != "image":
        event["text"] = f"nothing to see here, and nothing like it before: {number}"
    if row.quota != "text":
        event["images"] = [f"https://images.example/{number}.jpg"]
    return orjson.dumps(event)


def _producer(bootstrap: str) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})


def _fill(bootstrap: str, topic: str, row: Row, seconds: float) -> None:
    """Write more work into each partition than can be done in so long by a replica that has the fewest of them."""
    producer = _producer(bootstrap)
    for number in range(int(1.5 * LIMITS[row.quota] * seconds)):
        producer.produce(topic, _event(row, number), partition=number % _PARTITIONS)
        producer.poll(0)
    producer.flush()


@asynccontextmanager
async def _flow(bootstrap: str, topic: str, row: Row) -> AsyncIterator[None]:
    """Write events as they come, most of them into one partition."""
    producer = _producer(bootstrap)

    async def write() -> None:
        began, number = time.monotonic(), 0
        while True:
            while number < (time.monotonic() - began) * _SKEWED_RATE * LIMITS[row.quota]:
                elsewhere = number % _ELSEWHERE == 0
                partition = 1 + number // _ELSEWHERE % (_PARTITIONS - 1) if elsewhere else 0
                producer.produce(topic, _event(row, number), partition=partition)
                number += 1
            producer.poll(0)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        yield
        writing.cancel()


async def _measured(rows: Sequence[Row], seconds: float) -> list[Measured]:
    """All rows, one after the other, on one Kafka; each is said when it is done."""
    found = []
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster:
        for row in rows:
            found.append(await measure(row, cluster, Path(folder), seconds))
            _, _, _, use, _, refused, *_ = _cells(row, found[-1])
            print(f"{row.name}: {use} of N/(1+J), {refused} refused", file=sys.stderr, flush=True)
    return found


def _cells(row: Row, one: Measured) -> list[str]:
    use = one.calls_per_second / row.bound
    held = not one.refused and use >= row.wanted
    return [
        row.name,
        f"{one.calls_per_second:.2f}",
        f"{row.bound:.2f}",
        f"{use:.3f}",
        f"{row.wanted:.2f}" if row.wanted else "",
        str(one.refused),
        f"{one.busiest_second} of {LIMITS[row.quota]}",
        f"{1000 * one.late_seconds:.0f}",
        "yes" if held else "NO",
    ]


def main() -> int:
    """Measure the rows asked for and print the table; 0 when each is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS), help="names with commas between; all")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--list", action="store_true", help="print the names of all rows")
    asked = parser.parse_args()
    known = {row.name: row for row in ROWS}
    if asked.list:
        print(*known, sep="\n")
        return 0
    names = asked.rows.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such row: {', '.join(unknown)}; --list prints all")
    rows = [known[name] for name in names]
    cells = [_cells(row, one) for row, one in zip(rows, asyncio.run(_measured(rows, asked.seconds)), strict=True)]
    columns = ["row", "calls/s", "N/(1+J)", "use", "wanted", "refused", "busiest second", "machine late ms", "held"]
    print(table(f"Quota: {asked.seconds:g} s each, J = {1000 * JITTER_SECONDS:g} ms", columns, cells))
    return 0 if all(row[-1] == "yes" for row in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
