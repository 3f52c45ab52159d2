"""The platform: writes invented events to the input topic at their times."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer

from consumer.demo.journal import Place
from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.demo.generator import Sample
    from consumer.demo.journal import Journal


__all__ = ["Feed"]


# How many excerpts are kept for the list of verdicts: some minutes of events that wait.
_EXCERPTS = 20_000


class Feed:
    """Sends samples when they are due, and tells the journal where each of them was written.

    `excerpts` has what a person would see of the latest events, by their place.
    """

    def __init__(self, bootstrap_servers: list[str], topic: str, journal: Journal) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._journal = journal
        self.excerpts: dict[Place, str] = {}
        self.done = False

    async def run(self, samples: Iterator[tuple[float, Sample]], *, seconds: float | None, stop: asyncio.Event) -> None:
        """Send what is due within `seconds` (None: without end), or until `stop` is set; return when all is written.

        When cancelled it ends at once; what was not acknowledged may or may not have been written.
        """
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap_servers, acks="all", client_id="demo-platform")
        await producer.start()
        try:
            started = asyncio.get_running_loop().time()
            for at, sample in samples:
                if seconds is not None and at >= seconds:
                    break
                if await _stopped(stop, started + at):
                    break
                sent = await producer.send(self._topic, sample.value, sample.key, headers=list(sample.headers))
                sent.add_done_callback(partial(self._written, sample))
            await producer.flush()
        finally:
            await producer.stop()
        self.done = True

    def _written(self, sample: Sample, sent: asyncio.Future[Any]) -> None:
        if sent.cancelled() or sent.exception() is not None:
            return
        where = sent.result()
        place = Place(Partition(where.topic, where.partition), where.offset)
        if sample.excerpt:
            self.excerpts[place] = sample.excerpt
            if len(self.excerpts) > _EXCERPTS:
                del self.excerpts[next(iter(self.excerpts))]
        self._journal.fed(place, sample.expectation)


async def _stopped(stop: asyncio.Event, due: float) -> bool:
    """Wait until something is due, or until the stop; which of them it was."""
    wait = due - asyncio.get_running_loop().time()
    if wait > 0 and not stop.is_set():
        try:
            async with asyncio.timeout(wait):
                await stop.wait()
        except TimeoutError:
            pass
    return stop.is_set()
