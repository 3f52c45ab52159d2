"""One simulated run: a schedule is played on the memory Kafka and the vendor until all is done, and watched closely."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from consumer.record import Partition
from tests.simulation.book import ASKS, Book, Finding
from tests.simulation.kafka import MemoryKafka
from tests.simulation.logs import Fate, Raw
from tests.simulation.loop import Process, SimLoop, run
from tests.simulation.member import DEAD, GROUP, TOPIC, VERDICTS, Shape, Watch, live, unit_of
from tests.simulation.network import Network
from tests.simulation.vendor import Vendor


if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.simulation.network import Call
    from tests.simulation.schedule import Fault, Input, Schedule


__all__ = ["World", "play"]


# By then everything has its outcome, whatever happened.
_LIMIT_SECONDS = 120.0
_LOOK_SECONDS = 0.2
# What a process does that should have been done with, it does soon.
_AFTERMATH_SECONDS = 1.0
_CRASH_PAUSE_SECONDS = 0.5
_LOSS = 0.2
# Trouble with brokers may be felt for so long after it is over.
_ECHO_SECONDS = 4.0
# What waits for a request that does not come happens after so long all the same.
_PATIENCE_SECONDS = 2.0
_FROZEN_SECONDS = 8.0
# The id of the producer that writes events in transactions.
_OUTSIDE = 1


@dataclass(slots=True, eq=False)
class _Life:
    """One life of a process. `begun` are the events that it has sent requests for."""

    client: str
    member: int
    process: Process
    stop: asyncio.Event
    begun: dict[str, None] = field(default_factory=dict)
    fenced: bool = False
    evicted: bool = False
    draining_since: float | None = None


class World(Watch):
    """Everything there is in one run, and what is known of it that no process knows."""

    def __init__(self, loop: SimLoop, schedule: Schedule) -> None:
        self.loop = loop
        self.schedule = schedule
        drawn = f"{schedule.seed}/{schedule.salt}"
        self.network = Network(loop, random.Random(f"{drawn}/network"), timeout_seconds=0.8)
        self.kafka = MemoryKafka(self.network)
        self.book = Book(self.kafka, schedule)
        self.vendor = Vendor(
            self.network,
            random.Random(f"{drawn}/vendor"),
            schedule.limit,
            latency_seconds=schedule.latency_seconds,
            trouble=schedule.trouble,
            mishaps=schedule.mishaps,
            told=self.book.tell,
        )
        self.shape = Shape(
            schedule.guarantee, schedule.scale, schedule.ordering, schedule.limit, schedule.max_in_flight
        )
        self._chance = random.Random(f"{drawn}/world")
        self._lives: dict[str, _Life] = {}
        self._current: dict[int, _Life] = {}
        self._numbers: dict[int, int] = defaultdict(int)
        self._pending = len(schedule.faults) + len(schedule.inputs)
        self._waiting: list[tuple[Fault, _Life]] = []
        self._zombies: dict[int, Fault] = {}
        self._taken_over: set[int] = set()
        self._troubled_at = -_ECHO_SECONDS
        self.group = self.kafka.groups[GROUP]
        self.group.evicted = self._evicted
        self.network.arriving = self._arriving

    # The play

    async def play(self) -> None:
        """Run to the end, or to the limit."""
        schedule = self.schedule
        self.kafka.create(TOPIC, schedule.partitions)
        self.kafka.create(VERDICTS, 2)
        self.kafka.create(DEAD, 1)
        for number, given in enumerate(schedule.inputs):
            self._at(given.at, self._produce, number, given)
        for fault in schedule.faults:
            self._at(fault.at, self._aim, fault)
        for member in range(schedule.members):
            self._at(0.05 * member * self._chance.random(), self._start, member)
        quiet_since: float | None = None
        while self.loop.time() < _LIMIT_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._all_done():
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.loop.time()
            elif self.loop.time() - quiet_since >= _AFTERMATH_SECONDS:
                return
        self.book.findings.append(
            Finding("it ends", f"not everything was done after {_LIMIT_SECONDS:g} virtual seconds")
        )

    def _at(self, when: float, do: Callable[..., None], *args: Any) -> None:
        self.loop.call_at(when, do, *args, context=self.network.world)

    def _later(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        self._at(self.loop.time() + seconds, do, *args)

    def _produce(self, number: int, given: Input) -> None:
        self._pending -= 1
        event = f"{given.kind}{number}" if given.kind in ("refused", "poison") else f"e{number}"
        partition = Partition(TOPIC, given.partition)
        value: bytes | None = orjson.dumps({"id": event, "kind": "post" if given.kind == "post" else "message"})
        if given.kind == "malformed":
            value = b"no JSON"
        elif given.kind == "null":
            value = None
        key = None if given.key is None else b"k%d" % given.key
        offset = self._write(partition, Raw(key, value), given)
        book = self.book
        book.places[event], book.kinds[event], book.keys[event] = (partition, offset), given.kind, key
        self.book.tell("world", "event", f"{event} at {partition}@{offset}, key {given.key}, {given.kind}")

    def _write(self, partition: Partition, raw: Raw, given: Input) -> int:
        log, now = self.kafka.logs[partition], self.kafka.timestamp()
        log.skip(given.gap)
        if given.written == "plain":
            return log.append([raw], now)
        if given.written == "after_abort":
            log.append([raw], now, producer=_OUTSIDE, epoch=log.end, transactional=True)
            log.mark(_OUTSIDE, log.end, Fate.ABORTED, now)
        offset = log.append([raw], now, producer=_OUTSIDE, epoch=log.end, transactional=True)
        log.mark(_OUTSIDE, log.end, Fate.COMMITTED, now)
        return offset

    def _all_done(self) -> bool:
        if self._pending or any(not life.process.running for life in self._current.values()):
            return False
        offsets = self.group.offsets
        for partition in self.kafka.partitions(TOPIC):
            at = offsets.get(partition)
            if at is None or at.offset < self.kafka.logs[partition].end:
                return False
        # A transaction that was decided is seen when its markers are written.
        return all(log.stable_end == log.end for log in self.kafka.logs.values())

    # Processes

    def _start(self, member: int) -> None:
        if member in self._current:
            return
        self._numbers[member] += 1
        client = f"m{member}.{self._numbers[member]}"
        stop = asyncio.Event()
        process = self.loop.spawn(client, lambda: live(self.kafka, self.vendor, client, self.shape, stop, self))
        life = _Life(client, member, process, stop)
        self._lives[client] = self._current[member] = life
        self.book.tell(client, "starts")
        assert process.main is not None
        process.main.add_done_callback(lambda task: self._ended(life, task), context=self.network.world)

    def _ended(self, life: _Life, task: asyncio.Task[None]) -> None:
        if not life.process.alive:
            return
        self.loop.kill(life.process)
        if self._current.get(life.member) is life:
            del self._current[life.member]
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._drained(life)
            self.book.tell(life.client, "has stopped")
            return
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.book.tell(life.client, "crashes", repr(error))
        self.book.findings.append(Finding("no crash", f"{life.client} ended with {error!r} at {self.loop.time():.4f}"))
        self._excuse(life, "the crash of")
        self._later(_CRASH_PAUSE_SECONDS, self._start, life.member)

    # Faults

    def _aim(self, fault: Fault) -> None:
        """Strike now, or when the request that is waited for arrives."""
        life = self._current.get(fault.member)
        if fault.on and life is not None:
            aimed = (fault, life)
            self._waiting.append(aimed)
            self._later(_PATIENCE_SECONDS, self._arrived, aimed)
        else:
            self._strike(fault)

    def _arriving(self, call: Call) -> None:
        client = call.client.partition("/")[0]
        if call.name in ASKS:
            self.book.tell(client, ASKS[call.name])
        for aimed in [aimed for aimed in self._waiting if aimed[0].on == call.name and aimed[1].client == client]:
            self._arrived(aimed)
        for member, fault in list(self._zombies.items()):
            if fault.until == call.name and member in self._taken_over and self._lives[client].member != member:
                del self._zombies[member]
                self._later(fault.seconds, self._thaw, self._current[member])

    def _arrived(self, aimed: tuple[Fault, _Life]) -> None:
        if aimed in self._waiting:
            self._waiting.remove(aimed)
            self._strike(aimed[0])

    def _strike(self, fault: Fault) -> None:
        self._pending -= 1
        life = self._current.get(fault.member)
        match fault.what:
            case "brokers":
                self._trouble(fault.seconds)
                self.network.cut(fault.seconds, *fault.nodes)  # type: ignore[arg-type]  # they are nodes
                self.book.tell("brokers", "away", f"{', '.join(fault.nodes)} for {fault.seconds} s")
            case "lossy":
                self._trouble(fault.seconds)
                self.network.loss = _LOSS
                self.book.tell("network", "loses answers", f"for {fault.seconds} s")
                self._later(fault.seconds, self._calm)
            case "join":
                self._start(fault.member)
            case _ if life is None or not life.process.running:
                return
            case "isolate":
                self._trouble(fault.seconds)
                self.network.cut(fault.seconds, *fault.nodes, client=life.client)  # type: ignore[arg-type]  # the same
                self.book.tell(life.client, "is cut off", f"from {', '.join(fault.nodes)} for {fault.seconds} s")
            case "kill":
                self.book.tell(life.client, "is killed")
                self._kill(life, "kill -9 of", fault.seconds)
            case "stop":
                self._later(fault.seconds, self._restart, life)
                if not life.stop.is_set():
                    self.book.tell(life.client, "is told to stop")
                    self._drains(life)
                    life.stop.set()
            case "freeze" | "zombie":
                self.book.tell(life.client, "is frozen")
                self.loop.freeze(life.process)
                if fault.what == "zombie":
                    self._zombies[fault.member] = fault
                    self._taken_over.discard(fault.member)
                    self._later(_FROZEN_SECONDS, self._thaw, life)
                else:
                    self._later(fault.seconds, self._thaw, life)

    def _restart(self, life: _Life) -> None:
        """Start a process again that was told to stop, as soon as it has."""
        if self._current.get(life.member) is life:
            self._later(0.1, self._restart, life)
        else:
            self._start(life.member)

    def _thaw(self, life: _Life) -> None:
        self._zombies.pop(life.member, None)
        if life.process.alive and not life.process.running:
            self.book.tell(life.client, "wakes")
            self.loop.thaw(life.process)

    def _trouble(self, seconds: float) -> None:
        self._troubled_at = max(self._troubled_at, self.loop.time() + seconds)

    def _calm(self) -> None:
        self.network.loss = 0.0

    # What processes do

    def sent(self, client: str, kind: str, event: str) -> None:
        """A request leaves: whoever sends it has to own the event's partition."""
        partition, _ = self.book.places[event]
        self._lives[client].begun[event] = None
        self.book.tell(client, kind, event)
        owner = self.group.owner(partition)
        if owner != client and self._holder(partition) != client:
            self.book.findings.append(
                Finding(
                    "only the owner calls",
                    f"{client} sent a {kind} for {event} of {partition} at {self.loop.time():.4f}, which "
                    f"{owner or 'nobody'} owned by then",
                    event,
                )
            )
        if self.book.kinds[event] == "poison":
            self._die(self._lives[client])

    def _die(self, life: _Life) -> None:
        """The record that was just to be judged kills its process."""
        self.book.tell(life.client, "dies of it")
        self._kill(life, "the death of", _CRASH_PAUSE_SECONDS)
        raise asyncio.CancelledError

    def _kill(self, life: _Life, why: str, seconds: float) -> None:
        self._excuse(life, why)
        self.loop.kill(life.process)
        del self._current[life.member]
        self._later(seconds, self._start, life.member)

    def _holder(self, partition: Partition) -> str | None:
        """Who has the partition's unit: until another one fences it, it may go on although the group forgot it."""
        if self.schedule.guarantee == "at_least_once":
            return None
        return self.kafka.transactions.holders.get(unit_of(self.shape, partition))

    def assigned(self, client: str, partitions: Collection[Partition]) -> None:
        """Others take over from those that are frozen."""
        self.book.tell(client, "is assigned", ", ".join(map(str, partitions)))
        if partitions:
            self._taken_over.update(member for member in self._zombies if member != self._lives[client].member)

    def revoking(self, client: str, partitions: Collection[Partition]) -> None:
        """A drain begins."""
        self._drains(self._lives[client])
        self.book.tell(client, "gives up", ", ".join(map(str, partitions)))

    def revoked(self, client: str, partitions: Collection[Partition]) -> None:
        """A drain has ended; a planned one leaves nothing behind that was answered in time."""
        life = self._lives[client]
        self._drained(life)
        life.fenced = life.evicted = False
        life.begun.clear()

    def _drains(self, life: _Life) -> None:
        if life.draining_since is None:
            life.draining_since = self.loop.time()

    def _drained(self, life: _Life) -> None:
        if life.draining_since is None:
            return
        seconds, life.draining_since = self.loop.time() - life.draining_since, None
        self.book.tell(life.client, "has given up", f"after {seconds:.3f} s")
        if seconds > self.shape.drain_seconds - 0.001:
            self._excuse(life, "calls that outlasted the drain of")
        elif life.fenced or life.evicted or self._felt():
            self._excuse(life, "partitions lost by")
        else:
            behind = [event for event in life.begun if self.book.waits_for_a_task(event)]
            self.book.excuse(f"an answer behind a task that goes on, given up by {life.client}", behind)

    def rejoining(self, client: str) -> None:
        """A process was fenced."""
        self._lives[client].fenced = True
        self.book.tell(client, "was fenced")
        self._excuse(self._lives[client], "the fencing of")

    def _evicted(self, client: str) -> None:
        life = self._lives[client]
        life.evicted = True
        self.book.tell(client, "is evicted")
        if life.process.alive:
            self._excuse(life, "the eviction of")

    def _felt(self) -> bool:
        return self.network.troubled or self.loop.time() - self._troubled_at < _ECHO_SECONDS

    def _excuse(self, life: _Life, why: str) -> None:
        self.book.excuse(f"{why} {life.client}", life.begun)


def play(schedule: Schedule) -> World:
    """Play a schedule; the world is left as it was at the end."""

    async def main(loop: SimLoop) -> World:
        random.seed(schedule.seed)
        world = World(loop, schedule)
        await world.play()
        return world

    return run(main)
