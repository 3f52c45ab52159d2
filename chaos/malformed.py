"""A great many records, a third of them malformed: what became of each, and how large the consumer grew."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks.harness import service
from chaos.events import MALFORMED, NUMBER, malformed, plain
from chaos.reading import Reader, outcome
from chaos.run import Topics, running, settings


if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.history import Terms
    from chaos.reading import Read
    from chaos.stage import Member, Stage


__all__ = ["Checked", "fill", "flood", "record"]


_WAYS = tuple(MALFORMED)
_SAMPLE_SECONDS = 0.5
_GIVE_UP_SECONDS = 60.0
_GROWTH = 1.15
_GROWTH_MB = 8
_LATENCY_MS = 5.0
_EXAMPLES = 5


def record(number: int) -> tuple[bytes, bytes | None]:
    """The value of a record, and its key: every third is malformed, in each way in turn."""
    if number % 3:
        one = plain(number, 0.0)
        return one.value or b"", one.key
    return malformed(_WAYS[number // 3 % len(_WAYS)], number), f"k{number % 20}".encode()


class Checked:
    """What became of so many records: each is held against what was written."""

    def __init__(self, count: int) -> None:
        self.times = bytearray(count)
        self.kinds: Counter[str] = Counter()
        self.wrong: list[str] = []

    def take(self, read: Read) -> None:
        """Hold one verdict or dead letter against its record."""
        number = int(dict(read.headers)[NUMBER])
        one = outcome(read)
        value, key = record(number)
        self.kinds[one.kind] += 1
        self.times[number] = min(255, self.times[number] + 1)
        if one.kind != ("verdict" if number % 3 else "dead letter"):
            self.wrong.append(f"record {number} became a {one.kind}")
        elif one.kind == "dead letter" and one.value != value:
            self.wrong.append(f"record {number} is a dead letter with other bytes")
        elif one.key != key or (one.kind == "verdict" and one.event_id != f"e{number:07d}"):
            self.wrong.append(f"record {number} has somebody else's {one.kind}")

    @property
    def missing(self) -> int:
        """How many have no outcome."""
        return self.times.count(0)

    @property
    def repeated(self) -> int:
        """How many have several."""
        return len(self.times) - self.times.count(0) - self.times.count(1)


async def flood(stage: Stage, terms: Terms, folder: Path, say: Callable[[str], None], *, count: int) -> bool:
    """Have so many records worked off by one consumer; whether each has its outcome and the memory stayed flat."""
    topics = await asyncio.to_thread(Topics.on, stage, "malformed")
    await asyncio.to_thread(fill, stage.bootstrap, topics.events, count, record)
    say(f"{count} records written, a third of them malformed in {len(_WAYS)} ways")
    wanted = settings(terms, topics)
    # More than it can use, and not so much more that the log of the bucket's sends would grow all the time.
    wanted["quota"]["text_per_second"] = 10_000
    wanted["delivery"]["max_in_flight"] = 512
    member = next(iter(stage.members.values()))
    checked, sizes = Checked(count), list[float]()
    with service(_LATENCY_MS) as endpoint, Reader(stage.bootstrap, [topics.verdicts, topics.letters]) as reader:
        member.prepare(folder, wanted, bootstrap=stage.bootstrap, endpoint=endpoint)
        member.start()
        await running([member])
        began = time.monotonic()
        sampling = asyncio.create_task(_sample(member, sizes))
        await _check_all(reader, checked)
        took = time.monotonic() - began
        sampling.cancel()
        await asyncio.wait([sampling])
        await member.stop()
    say(f"{checked.kinds['verdict']} verdicts and {checked.kinds['dead letter']} dead letters in {took:.0f} s")
    say(f"without an outcome: {checked.missing}; with several: {checked.repeated}; wrong: {len(checked.wrong)}")
    for text in checked.wrong[:_EXAMPLES]:
        say(f"  {text}")
    flat = _flat(sizes, say)
    once = checked.repeated == 0 or terms.guarantee == "at_least_once"
    return not checked.missing and not checked.wrong and once and flat


def fill(bootstrap: str, topic: str, count: int, record: Callable[[int], tuple[bytes, bytes | None]]) -> None:
    """Write so many records as fast as can be; `record` gives the value and the key of each number."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 200_000})
    for number in range(count):
        value, key = record(number)
        while True:
            with suppress(BufferError):
                producer.produce(topic, value, key, headers=[(NUMBER, str(number).encode())])
                break
            producer.poll(0.5)
        producer.poll(0)
    producer.flush()


async def _check_all(reader: Reader, checked: Checked) -> None:
    """Take what is written until each record has its outcome, or until nothing comes any more."""
    last = time.monotonic()
    while checked.missing and time.monotonic() - last < _GIVE_UP_SECONDS:
        found = await asyncio.to_thread(reader.read, 1.0)
        for read in found:
            checked.take(read)
        if found:
            last = time.monotonic()


async def _sample(member: Member, sizes: list[float]) -> None:
    """Note how large the process is, in MB, until cancelled."""
    while True:
        lines = await asyncio.to_thread(Path(f"/proc/{member.pid}/status").read_text)
        resident = next(line for line in lines.splitlines() if line.startswith("VmRSS"))
        sizes.append(int(resident.split()[1]) / 1024)
        await asyncio.sleep(_SAMPLE_SECONDS)


def _flat(sizes: list[float], say: Callable[[str], None]) -> bool:
    """Whether the process was as large at the end as after its first fifth, when it had its buffers."""
    if len(sizes) < 10:
        say("too short a run to say anything of memory")
        return True
    early = statistics.median(sizes[len(sizes) // 5 : len(sizes) * 2 // 5])
    late = statistics.median(sizes[-len(sizes) // 5 :])
    flat = late <= max(early * _GROWTH, early + _GROWTH_MB)
    say(
        f"memory: {early:.0f} MB in the second fifth, {late:.0f} MB in the last, at most {max(sizes):.0f} MB"
        f"{'' if flat else ': NOT flat'}"
    )
    return flat
