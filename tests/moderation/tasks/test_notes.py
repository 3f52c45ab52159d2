"""Notes in the state topic: read by all in one order, kept until they are deleted, and what is missing is known."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from consumer.errors import DeliveryRefused, Stuck
from consumer.moderation.tasks.notes import NotedEvidence
from tests import virtual_time
from tests.moderation.tasks.memory_log import MemoryTopic, Process
from tests.moderation.tasks.support import now, task


HOUR = 3600.0
RETENTION_SECONDS = 48 * HOUR


class Ear:
    """Hears the notes of a kind, and complains about some."""

    def __init__(self, complaint: str | None = None) -> None:
        self.heard: list[tuple[tuple[str, ...], bytes | None]] = []
        self.complaint = complaint

    def __call__(self, key: tuple[str, ...], value: bytes | None) -> str | None:
        self.heard.append((key, value))
        return self.complaint


def test_all_processes_hear_all_notes_in_one_order() -> None:
    """Notes that several processes write at the same time are heard by each of them in the same order."""

    async def main() -> None:
        topic = MemoryTopic()
        processes = [Process(topic) for _ in range(3)]
        ears = [Ear() for _ in processes]
        for process, ear in zip(processes, ears, strict=True):
            process.state.follow("count", ear)
        async with processes[0].running() as one, processes[1].running() as two, processes[2].running():
            puts = [state.put(("count", f"k{n % 7}"), str(n).encode()) for n in range(20) for state in (one, two)]
            await asyncio.gather(*puts)
            one.delete(("count", "k3"))
            await asyncio.sleep(10)
        assert len(ears[0].heard) == 41
        assert ears[0].heard == ears[1].heard == ears[2].heard
        assert ears[0].heard[-1] == (("count", "k3"), None)

    virtual_time.run(main())


def test_a_note_is_written_when_it_is_acknowledged() -> None:
    """`put` returns with the acknowledgement, waits through an outage, and fails where a note will never be taken."""

    async def main() -> None:
        topic = MemoryTopic(ack_seconds=2)
        process = Process(topic)
        async with process.running() as state:
            await state.put(("a", "1"), b"x")
            assert now() == 2
            topic.away = True
            putting = asyncio.create_task(state.put(("a", "2"), b"y"))
            await asyncio.sleep(100)
            assert not putting.done()
            topic.away = False
            await putting
            topic.refusal = DeliveryRefused("larger than 100 bytes")
            with pytest.raises(Stuck, match="larger than 100 bytes"):
                await state.put(("a", "3"), b"z")
            topic.refusal = None
        assert topic.live() == {b"note/a/1": b"x", b"note/a/2": b"y"}
        assert process.counted("state_writes_failed", what="note") == 1

    virtual_time.run(main())


def test_a_cancelled_put_does_not_take_the_note_back() -> None:
    """A note that was handed over is written all the same, so that those beside it are not held up."""

    async def main() -> None:
        topic = MemoryTopic(ack_seconds=2)
        async with Process(topic).running() as state:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await state.put(("a", "1"), b"x")
            await asyncio.sleep(2)
        assert topic.live() == {b"note/a/1": b"x"}

    virtual_time.run(main())


def test_a_process_that_starts_hears_what_was_written_before() -> None:
    """Notes of earlier processes are heard from the log, and by who asks later at once; their values are their own."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as killed:
            await killed.put(("a", "x/y", "世界"), b"\xff")
            await killed.put(("b", "1"), b"of another kind")
        process = Process(topic)
        early, late, failing = Ear(), Ear(), Ear("version")
        process.state.follow("a", early)
        async with process.running() as state:
            state.follow("a", late)
            state.follow("b", failing)
        assert early.heard == late.heard == [(("a", "x/y", "世界"), b"\xff")]
        assert failing.heard == [(("b", "1"), b"of another kind")]
        assert process.counted("state_records_skipped", reason="version") == 1

    virtual_time.run(main())


def test_notes_outlive_the_retention_of_the_topic() -> None:
    """A note of a dead process is written again before the topic forgets it; one that was deleted is not."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).alive() as killed:
            await killed.put(("a", "kept"), b"x")
            await killed.put(("a", "deleted"), b"y")
            await killed.remember([task(1)])
        async with Process(topic).running() as state:
            state.delete(("a", "deleted"))
            for _ in range(60):
                await asyncio.sleep(HOUR)
                topic.compact()
                topic.expire(RETENTION_SECONDS)
        assert topic.live() == {b"note/a/kept": b"x"}

    virtual_time.run(main())


def test_a_new_value_is_not_undone_by_the_old_one() -> None:
    """A note that is due to be written again and gets another value keeps that one."""

    async def main() -> None:
        topic = MemoryTopic()
        async with Process(topic).running() as state:
            await state.put(("a", "1"), b"old")
            await asyncio.sleep(10)
            topic.away = True
            await asyncio.sleep(30 * HOUR)
            topic.away = False
            await state.put(("a", "1"), b"new")
            await asyncio.sleep(30 * HOUR)
        assert topic.live() == {b"note/a/1": b"new"}

    virtual_time.run(main())


def test_what_was_missed_is_known() -> None:
    """Who reads after a compaction knows that something is missing, and who has read everything that nothing is."""

    async def main() -> None:
        topic = MemoryTopic()
        late = Process(topic)
        async with Process(topic).running() as writer, late.running() as reader:
            await writer.put(("a", "1"), b"x")
            await asyncio.sleep(10)
            late.log.lagging = True
            await asyncio.sleep(10)
            for value in (b"y", b"z"):
                await writer.put(("a", "1"), value)
            await asyncio.sleep(10)
            topic.compact()
            late.log.lagging = False
            await asyncio.sleep(10)
            assert (writer.gaps, reader.gaps) == (0, 1)

    virtual_time.run(main())


def test_evidence_is_shared_and_outlives_all_processes() -> None:
    """What one process has saved another one finds, also after a restart; the last one written counts."""

    async def main() -> None:
        topic = MemoryTopic()
        one, two = Process(topic), Process(topic)
        shelves = [NotedEvidence(process.state, "packed") for process in (one, two)]
        async with one.running(), two.running():
            assert shelves[0].load() is None
            await shelves[0].save(b"1")
            await shelves[1].save(b"2")
            await asyncio.sleep(10)
            assert [shelf.load() for shelf in shelves] == [b"2", b"2"]
        later = Process(topic)
        shelf = NotedEvidence(later.state, "packed")
        async with later.running():
            assert shelf.load() == b"2"

    virtual_time.run(main())
